"""The part that is resized must show what the whole recipe shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regraft.data.decode_image import fitted
from regraft.data.geometry import Span, needed, resized, spans
from regraft.inputs import ImageSpec

SIDES = st.integers(1, 3000)
SPECS = st.builds(
    ImageSpec,
    size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    crop=st.sampled_from([0.5, 0.875, 0.9, 0.95, 0.965, 1.0]),
    geometry=st.sampled_from(["crop", "squash"]),
)


@given(SIDES, SIDES, SPECS)
def test_spans_lie_inside_and_hold_the_answer(height: int, width: int, spec: ImageSpec) -> None:
    pairs = zip(spans(height, width, spec), (height, width), spec.size, strict=True)
    for span, source, size in pairs:
        assert 0 <= span.start < span.stop <= source
        assert span.offset >= 0
        assert span.offset + size <= span.size


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
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (source[0] // 8 + 1, source[1] // 8 + 1, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(small).resize(source[::-1], Image.Resampling.BICUBIC))
    spec = ImageSpec(size, crop=crop)
    expected = whole_then_centre(picture, spec).astype(int)
    # Shifted by half a source pixel the same pictures differ by 4 to 10 levels.
    assert np.abs(fitted(picture, spec) - expected).mean() < 1


def test_timm_rounding_of_the_long_side() -> None:
    spec = ImageSpec((224, 224))
    assert resized(375, 500, spec) == (256, 341)
    assert resized(500, 333, spec) == (384, 256)
    assert resized(375, 500, ImageSpec((224, 224), crop=0.95)) == (235, 313)


def test_squash_takes_everything() -> None:
    spec = ImageSpec((224, 112), geometry="squash")
    assert spans(300, 900, spec) == (Span(0, 300, 224, 0), Span(0, 900, 112, 0))
    assert needed(spec) == (224, 112)
    assert needed(ImageSpec((224, 112), crop=0.5)) == (448, 224)


def test_a_square_photo_without_margins_is_used_whole() -> None:
    assert spans(512, 512, ImageSpec((224, 224), crop=1.0)) == (Span(0, 512, 224, 0),) * 2
