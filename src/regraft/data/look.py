"""The look of a picture: few numbers by which near duplicates find each other.

A look is made from the whole decoded picture, in the pass that decodes it, whatever part of it the
network is shown, and is kept beside the activations. It holds what the comparison in `near` needs
and nothing else:

    height, width     of the whole picture as stored, in pixels
    print             2 numbers that differ if any decoded byte differs
    colour            TONES x TONES means of red and of blue less luma, -255 to 255
    grey              SIDE x SIDE mean luma, 0 to 255

Shapes are compared in grey, since that survives being saved anew; coarse colour is there to tell a
red shirt from the same one in blue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from regraft.data.resize import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 24
#: The picture is first shrunk to this many pixels per cell and side, by the quick resizer; the mean
#: over a cell then makes its rounding to whole levels small.
_FINER = 3
TONES = 4
_HEAD = 4
_COLOUR = 2 * TONES * TONES
NUMBERS = _HEAD + _COLOUR + SIDE * SIDE
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def look(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """(NUMBERS,) the look of a decoded (h, w, 3) picture that is stored as height x width pixels.

    A JPEG is decoded at a fraction of its size where that is enough, so h and w may be smaller.
    """
    fine = SIDE * _FINER
    whole = (0.0, 0.0, float(picture.shape[0]), float(picture.shape[1]))
    small = resize(picture, whole, (fine, fine), "bilinear").astype(np.float32)
    grey = _means((small @ _LUMA)[..., None], SIDE)[..., 0]
    tones = _means(small, TONES)
    colour = tones[..., ::2] - (tones @ _LUMA)[..., None]
    content = xxhash.xxh3_64_intdigest(np.ascontiguousarray(picture).data)
    # float32 holds whole numbers up to 24 bits exactly
    head = (height, width, content & 0xFFFFFF, content >> 24 & 0xFFFFFF)
    return np.concatenate([np.array(head, np.float32), colour.ravel(), grey.ravel()])


def _means(fine: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """(h, w, C) as (side, side, C) means; first over rows, which lie together in memory."""
    height, width, channels = fine.shape
    lines = fine.reshape(side, height // side, width * channels).mean(1)
    return np.asarray(lines.reshape(side, side, width // side, channels).mean(2), np.float32)


def sizes(looks: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N, 2) height and width of the stored pictures in pixels."""
    return looks[:, :2].astype(np.int64)


def stored_sizes(looks: Any, block: int = 4096) -> NDArray[np.int64]:
    """`sizes` of looks that lie on disk, read `block` of them at a time."""
    parts = [sizes(looks[start : start + block]) for start in range(0, len(looks), block)]
    return np.concatenate(parts) if parts else np.empty((0, 2), np.int64)


def prints(looks: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) equal where the decoded pictures are equal, 48 bits."""
    high, low = looks[:, 2].astype(np.int64), looks[:, 3].astype(np.int64)
    return np.asarray(high << 24 | low)


def colours(looks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 2 * TONES * TONES) red and blue less luma, -255 to 255."""
    return looks[:, _HEAD : _HEAD + _COLOUR]


def greys(looks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, SIDE, SIDE) mean luma, 0 to 255."""
    return looks[:, _HEAD + _COLOUR :].reshape(-1, SIDE, SIDE)
