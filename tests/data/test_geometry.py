"""The part that is resized must show what the whole recipe shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regraft.data import resize as resizing
from regraft.data.decode_image import fitted
from regraft.data.geometry import box_of, inside, lost, needed, resized
from regraft.inputs import ImageSpec

SIDES = st.integers(1, 3000)
SPECS = st.builds(
    ImageSpec,
    size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    crop=st.sampled_from([0.5, 0.875, 0.9, 0.95, 0.965, 1.0]),
    geometry=st.sampled_from(["crop", "squash", "pad"]),
)


@given(SIDES, SIDES, SPECS)
def test_the_part_lies_inside_and_keeps_proportions(height, width, spec) -> None:
    top, left, tall, wide = box_of(height, width, spec)
    assert top >= 0
    assert left >= 0
    assert tall > 0
    assert wide > 0
    assert top + tall <= height
    assert left + wide <= width
    if spec.geometry == "crop" and min(height, width) > 100 and min(spec.size) > 100:
        assert tall / wide == pytest.approx(spec.size[0] / spec.size[1], rel=0.02)


def picture_of(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def whole_then_centre(picture: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """What timm does, with Pillow: resize everything, then cut out the centre."""
    tall, wide = resized(*picture.shape[:2], spec)
    large = np.asarray(Image.fromarray(picture).resize((wide, tall), Image.Resampling.BICUBIC))
    top, left = round((tall - spec.size[0]) / 2), round((wide - spec.size[1]) / 2)
    return large[top : top + spec.size[0], left : left + spec.size[1]]


@pytest.mark.parametrize("size", [(224, 224), (160, 224), (299, 299)])
@pytest.mark.parametrize("crop", [0.875, 0.95, 1.0])
@pytest.mark.parametrize("source", [(375, 500), (500, 333), (227, 227), (64, 97), (1201, 800)])
def test_one_resize_equals_resize_then_crop(size, crop, source) -> None:
    picture = picture_of(*source)
    spec = ImageSpec(size, crop=crop)
    expected = whole_then_centre(picture, spec).astype(int)
    # Shifted by half a source pixel the same pictures differ by 4 to 10 levels.
    assert np.abs(fitted(picture, spec) - expected).mean() < 0.3


@pytest.mark.parametrize("interpolation", resizing.INTERPOLATIONS)
@pytest.mark.parametrize("size", [(224, 224), (96, 160), (7, 500)])
def test_both_resizers_agree(monkeypatch, interpolation, size) -> None:
    picture, box = picture_of(375, 500), (10.3, 20.7, 300.1, 401.9)
    fast = resizing.resize(picture, box, size, interpolation)
    monkeypatch.setattr(resizing, "find_spec", lambda name: None)
    slow = resizing.resize(picture, box, size, interpolation)
    assert resizing.fingerprint(interpolation) == {"resizer": "pillow"}
    assert slow.shape == fast.shape == (*size, 3)
    off = np.abs(fast.astype(int) - slow)
    assert off.mean() < 0.3
    assert off.max() <= 2


def test_strides_do_not_matter() -> None:
    picture = picture_of(300, 200)
    turned = np.ascontiguousarray(picture.swapaxes(0, 1)[:, ::-1])
    view = picture.swapaxes(0, 1)[:, ::-1]
    box = box_of(200, 300, ImageSpec((64, 64)))
    assert np.array_equal(
        resizing.resize(view, box, (64, 64), "bicubic"),
        resizing.resize(turned, box, (64, 64), "bicubic"),
    )


def test_timm_rounding_of_the_long_side() -> None:
    spec = ImageSpec((224, 224))
    assert resized(375, 500, spec) == (256, 341)
    assert resized(500, 333, spec) == (384, 256)
    assert resized(375, 500, ImageSpec((224, 224), crop=0.95)) == (235, 313)


def test_squash_takes_everything() -> None:
    spec = ImageSpec((224, 112), geometry="squash")
    assert box_of(300, 900, spec) == (0, 0, 300, 900)
    assert needed(spec) == (256, 128)  # as for a crop: looks are the same in every geometry
    assert needed(ImageSpec((224, 112), crop=0.5)) == (448, 224)


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    picture = picture_of(224, 224)
    assert np.array_equal(fitted(picture, ImageSpec((224, 224), crop=1.0)), picture)


@given(SIDES, SIDES, SPECS)
def test_a_padded_picture_is_whole_and_keeps_its_proportions(height, width, spec) -> None:
    tall, wide = inside(height, width, spec)
    assert 1 <= tall <= spec.size[0]
    assert 1 <= wide <= spec.size[1]
    assert tall == spec.size[0] or wide == spec.size[1]
    if min(tall, wide) > 20:
        assert tall / wide == pytest.approx(height / width, rel=0.05)


def test_padding_shows_all_of_it_in_the_middle_of_what_the_network_sees_as_nothing() -> None:
    spec = ImageSpec((100, 100), mean=(0.2, 0.4, 0.6), geometry="pad")
    row = fitted(np.full((50, 200, 3), 255, np.uint8), spec)
    assert row.shape == (100, 100, 3)
    assert (row[38:62] == 255).all()
    for band in (row[:37], row[63:]):
        assert (band == [51, 102, 153]).all()
    tall = fitted(np.full((200, 50, 3), 255, np.uint8), spec)
    np.testing.assert_array_equal(tall, row.swapaxes(0, 1))


def test_padding_a_square_picture_is_squashing_it() -> None:
    picture = picture_of(120, 120)
    padded = fitted(picture, ImageSpec((64, 64), geometry="pad"))
    np.testing.assert_array_equal(padded, fitted(picture, ImageSpec((64, 64), geometry="squash")))


def test_what_a_crop_loses() -> None:
    assert lost(1000, 1000, ImageSpec((224, 224))) == pytest.approx(1 - 0.875**2, abs=0.01)
    assert lost(100, 1000, ImageSpec((224, 224))) == pytest.approx(0.923, abs=0.01)
    assert lost(100, 1000, ImageSpec((224, 224), geometry="pad")) == 0.0
