"""The look of a picture: of all of it, its size, and the same whatever the network is shown."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from regraft.data.decode_image import decode, decode_with_look
from regraft.data.decoders import looker
from regraft.data.look import NUMBERS, SIDE, colours, greys, look, prints, sizes
from regraft.errors import BadFile
from regraft.inputs import ImageSpec
from tests.data.drawn import saved
from tests.data.scenes import SPEC, jpeg, look_of, scene


def test_it_comes_with_the_very_row_that_decode_gives() -> None:
    raw = jpeg(scene(1))
    (row,), found = decode_with_look(raw, SPEC)
    assert (row == decode(raw, SPEC)[0]).all()
    assert found.shape == (NUMBERS,)
    assert found.dtype == np.float32


@pytest.mark.parametrize("geometry", ["crop", "squash", "pad"])
def test_it_is_of_the_whole_picture_in_every_geometry(geometry: str) -> None:
    """Else a split would change with the geometry, and rows to test on would have had a say."""
    strip = scene(9, 900, 150)
    raw = saved(strip, "PNG")
    found = decode_with_look(raw, ImageSpec((64, 64), geometry=geometry))[1]
    assert (found == look(np.asarray(strip), 150, 900)).all()
    large = jpeg(scene(8, 2400, 1500))
    mine = decode_with_look(large, ImageSpec((64, 64), geometry=geometry))[1]
    assert (mine == decode_with_look(large, ImageSpec((64, 64)))[1]).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_size_is_that_of_the_whole_picture_as_stored(kind: str) -> None:
    """A JPEG is shrunk while it is decoded; its size is not."""
    wide = scene(2, 1200, 400)
    assert sizes(look_of(saved(wide, kind))[None]).tolist() == [[400, 1200]]


def test_the_size_of_a_turned_picture_is_the_upright_one() -> None:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    scene(3).save(out, "JPEG", exif=exif)
    assert sizes(look_of(out.getvalue())[None]).tolist() == [[160, 120]]


def test_grey_and_colour_are_means_of_the_row() -> None:
    row = np.zeros((96, 96, 3), np.uint8)
    row[:48, :, 0], row[48:] = 200, 100
    found = look(row, 96, 96)[None]
    grey = greys(found)[0]
    assert grey.shape == (SIDE, SIDE)
    np.testing.assert_allclose(grey[:11], 0.299 * 200, atol=0.5)
    np.testing.assert_allclose(grey[13:], 100, atol=0.5)
    red, blue = colours(found).reshape(4, 4, 2)[..., 0], colours(found).reshape(4, 4, 2)[..., 1]
    np.testing.assert_allclose(red[0], 200 * 0.701, atol=1)
    np.testing.assert_allclose(blue[0], -200 * 0.299, atol=1)
    np.testing.assert_allclose(red[3], 0, atol=1)


@pytest.mark.parametrize("side", [8, 24, 32, 224])
def test_rows_of_any_size_have_one(side: int) -> None:
    _, found = decode_with_look(jpeg(scene(4)), ImageSpec((side, side + 3)))
    assert found.shape == (NUMBERS,)
    assert np.isfinite(found).all()


def test_one_level_of_one_pixel_changes_the_print() -> None:
    (row,) = decode(jpeg(scene(5)), SPEC)
    other = row.copy()
    other[70, 3, 1] ^= 1
    one, two = look(row, 120, 160), look(other, 120, 160)
    assert prints(one[None]) != prints(two[None])
    assert prints(one[None]) == prints(look(row.copy(), 10, 10)[None])


def test_a_bad_file_is_refused_as_by_decode() -> None:
    for raw in (b"", jpeg(scene(6))[:900], b"text"):
        with pytest.raises(BadFile) as ours:
            decode_with_look(raw, SPEC)
        with pytest.raises(BadFile) as theirs:
            decode(raw, SPEC)
        assert str(ours.value) == str(theirs.value)


def test_only_decoders_that_tell_near_duplicates_offer_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from regraft.data import decoders
    from tests import toy_text

    monkeypatch.setitem(decoders.DECODERS, "toy-text", toy_text.__name__)
    assert looker("toy-text") is None
    assert looker("image") is not None
