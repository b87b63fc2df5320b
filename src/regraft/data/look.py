"""The look of a picture: few numbers by which near duplicates find each other.

A look is made from the decoded row, in the pass that decodes it, and is kept beside the
activations. It holds what the comparison in `near` needs and nothing else:

    height, width     of the whole picture as stored, in pixels
    print             2 numbers that differ if any byte of the row differs
    grey              SIDE x SIDE mean luma, 0 to 255

Grey alone, because near duplicates are to be found by their shapes: colour changes when a file is
saved anew and tells few pictures apart that shapes do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xxhash

from regraft.data.resize import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 24
#: The row is first shrunk to this many pixels per cell and side, by the quick resizer; the mean
#: over a cell then makes its rounding to whole levels small.
_FINER = 3
_HEAD = 4
NUMBERS = _HEAD + SIDE * SIDE
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def look(row: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """(NUMBERS,) the look of a decoded (h, w, 3) row of a picture of height x width pixels."""
    fine = SIDE * _FINER
    whole = (0.0, 0.0, float(row.shape[0]), float(row.shape[1]))
    small = resize(row, whole, (fine, fine), "bilinear").astype(np.float32) @ _LUMA
    grey = small.reshape(SIDE, _FINER, SIDE, _FINER).mean((1, 3))
    content = xxhash.xxh3_64_intdigest(np.ascontiguousarray(row).data)
    # float32 holds whole numbers up to 24 bits exactly
    head = (height, width, content & 0xFFFFFF, content >> 24 & 0xFFFFFF)
    return np.concatenate([np.array(head, np.float32), grey.ravel()])


def sizes(looks: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N, 2) height and width of the stored pictures in pixels."""
    return looks[:, :2].astype(np.int64)


def prints(looks: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) equal where the decoded rows are equal, 48 bits."""
    high, low = looks[:, 2].astype(np.int64), looks[:, 3].astype(np.int64)
    return np.asarray(high << 24 | low)


def greys(looks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, SIDE, SIDE) mean luma, 0 to 255."""
    return looks[:, _HEAD:].reshape(-1, SIDE, SIDE)
