"""The eight ways in which a square grid can lie: quarter turns, and those of its mirror image.

Way 0 leaves it as it is; way t turns it by t quarters, for t from 4 on the mirrored one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

WAYS = 8
#: What each way is called where a copy lies so.
NAMES = (
    "",
    "turned by 90°",
    "turned by 180°",
    "turned by 270°",
    "mirrored",
    "mirrored and turned by 90°",
    "upside down",
    "mirrored and turned by 270°",
)


def laid(grids: NDArray[Any], way: int) -> NDArray[Any]:
    """(N, S, S, …) the grids as they lie in a way."""
    flipped = grids[:, :, ::-1] if way >= 4 else grids
    return np.rot90(flipped, way % 4, axes=(1, 2))


def back(ways: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each way the one that undoes it."""
    return np.where(ways < 4, (4 - ways) % 4, ways)


@lru_cache(16)
def places(side: int, way: int) -> NDArray[np.int64]:
    """(side²,) for each cell of a flat grid that lies in a way the cell that it was."""
    cells = np.arange(side * side).reshape(1, side, side)
    return np.ascontiguousarray(laid(cells, way).reshape(-1))
