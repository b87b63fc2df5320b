"""Random features: fixed signs and a ReLU, so that a linear head can bend.

After McDonnell et al., RanPAC (NeurIPS 2023), with signs instead of normal numbers: on four sets
of photos they scored the same, they are the same on every platform because they are the raw bits
of a counter and no logarithm is taken, and stored they need one bit each (1,280 columns lifted to
6,000: 1 MB, not 31).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.heads.layers import Layer, Relu, Scale, Signs
from regraft.heads.moments import columns
from regraft.heads.rows import Rows

WIDEST = 8192  # columns that 'auto' makes at most
NARROWEST = 256  # below this a lift loses more than it gains
MEMORY = 1 << 30  # bytes that a lifted solve may take


class Lifted:
    """(N, D) rows as (N, M) random features, computed whenever they are read."""

    def __init__(self, rows: Rows, chain: tuple[Layer, ...], width: int) -> None:
        self.rows, self.chain, self.shape = rows, chain, (len(rows), width)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        x = np.asarray(self.rows[part], np.float32)
        for layer in self.chain:
            x = layer(x)
        return x


def lift(rows: Rows, width: int, seed: int) -> tuple[Layer, ...]:
    """The layers that scale (N, D) `rows` to variance one and lift them to `width` columns.

    Args:
        rows: that the scaling is taken from.
        width: M, a multiple of 8.
        seed: of the signs.
    """
    shift, scale = columns(rows)
    factor = 1.0 / (scale * np.sqrt(len(shift)))
    words = np.random.PCG64(seed).random_raw(-(-len(shift) * width // 64))
    octets = words.astype("<u8").view(np.uint8)[: len(shift) * width // 8]
    signs = Signs(octets.reshape(len(shift), width // 8))
    return Scale(shift.astype(np.float32), factor.astype(np.float32)), signs, Relu()


def widest(n: int, memory: int = MEMORY) -> int:
    """The widest lift of n rows whose solve fits in `memory` bytes; 0 if none is worth it.

    A solve holds about three float64 copies of the smaller of (N, M) and (M, M), and two of the
    square that is decomposed.
    """
    for width in (WIDEST >> step for step in range(16)):
        if width < NARROWEST:
            break
        small = min(n, width)
        if 8 * (3 * small * width + 2 * small * small) <= memory:
            return width
    return 0
