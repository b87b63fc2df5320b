"""Rows of features that may be larger than memory: what a head reads, slice by slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.errors import HeadError

CHUNK = 4096  # rows per slice: at 1,280 columns 42 MB as float64, long enough to keep BLAS busy
LARGEST = 1e15  # of a feature: its square still fits into float32, and no network means to say it


class Rows(Protocol):
    """(N, D) float32, on disk or in memory: an array, a memory map, or a view that computes."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[Any]: ...


class Joined:
    """Several features of the same rows side by side: (N, D1), (N, D2), … as (N, D1 + D2 + …)."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = tuple(parts)
        self.shape = (len(self.parts[0]), sum(part.shape[1] for part in self.parts))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        return np.concatenate([np.asarray(rows[part]) for rows in self.parts], axis=1)


class Stacked:
    """One set of rows below another: (N1, D), (N2, D) as (N1 + N2, D)."""

    def __init__(self, above: Rows, below: Rows) -> None:
        self.above, self.below = above, below
        self.shape = (len(above) + len(below), above.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(len(self))
        n = len(self.above)
        pieces = [
            np.asarray(self.above[min(start, n) : min(stop, n)]),
            np.asarray(self.below[max(start, n) - n : max(stop, n) - n]),
        ]
        return np.concatenate(pieces)[::step]


def spans(n: int, size: int = CHUNK) -> Iterator[slice]:
    """Slices of at most `size` rows that cover `n` rows in order."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def take(rows: Rows, index: NDArray[np.intp]) -> NDArray[Any]:
    """The rows at `index`, read as few contiguous slices. `index` may be in any order."""
    if isinstance(rows, np.ndarray):
        return np.asarray(rows[index])
    order = np.argsort(index, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(index[order]) != 1) + 1)
    first = np.asarray(rows[0:1])
    out = np.empty((len(index), rows.shape[1]), first.dtype)
    for run in runs:
        if len(run):
            start = int(index[run[0]])
            out[run] = rows[slice(start, start + len(run))]
    return out


def refuse_non_finite(chunk: NDArray[Any], start: int) -> None:
    """Name the first row of `chunk` (whose first row is number `start`) that cannot be used.

    Raises:
        HeadError: a value is not finite, or larger than `LARGEST`.
    """
    if not chunk.size or max(float(chunk.max()), -float(chunk.min())) <= LARGEST:
        return
    bad = np.flatnonzero(~(np.abs(chunk) <= LARGEST).all(axis=1))
    raise HeadError(
        f"Row {start + int(bad[0])} of the features holds a value that is not a finite number, or "
        f"beyond ±{LARGEST:g}; leave that example out or look at the backbone that made it."
    )


def check_examples(rows: Rows, labels: NDArray[Any], n_classes: int) -> NDArray[np.int64]:
    """The labels as int64, after looking at the shapes. Values of `rows` are not looked at.

    Raises:
        HeadError: shapes do not match, labels lie outside 0..n_classes-1, or a class has no row.
    """
    labels = np.asarray(labels)
    if len(rows.shape) != 2 or rows.shape[1] < 1:
        raise HeadError(f"rows must have the shape (N, D) with D > 0, not {tuple(rows.shape)}.")
    if labels.ndim != 1 or len(labels) != len(rows):
        raise HeadError(f"labels must have the shape ({len(rows)},), not {labels.shape}.")
    if labels.dtype.kind not in "iu":
        raise HeadError(f"labels must be whole numbers, not {labels.dtype}.")
    if n_classes < 2:
        raise HeadError(f"A head needs at least two classes, not {n_classes}.")
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < n_classes):
        raise HeadError(
            f"labels must lie in 0..{n_classes - 1}, not in {labels.min()}..{labels.max()}."
        )
    absent = np.flatnonzero(np.bincount(labels.astype(np.int64), minlength=n_classes) == 0)
    if len(absent):
        raise HeadError(
            f"Class number {absent[0]} has no row to learn from; "
            "give it an example or leave the class out."
        )
    return labels.astype(np.int64)


def check_groups(
    groups: NDArray[Any] | None, labels: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """The groups, whatever they are named, as numbers 0, 1, …: quicker to look at than names.

    Raises:
        HeadError: there is not one value per row.
    """
    if groups is None:
        return None
    if np.shape(groups) != labels.shape:
        raise HeadError(f"groups must have the shape {labels.shape}, not {np.shape(groups)}.")
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)
