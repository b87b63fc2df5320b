"""Every picture that Pillow can read, as upright 8-bit RGB; and plain words for what is none.

What becomes of pictures that are not 8-bit RGB:

- alpha, also that of palettes and colour keys: composited on white; the hidden colour of a fully
  transparent pixel does not matter
- 16-bit and 32-bit grey: divided by the smallest of 255, 4095 (12 bits in 16) and 65535 that holds
  the brightest pixel; with values outside of 0..65535, stretched from darkest to brightest
- float: 0..1, 0..255, … likewise; not-a-number or infinite pixels make the file unreadable
- CMYK, YCbCr, Lab, HSV, palette, grey, 1 bit: converted
- animations and pages: the first
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from regraft.data import pixels
from regraft.data.pixels import turned
from regraft.errors import BadFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Kind, how its files start, Pillow's plugin. The content decides, never the file's name, and what
# is not here is not tried: Pillow would hand PostScript to Ghostscript.
_KINDS = (
    ("JPEG", re.compile(rb"\xff\xd8\xff"), "JpegImagePlugin"),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), "PngImagePlugin"),
    ("GIF", re.compile(rb"GIF8[79]a"), "GifImagePlugin"),
    ("BMP", re.compile(rb"BM"), "BmpImagePlugin"),
    ("TIFF", re.compile(rb"II[*+]\x00|MM\x00[*+]"), "TiffImagePlugin"),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL), "WebPImagePlugin"),
    ("PPM", re.compile(rb"P[1-6]\s"), "PpmImagePlugin"),
    ("AVIF", re.compile(rb"....ftypavi[fs]", re.DOTALL), "AvifImagePlugin"),
)
_WHITES = (255, 4095, 65535)
_ORIENTATION = 0x0112
_truncated = threading.Lock()

# Remarks on odd metadata would be printed amid the progress; what matters is raised.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(raw: bytes) -> NDArray[np.uint8]:
    """(h, w, 3) uint8, upright RGB.

    The order matters: verify, reopen, load, and only then EXIF. Reading EXIF first makes Pillow
    load pixels with a wrong checksum in silence.

    Raises:
        BadFile: not a whole image of a known kind, or too large.
    """
    kind = next(((name, plugin) for name, magic, plugin in _KINDS if magic.match(raw)), None)
    if kind is None:
        raise BadFile(what_is(raw))
    import_module(f"PIL.{kind[1]}")
    try:
        return _decode(raw, kind[0])
    except (BadFile, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise BadFile(f"too large: more than {pixels.MOST // 10**6} million pixels") from problem
    except Exception as problem:  # Pillow's plugins raise nearly everything
        raise BadFile(_reason(problem, kind[0], raw)) from problem


def _decode(raw: bytes, kind: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(raw), formats=[kind]) as image:
        pixels.check(*image.size)
        if kind == "PNG":  # the only kind with checksums
            image.verify()
    with Image.open(io.BytesIO(raw), formats=[kind]) as image, _whole_files_only():
        image.load()
        return turned(rgb(image), orientation_of(image))


def rgb(image: Image.Image) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 of a loaded image of any mode; the rules are this module's docstring."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = _eight_bits(np.asarray(image))
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "LAB":
        image = _from_lab(image)
    elif image.has_transparency_data:
        see_through = image.convert("RGBA")
        image = Image.new("RGB", image.size, "white")
        image.paste(see_through, mask=see_through.getchannel("A"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def stored_orientation(raw: bytes) -> int:
    """EXIF's 1..8 of a JPEG file that is not to be decoded by Pillow."""
    try:
        with Image.open(io.BytesIO(raw), formats=["JPEG"]) as image:
            return orientation_of(image)
    except Exception:  # a broken header of metadata says nothing about the pixels
        return 1


def from_ink(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 4) CMYK to (h, w, 3) RGB, both uint8."""
    return rgb(Image.fromarray(ink, "CMYK"))


def orientation_of(image: Image.Image) -> int:
    """EXIF's 1..8; 1 where it is missing, broken or has no meaning."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken header of metadata says nothing about the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def what_is(raw: bytes) -> str:
    """What a file is that is no image of a known kind, in plain words."""
    start = raw[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, reason in _OTHERS:
        if start.startswith(magic):
            return reason
    if start[4:8] == b"ftyp":
        return "HEIC or video, not an image that can be read: convert it to JPEG"
    if b"<svg" in start:
        return "SVG drawing, not a picture of pixels: convert it to PNG"
    if not start.strip(b"\x00"):
        return "not an image (zeros)"
    try:
        raw[:512].decode("ascii")
    except UnicodeDecodeError:
        return "not an image of a known kind"
    return "not an image (text)"


_OTHERS = (
    (b"%pdf", "PDF, not an image"),
    (b"%!ps", "PostScript, not an image"),
    (b"<svg", "SVG drawing, not a picture of pixels: convert it to PNG"),
    (b"<!doctype html", "HTML page, not an image"),
    (b"<html", "HTML page, not an image"),
    (b"pk\x03\x04", "ZIP archive, not an image"),
    (b"\x1f\x8b", "gzip archive, not an image"),
    (b"version https://git-lfs", "Git LFS pointer, not the image: run git lfs pull"),
    (b"8bps", "Photoshop file, not an image that can be read: convert it to PNG"),
    (b"\x00\x00\x00\x0cjp", "JPEG 2000 or XL, not an image that can be read: convert it to JPEG"),
)


@contextmanager
def _whole_files_only() -> Iterator[None]:
    """Other libraries switch on that half pictures are accepted, for the whole process."""
    if not ImageFile.LOAD_TRUNCATED_IMAGES:
        yield
        return
    with _truncated:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = True


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """(h, w) integers or floats to 0..255 by the rules of this module's docstring."""
    wide: NDArray[Any] = values.astype(np.float32 if values.dtype.kind == "f" else np.int64)
    low, high = wide.min(), wide.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise BadFile("has pixels that are not a number or infinite")
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        white: float = 1
    elif low >= 0 and high <= _WHITES[-1]:
        white = next(w for w in _WHITES if high <= w)
    else:
        wide, white = wide - low, max(float(high) - float(low), 1e-30)
    scaled: NDArray[np.uint8] = np.rint(wide * (255.0 / white)).astype(np.uint8)
    return scaled


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    return converted if converted is not None else image.convert("RGB")


def _reason(problem: Exception, kind: str, raw: bytes) -> str:
    text = " ".join(str(problem).split())[:120]
    short = kind == "WEBP" and len(raw) < int.from_bytes(raw[4:8], "little") + 8
    if short or isinstance(problem, EOFError) or "truncated" in text.lower():
        return f"truncated {kind}"
    if isinstance(problem, UnidentifiedImageError):
        return f"truncated or corrupt {kind}: its header cannot be read"
    if "checksum" in text:
        return f"corrupt {kind}: a checksum does not match"
    return f"corrupt {kind} ({text or type(problem).__name__})"
