"""JPEG by libjpeg-turbo, strictly: a file that Pillow would complete with grey is refused here.

The header is walked in Python (some 20 microseconds); Pillow is asked only where there is EXIF or
XMP that may turn the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg

from regraft.data import pixels
from regraft.errors import BadFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Decode at 1/2, 3/8, 1/4 or 1/8 where that leaves at least this many pixels per needed one.
OVERSAMPLE = 2
# Complaints about bytes that no pixel depends on; real cameras write such files.
_HARMLESS = ("extraneous bytes before marker", "Invalid SOS parameters", "Unknown Adobe color")


@dataclass(frozen=True)
class Header:
    """What the markers before the pixels say.

    Attributes:
        height: in pixels, as stored.
        width: in pixels, as stored.
        components: 1 grey, 3 colour, 4 CMYK or YCCK.
        adobe: whether an Adobe marker is there; such CMYK files are stored inverted.
        metadata: whether there is EXIF or XMP.
    """

    height: int
    width: int
    components: int
    adobe: bool
    metadata: bool


def decode(raw: bytes, needed: tuple[int, int]) -> tuple[NDArray[np.uint8], tuple[int, int]] | None:
    """(h, w, 3) uint8, upright RGB, and the (height, width) of the whole picture before shrinking.

    None if this is no 8-bit JPEG that libjpeg-turbo handles.

    Args:
        raw: the file.
        needed: (height, width) in pixels below which the upright picture must not be shrunk.

    Raises:
        BadFile: truncated, corrupt or too large.
    """
    if not raw.startswith(b"\xff\xd8\xff"):
        return None
    header = read_header(raw)
    if header is None:
        return None
    pixels.check(header.width, header.height)
    turn = 1
    if header.metadata:
        from regraft.data.pillow_modes import stored_orientation

        turn = stored_orientation(raw)
    tall, wide = needed if turn < 5 else needed[::-1]
    space = "CMYK" if header.components == 4 else "RGB"
    picture = _pixels(raw, space, tall * OVERSAMPLE, wide * OVERSAMPLE)
    if picture is None:
        return None
    if space == "CMYK":
        from regraft.data.pillow_modes import from_ink

        picture = from_ink(255 - picture if header.adobe else picture)
    whole = (header.height, header.width)
    return pixels.turned(picture, turn), whole if turn < 5 else whole[::-1]


def read_header(raw: bytes) -> Header | None:
    """The header; None if it is cut off or of a rare kind (arithmetic, lossless, 12 bits)."""
    place, adobe, metadata = 2, False, False
    while place + 4 <= len(raw):
        if raw[place] != 0xFF:
            return None
        marker = raw[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        length = int.from_bytes(raw[place + 2 : place + 4], "big")
        body = raw[place + 4 : place + 16]
        if marker in (0xC0, 0xC1, 0xC2):
            if len(body) < 6 or body[0] != 8 or body[5] not in (1, 3, 4):
                return None
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            return Header(height, width, body[5], adobe, metadata)
        if (0xC3 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xDA:
            return None
        metadata |= marker == 0xE1
        adobe |= marker == 0xEE and body.startswith(b"Adobe")
        place += 2 + length
    return None


def _pixels(raw: bytes, space: str, min_height: int, min_width: int) -> NDArray[np.uint8] | None:
    """(h, w, 3 or 4) uint8 as stored; None if the header is one that only Pillow understands."""
    shrink = {"min_height": min_height, "min_width": min_width, "min_factor": 2}
    try:
        return _u8(simplejpeg.decode_jpeg(raw, space, **shrink))
    except ValueError as problem:
        text = str(problem)
    if "tjDecompressHeader" in text:  # rare subsamplings, or cut off right after the header
        return None
    if any(harmless in text for harmless in _HARMLESS):
        return _u8(simplejpeg.decode_jpeg(raw, space, strict=False, **shrink))
    if "remature end" in text:
        raise BadFile("truncated JPEG")
    raise BadFile(f"corrupt JPEG ({text})")


def _u8(pixels: Any) -> NDArray[np.uint8]:
    return np.asarray(pixels, np.uint8)
