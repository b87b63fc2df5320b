"""What every source of flows promises."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

#: The number of the view that is the picture as it was decoded.
PLAIN = -1
#: `Flows.views` where a view of any number can be had.
ANY_VIEW = 1 << 31

#: The flow of a batch of examples at a cut: one array per part of the flow, the batch first.
Batch = tuple[np.ndarray, ...]
Numbers = NDArray[np.intp]


class Flows(Protocol):
    """The flows of a fixed list of N examples at one cut.

    Attributes:
        views: how many augmented views of each example there are, 0 if only the plain one;
            `ANY_VIEW` where any number can be had.
    """

    views: int

    def __len__(self) -> int:
        """N."""

    def read(self, index: Numbers, view: int | Numbers = PLAIN) -> Batch:
        """The flows of some examples in the order of `index`; may be called from any thread.

        Args:
            index: (B,) numbers of examples.
            view: number of the view from 0, `PLAIN` for the plain picture; one for all, or (B,).

        Returns:
            One array (B, …) float32; at cut 0 the rows, (B, H, W, 3) uint8. It is the caller's.

        Raises:
            IndexError: there is no such view.
            DataError: a file that has to be read again is gone, or another than before.
        """


def numbered(index: Numbers, view: int | Numbers, views: int) -> Numbers:
    """(B,) the number of each example's view.

    Raises:
        IndexError: there is no such view.
    """
    wanted = np.broadcast_to(np.asarray(view, np.intp), (len(index),))
    if len(wanted) and not PLAIN <= wanted.min() <= wanted.max() < views:
        raise IndexError(f"views are {PLAIN} to {views - 1}, got {wanted.min()} to {wanted.max()}")
    return wanted
