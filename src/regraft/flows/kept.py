"""Flows that lie on disk: a batch is gathered from the maps into one fresh array."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from regraft.cache import Rows
from regraft.data.views import View
from regraft.flows.contract import ANY_VIEW, PLAIN, Batch, Numbers, numbered


class KeptFlows:
    """Flows in the activation cache, plain and in some views."""

    def __init__(self, plain: Rows, kept: Sequence[Rows] = ()) -> None:
        """Args:
        plain: of the plain pictures.
        kept: of each view, the examples in the same order.
        """
        self.views = len(kept)
        self._each = (plain, *kept)
        # All views behind each other: a batch may mix views, and is gathered in one go.
        self._arrays = [array for rows in self._each for array in rows.arrays]
        firsts = np.cumsum([0, *(len(rows.arrays) for rows in self._each[:-1])])
        pairs = zip(self._each, firsts, strict=True)
        self._places = np.stack([np.add(rows.places, [first, 0]) for rows, first in pairs])
        self._half = all(rows.stored == np.float16 for rows in self._each)

    def __len__(self) -> int:
        return len(self._each[0])

    def read(self, index: Numbers, view: int | Numbers = PLAIN) -> Batch:
        """See `Flows`."""
        places = self._places[numbered(index, view, self.views) + 1, index].tolist()
        dtype = np.float16 if self._half else np.float32
        out = np.empty((len(places), *self._each[0].shape[1:]), dtype)
        for at, (number, row) in enumerate(places):
            out[at] = self._arrays[number][row]
        return (to_float(out) if self._half else out,)


class RowFlows:
    """Decoded rows in the activation cache: what flows at cut 0. Views of them are made live."""

    def __init__(
        self, rows: Rows, digests: Sequence[str], augment: str, seed: int, threads: int
    ) -> None:
        """Args:
        rows: (N, H, W, 3) uint8.
        digests: of the examples' bytes.
        augment: what may happen to a picture, '' for plain ones only.
        seed: of the views.
        threads: that make views.
        """
        self.views = ANY_VIEW if augment else 0
        self._rows, self._digests = rows, digests
        self._augment, self._seed = augment, seed
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="view")

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: Numbers, view: int | Numbers = PLAIN) -> Batch:
        """See `Flows`."""
        wanted = numbered(index, view, self.views)
        out = self._rows[np.asarray(index)]

        def change(place: int) -> None:
            seen = View(self._augment, self._seed, int(wanted[place]))
            (out[place],) = seen.of((out[place],), self._digests[index[place]])

        list(self._pool.map(change, np.flatnonzero(wanted != PLAIN).tolist()))
        return (out,)


def to_float(half: NDArray[np.float16]) -> NDArray[np.float32]:
    """float16 to float32, by torch: six times as fast as numpy."""
    import torch

    return torch.from_numpy(half).float().numpy()
