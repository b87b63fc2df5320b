"""Parts of the rows, each left out once: stratified, seeded, groups kept together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import HeadError

AT_ONCE = 4096  # rows of small groups that are looked at together
LEAST = 2  # rows, or groups of them, of a class that are kept where rows are thinned


def folds(
    labels: NDArray[np.int64], count: int, *, seed: int, groups: NDArray[Any] | None = None
) -> NDArray[np.int64]:
    """(N,) the fold 0..count-1 of every row; each class is spread over folds as evenly as can be.

    Raises:
        HeadError: there are fewer than two rows or groups to leave out.
    """
    rng = np.random.default_rng(seed)
    n_units = len(labels) if groups is None else len(np.unique(groups))
    count = min(count, n_units)
    if count < 2:
        raise HeadError("Cross-validation needs at least two rows, or two groups of them.")
    if groups is not None:
        return _by_group(labels, np.asarray(groups), count, rng)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    out = np.empty(len(labels), np.int64)
    out[order] = np.arange(len(labels)) % count  # dealt like cards, class after class
    return out


def split_out(
    labels: NDArray[np.int64], count: int, *, seed: int, groups: NDArray[Any] | None = None
) -> NDArray[np.int64]:
    """`folds`, or one fold of everything where all rows are one group: then none is fair."""
    if int(units(groups, len(labels)).max()) == 0:
        return np.zeros(len(labels), np.int64)
    return folds(labels, count, seed=seed, groups=groups)


def thinned(
    labels: NDArray[np.int64], most: int, *, seed: int, groups: NDArray[Any] | None = None
) -> NDArray[np.intp]:
    """The numbers of about `most` rows, spread over the classes, in order; all if there are fewer.

    Groups stay whole, and every class keeps two rows (or groups), or all that it has: more rows
    than `most` where there are very many classes or large groups.
    """
    n = len(labels)
    unit = units(groups, n)
    count = min(-(-n // most), int(unit.max()) + 1)
    if count < 2:
        return np.arange(n)
    fold = folds(labels, count, seed=seed, groups=groups)
    kept = fold == int(np.argmin(np.abs(np.bincount(fold) - most)))
    kept |= np.isin(unit, _first_of_each(labels, unit, kept))
    return np.flatnonzero(kept)


def _first_of_each(
    labels: NDArray[np.int64], unit: NDArray[np.int64], kept: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """`LEAST` units of each class, or all that it has: those in `kept` first, then small ones."""
    pairs = np.unique(np.stack([labels, unit], axis=1), axis=0)
    there = np.zeros(int(unit.max()) + 1, bool)
    there[unit[kept]] = True
    sizes = np.bincount(unit)
    order = np.lexsort((sizes[pairs[:, 1]], ~there[pairs[:, 1]], pairs[:, 0]))
    classes, first = pairs[order].T
    rank = np.arange(len(classes)) - np.searchsorted(classes, classes)
    return np.asarray(first[rank < LEAST])


def fair(labels: NDArray[np.int64], parts: NDArray[Any] | None = None) -> NDArray[np.bool_]:
    """(N,) whether a row's class is still there once the row's part is left out.

    A row whose class went with it cannot be answered rightly, however good the head is: its score
    says nothing and must neither calibrate nor count.

    Args:
        labels: (N,).
        parts: (N,) groups or folds that are left out whole; each row alone if None.
    """
    if parts is None:
        return np.asarray(np.bincount(labels)[labels] > 1)
    _, part = np.unique(parts, return_inverse=True)
    first = np.full(int(labels.max()) + 1, len(labels))
    last = np.full(len(first), -1)
    np.minimum.at(first, labels, part)
    np.maximum.at(last, labels, part)
    return np.asarray(first[labels] < last[labels])


def units(groups: NDArray[Any] | None, n: int) -> NDArray[np.int64]:
    """(n,) the number 0..U-1 of what is left out with each row: its group, else itself."""
    if groups is None:
        return np.arange(n)
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def shared(groups: NDArray[Any] | None) -> Iterator[NDArray[np.intp]]:
    """The groups of two rows and more, as row numbers (G, M) of G groups of one size M.

    Small groups come first, at most `AT_ONCE` rows of them together.
    """
    if groups is None:
        return
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes > 1]):
        members = order[starts[sizes == size][:, None] + np.arange(size)]
        step = max(1, AT_ONCE // int(size))
        for start in range(0, len(members), step):
            yield members[start : start + step]


def _by_group(
    labels: NDArray[np.int64], groups: NDArray[Any], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Large groups first, each to the fold that has the least of what it brings; then the rest."""
    n_classes = int(labels.max()) + 1
    counts = np.bincount(labels, minlength=n_classes).clip(1)
    out = np.full(len(labels), -1)
    load = np.zeros((count, n_classes))
    for members in reversed(list(shared(groups))):
        for group in members[rng.permutation(len(members))]:
            brings = np.bincount(labels[group], minlength=n_classes)
            share = brings / counts
            cost = (load * share).sum(axis=1) + 1e-9 * load.sum(axis=1)
            fold = int(np.argmin(cost))
            out[group] = fold
            load[fold] += share
    return _fill(labels, out, count, rng)


def _fill(
    labels: NDArray[np.int64], out: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Deal the rows that have no fold yet (-1), each class to wherever there is least of it."""
    placed = out >= 0
    have = np.zeros((count, int(labels.max()) + 1), np.int64)
    np.add.at(have, (out[placed], labels[placed]), 1)
    total = have.sum(axis=1)
    free = rng.permutation(np.flatnonzero(~placed))
    free = free[np.argsort(labels[free], kind="stable")]
    ends = np.cumsum(np.bincount(labels[free], minlength=have.shape[1]))
    for k, rows in enumerate(np.split(free, ends[:-1])):
        level = (have[:, k] + np.arange(len(rows))[:, None]).ravel()
        fold = np.tile(np.arange(count), len(rows))
        chosen = fold[np.lexsort((total[fold], level))[: len(rows)]]
        out[rows] = chosen
        total += np.bincount(chosen, minlength=count)
    return out
