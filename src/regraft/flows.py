"""What training reads: the flows of a list of examples at a cut, kept on disk or made anew.

Features (one pass) ─► flows at each cut, plain and in K augmented views ─► batches
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.cache import Rows

#: The number of the view that is the picture as it was decoded.
PLAIN = -1
#: `Flows.views` where a view of any number can be had.
ANY_VIEW = 1 << 31

#: What a cut's flow is for a batch: one array per part of the flow, the batch first.
Batch = tuple[NDArray[np.generic], ...]


class Flows(Protocol):
    """The flows of a fixed list of N examples at one cut.

    Attributes:
        views: how many augmented views of each example there are, 0 if only the plain one;
            `ANY_VIEW` where any number can be had.
    """

    views: int

    def __len__(self) -> int:
        """N."""

    def read(self, index: NDArray[np.intp], view: int | NDArray[np.intp] = PLAIN) -> Batch:
        """The flows of some examples in the order of `index`; may be called from any thread.

        Args:
            index: (B,) numbers of examples.
            view: number of the view from 0, `PLAIN` for the plain picture; one for all, or (B,).

        Returns:
            One array (B, …) float32; at cut 0 the rows, (B, H, W, 3) uint8.
        """


class KeptFlows:
    """Flows that lie in the activation cache."""

    def __init__(self, plain: Rows, kept: Sequence[Rows] = ()) -> None:
        """Args:
        plain: of the plain pictures.
        kept: of each view, the examples in the same order.
        """
        self.views = len(kept)
        self._plain = plain
        # Places of all views side by side: a batch may mix views, and is gathered in one go.
        self._arrays = [array for rows in (plain, *kept) for array in rows.arrays]
        starts = np.cumsum([0, *(len(rows.arrays) for rows in (plain, *kept))])
        offsets = zip((plain, *kept), starts, strict=False)
        self._places = np.stack([rows.places + np.array([start, 0]) for rows, start in offsets])

    def __len__(self) -> int:
        return len(self._plain)

    def read(self, index: NDArray[np.intp], view: int | NDArray[np.intp] = PLAIN) -> Batch:
        """See `Flows`."""
        rows = Rows(self._arrays, self._places[np.asarray(view) + 1, index])
        raw = rows.raw(slice(None))
        return (to_float(raw) if raw.dtype == np.float16 else raw,)


def to_float(half: NDArray[np.float16]) -> NDArray[np.float32]:
    """float16 to float32, by torch: six times as fast as numpy."""
    import torch

    return torch.from_numpy(half).float().numpy()
