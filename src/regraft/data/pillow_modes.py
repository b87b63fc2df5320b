"""Every picture that Pillow can read, as upright 8-bit RGB; and plain words for what is none.

What becomes of pictures that are not 8-bit RGB:

- alpha, also that of palettes and colour keys: composited on white; the hidden colour of a fully
  transparent pixel does not matter
- more than 8 bits: divided by the white of the data set (`regraft.data.deep`), brighter pixels are
  white; where none is known by the smallest of 255, 1023, 4095, 16383 and 65535 that holds all but
  a thousandth of the pixels; with values outside of 0..65535, stretched from darkest to brightest
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

from regraft.data import deep, pixels
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
ORIENTATION = 0x0112
_truncated = threading.Lock()
_warned = threading.Lock()  # what is ignored is of the whole process

# Remarks on odd metadata would be printed amid the progress; what matters is raised.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(raw: bytes, white: float = 0.0) -> NDArray[np.uint8]:
    """(h, w, 3) uint8, upright RGB; `white` is that of pictures of more than 8 bits, 0 if unknown.

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
        return _decode(raw, kind[0], white)
    except (BadFile, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise BadFile(f"too large: more than {pixels.MOST // 10**6} million pixels") from problem
    except Exception as problem:  # Pillow's plugins raise nearly everything
        raise BadFile(_reason(problem, kind[0], raw)) from problem


def _decode(raw: bytes, kind: str, white: float) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(raw), formats=[kind]) as image:
        pixels.check(*image.size)
        if kind == "PNG":  # the only kind with checksums
            image.verify()
    with Image.open(io.BytesIO(raw), formats=[kind]) as image, _whole_files_only():
        image.load()
        colours = _deep_colour(raw) if kind == "PNG" else None
        picture = rgb(image, white) if colours is None else _from_deep(colours, white)
        return turned(picture, orientation_of(image))


def deep_values(raw: bytes) -> NDArray[Any] | None:
    """The pixels of a picture of more than 8 bits as they are stored; None of any other.

    Raises:
        BadFile: it cannot be read.
    """
    if (colours := _deep_colour(raw)) is not None:
        return colours[..., : 3 if colours.shape[2] > 2 else 1]
    kind = next(((name, plugin) for name, magic, plugin in _KINDS if magic.match(raw)), None)
    if kind is None:
        raise BadFile(what_is(raw))
    import_module(f"PIL.{kind[1]}")
    try:
        with Image.open(io.BytesIO(raw), formats=[kind[0]]) as image, _whole_files_only():
            pixels.check(*image.size)
            return np.asarray(image) if _is_deep(image) else None
    except Exception as problem:  # Pillow's plugins raise nearly everything
        raise BadFile(str(problem)) from problem


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _deep_colour(raw: bytes) -> NDArray[np.uint16] | None:
    """(h, w, 2 to 4) of a PNG with 16 bits a channel that Pillow cuts down to 8; None of others."""
    sixteen = raw[:4] == b"\x89PNG" and raw[24:25] == b"\x10"
    if not sixteen or raw[25:26] not in (b"\x02", b"\x04", b"\x06"):
        return None
    with _warned, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # torchvision's decoders are to go; no other here has 16 bits
        try:
            import torch
            from torchvision.io import ImageReadMode, decode_png
        except ImportError:  # gone: Pillow's 8 bits have to do
            return None
        data = torch.frombuffer(bytearray(raw), dtype=torch.uint8)
        planes = decode_png(data, ImageReadMode.UNCHANGED)
    return np.ascontiguousarray(planes.numpy().transpose(1, 2, 0))


def _from_deep(stored: NDArray[np.uint16], white: float) -> NDArray[np.uint8]:
    """(h, w, 3) of (h, w, 2 to 4) uint16, the last of 2 and 4 channels alpha."""
    colours = stored.shape[2] - 1 if stored.shape[2] in (2, 4) else stored.shape[2]
    scaled = _eight_bits(stored[..., :colours], white)
    if colours == 1:
        scaled = np.repeat(scaled, 3, axis=2)
    if stored.shape[2] == colours:
        return scaled
    alpha = _eight_bits(stored[..., colours:], 65535.0)
    return rgb(Image.fromarray(np.concatenate([scaled, alpha], axis=2)))


def rgb(image: Image.Image, white: float = 0.0) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 of a loaded image of any mode; the rules are this module's docstring."""
    if _is_deep(image):
        grey = _eight_bits(np.asarray(image), white)
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
        value = image.getexif().get(ORIENTATION, 1)
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


def _eight_bits(values: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """(h, w) integers or floats to 0..255 by the rules of this module's docstring."""
    wide: NDArray[Any] = values.astype(np.float32 if values.dtype.kind == "f" else np.int64)
    low, high = wide.min(), wide.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise BadFile("has pixels that are not a number or infinite")
    usual = white or (deep.white_for(deep.bright(wide), wide.dtype.kind == "f") if low >= 0 else 0)
    if usual:
        return np.asarray(np.rint(wide * (255.0 / usual)).clip(0, 255).astype(np.uint8))
    wide = wide - low
    scale = 255.0 / max(float(high) - float(low), 1e-30)
    return np.asarray(np.rint(wide * scale).astype(np.uint8))


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
