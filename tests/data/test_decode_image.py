"""Every kind of picture against its upright 8-bit RGB twin."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import numpy as np
import PIL
import pytest
from PIL import Image, ImageCms

from regraft.data import decode_image
from regraft.data.decoders import decoder
from regraft.errors import BadFile, OptionError
from regraft.inputs import ImageSpec
from tests.data.drawn import COLOUR, GREY, PNG, SPEC, blocks, difference, png, rows, saved

LEVELS = 6  # mean absolute difference from the twin that is still the same picture


def wide(values: np.ndarray, mode: str) -> Image.Image:
    return Image.frombytes(mode, values.shape[::-1], values.tobytes())


GREY16 = np.asarray(GREY).astype(np.uint16)

MODES = {
    "jpeg": (saved(COLOUR, "JPEG"), COLOUR),
    "jpeg-progressive": (saved(COLOUR, "JPEG", progressive=True), COLOUR),
    "jpeg-444": (saved(COLOUR, "JPEG", subsampling=0), COLOUR),
    "jpeg-grey": (saved(GREY, "JPEG"), GREY),
    "jpeg-cmyk": (saved(COLOUR.convert("CMYK"), "JPEG"), COLOUR),
    "jpeg-rgb-stored": (saved(COLOUR, "JPEG", keep_rgb=True), COLOUR),
    "tiff-cmyk": (saved(COLOUR.convert("CMYK"), "TIFF"), COLOUR),
    "png-grey": (saved(GREY, "PNG"), GREY),
    "png-1": (saved(GREY.convert("1", dither=0), "PNG"), GREY.convert("1", dither=0)),
    "png-palette": (saved(COLOUR.quantize(64), "PNG"), COLOUR.quantize(64)),
    "png-la": (saved(GREY.convert("LA"), "PNG"), GREY),
    "png-rgba": (saved(COLOUR.convert("RGBA"), "PNG"), COLOUR),
    "png-grey16": (saved(wide(GREY16 * 257, "I;16"), "PNG"), GREY),
    "tiff-grey16": (saved(wide(GREY16 * 257, "I;16"), "TIFF"), GREY),
    "tiff-grey16-big-endian": (saved(wide((GREY16 * 257).astype(">u2"), "I;16B"), "TIFF"), GREY),
    "tiff-12-in-16": (saved(wide((GREY16 * 16.06).astype("<u2"), "I;16"), "TIFF"), GREY),
    "tiff-8-in-16": (saved(wide(GREY16, "I;16"), "TIFF"), GREY),
    "tiff-i32": (saved(wide(GREY16.astype(np.int32) * 257, "I"), "TIFF"), GREY),
    "tiff-f-unit": (saved(wide((GREY16 / 255).astype(np.float32), "F"), "TIFF"), GREY),
    "tiff-f-255": (saved(wide(GREY16.astype(np.float32), "F"), "TIFF"), GREY),
    "tiff-ycbcr": (saved(COLOUR.convert("YCbCr"), "TIFF"), COLOUR),
    "gif": (saved(COLOUR.quantize(64), "GIF"), COLOUR.quantize(64)),
    "bmp": (saved(COLOUR, "BMP"), COLOUR),
    "ppm": (saved(COLOUR, "PPM"), COLOUR),
    "webp": (saved(COLOUR, "WEBP"), COLOUR),
    "webp-lossless": (saved(COLOUR, "WEBP", lossless=True), COLOUR),
    "tiff-lzw": (saved(COLOUR, "TIFF", compression="tiff_lzw"), COLOUR),
}


@pytest.mark.parametrize("case", MODES)
def test_every_mode_equals_its_rgb_twin(case: str) -> None:
    raw, twin = MODES[case]
    assert difference(raw, twin) <= LEVELS


def test_lab_equals_its_rgb_twin() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    raw = saved(ImageCms.profileToProfile(COLOUR, srgb, lab, outputMode="LAB"), "TIFF")
    assert Image.open(io.BytesIO(raw)).mode == "LAB"
    assert difference(raw, COLOUR) <= LEVELS


def test_png_with_16_bit_colour() -> None:
    pixels = (blocks().astype(">u2") * 257).tobytes()
    lines = b"".join(b"\0" + pixels[y * 1920 : (y + 1) * 1920] for y in range(240))
    raw = png(320, 240, zlib.compress(lines), depth=16)
    assert difference(raw, COLOUR) <= 1


def test_ycck_jpeg_of_adobe_is_not_inverted() -> None:
    raw = saved(COLOUR.convert("CMYK"), "JPEG")
    at = raw.index(b"Adobe") + 11
    assert raw[at] in (0, 2)
    assert difference(raw, COLOUR) <= LEVELS


def test_wide_grey_beyond_16_bits_is_stretched() -> None:
    ramp = np.linspace(-1e6, 3e6, 240 * 320).reshape(240, 320).astype(np.int32)
    row = rows(saved(wide(ramp, "I"), "TIFF"))
    assert row.min() < 5
    assert row.max() > 250


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_float_pixels_that_are_no_number_are_refused(bad: float) -> None:
    values = (GREY16 / 255).astype(np.float32)
    values[3, 4] = bad
    with pytest.raises(BadFile, match="not a number or infinite"):
        rows(saved(wide(values, "F"), "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_hidden_colour_under_alpha_does_not_matter(kind: str) -> None:
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    alpha = np.zeros((240, 320, 1), np.uint8)
    alpha[:, 160:] = 255
    answers = []
    for seed in (1, 2):
        hidden = blocks(0).copy()
        hidden[:, :160] = np.random.default_rng(seed).integers(0, 256, (240, 160, 3))
        image = Image.fromarray(np.concatenate([hidden, alpha], axis=2))
        answers.append(rows(saved(image, kind, **options)))
    assert np.array_equal(*answers)
    assert (answers[0][:, :20] == 255).all(), "transparent is white"


def test_half_transparent_is_mixed_with_white() -> None:
    image = Image.new("RGBA", (50, 50), (100, 0, 200, 128))
    assert np.abs(rows(saved(image, "PNG"))[30, 30].astype(int) - (177, 127, 227)).max() <= 1


def test_transparent_colours_of_palette_and_key_become_white() -> None:
    palette = Image.new("P", (40, 40), 1)
    palette.putpalette([0, 0, 0, 200, 30, 30])
    assert (rows(saved(palette, "PNG", transparency=1)) == 255).all()
    assert (rows(saved(palette, "PNG", transparency=bytes([255, 0]))) == 255).all()
    assert (rows(saved(palette, "GIF", transparency=1)) == 255).all()
    key = Image.new("RGB", (40, 40), (9, 8, 7))
    assert (rows(saved(key, "PNG", transparency=(9, 8, 7))) == 255).all()
    grey = Image.new("L", (40, 40), 77)
    assert (rows(saved(grey, "PNG", transparency=77)) == 255).all()


UPRIGHT = {  # how to store a picture so that this orientation shows it upright
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    how = UPRIGHT[orientation]
    stored = COLOUR if how is None else COLOUR.transpose(how)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert difference(saved(stored, kind, exif=exif), COLOUR) <= LEVELS


def test_orientation_in_xmp_alone_is_applied() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="3"/></x:xmpmeta>'
    raw = saved(COLOUR.transpose(Image.Transpose.ROTATE_180), "JPEG", xmp=xmp)
    assert difference(raw, COLOUR) <= LEVELS


@pytest.mark.parametrize("value", [0, 9, 99, 65535])
def test_orientation_without_meaning_is_upright(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert difference(saved(COLOUR, "JPEG", exif=exif), COLOUR) <= LEVELS


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
def test_broken_exif_does_not_cost_the_picture(exif: bytes) -> None:
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    raw = saved(COLOUR, "JPEG")
    assert difference(raw[:2] + segment + raw[2:], COLOUR) <= LEVELS


def test_broken_colour_profile_does_not_cost_the_picture() -> None:
    for kind in ("JPEG", "PNG"):
        raw = saved(COLOUR, kind, icc_profile=b"no profile at all")
        assert difference(raw, COLOUR) <= LEVELS


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_counts(kind: str) -> None:
    others = [Image.fromarray(blocks(seed)) for seed in (5, 6)]
    raw = saved(COLOUR, kind, save_all=True, append_images=others)
    assert getattr(Image.open(io.BytesIO(raw)), "n_frames", 1) == 3
    twin = Image.open(io.BytesIO(raw)).convert("RGB") if kind == "GIF" else COLOUR
    assert difference(raw, twin) <= LEVELS


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (3, 200), (200, 3), (1, 64)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("geometry", ["crop", "squash"])
def test_tiny_pictures(size: tuple[int, int], interpolation: str, geometry: str) -> None:
    spec = ImageSpec((64, 48), interpolation=interpolation, geometry=geometry)
    image = Image.new("RGB", size, (10, 200, 90))
    assert (rows(saved(image, "PNG"), spec) == (10, 200, 90)).all()


def test_large_jpeg_decoded_small_stays_the_same_picture() -> None:
    # Pillow draws the same photo from all pixels; the decoder reads it at half size or less.
    small = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    photo = Image.fromarray(small).resize((1600, 1200), Image.Resampling.BICUBIC)
    spec = ImageSpec((224, 224))
    twin = rows(saved(photo, "PNG", compress_level=1), spec)
    other = rows(saved(photo, "JPEG", quality=92), spec)
    assert np.abs(twin.astype(int) - other).mean() < 1.5


def test_threads_give_the_same_pixels() -> None:
    raws = [MODES[case][0] for case in MODES] * 3
    alone = [rows(raw) for raw in raws]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(rows, raws))
    assert all(map(np.array_equal, alone, together))


FORKED = """
import io, os, signal
from PIL import Image
from regraft.data import decoder
from regraft.inputs import ImageSpec
out = io.BytesIO()
Image.new("RGB", (99, 99)).save(out, "JPEG")
def answer():
    return decoder("image").decode(out.getvalue(), ImageSpec((32, 32)))[0].tobytes()
before = answer()
child = os.fork()
if child == 0:
    signal.alarm(20)
    os._exit(7 if answer() == before else 8)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.mark.skipif(sys.platform == "win32", reason="fork is a Unix call")
def test_a_forked_child_decodes_the_same_and_does_not_hang() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=60)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(OptionError, match="interpolation"):
        rows(PNG, ImageSpec((64, 64), interpolation="area"))
    with pytest.raises(OptionError, match="geometry"):
        rows(PNG, ImageSpec((64, 64), geometry="stretch"))


def test_fingerprint_names_everything_that_touches_pixels() -> None:
    import cykooz_resizer
    import simplejpeg

    assert decoder("image").fingerprint(SPEC) == {
        "decoder": "image",
        "revision": decode_image.REVISION,
        "pillow": PIL.__version__,
        "simplejpeg": simplejpeg.__version__,
        "resizer": cykooz_resizer.__name__,
        "cykooz_resizer": version("cykooz_resizer"),
    }
    nearest = decoder("image").fingerprint(ImageSpec((64, 64), interpolation="nearest"))
    assert nearest["resizer"] == "pillow"
