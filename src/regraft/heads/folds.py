"""Parts of the rows, each left out once: stratified, seeded, groups kept together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import HeadError


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
        return _by_group(labels, groups, count, rng)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    out = np.empty(len(labels), np.int64)
    out[order] = np.arange(len(labels)) % count  # dealt like cards, class after class
    return out


def _by_group(
    labels: NDArray[np.int64], groups: NDArray[Any], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Large groups first, each to the fold that has the least of what it brings."""
    _, group = np.unique(groups, return_inverse=True)
    brings = np.zeros((int(group.max()) + 1, int(labels.max()) + 1))
    np.add.at(brings, (group, labels), 1.0)
    share = brings / np.maximum(brings.sum(axis=0), 1.0)
    shuffled = rng.permutation(len(brings))
    order = shuffled[np.argsort(-brings[shuffled].sum(axis=1), kind="stable")]
    load = np.zeros((count, brings.shape[1]))
    place = np.empty(len(brings), np.int64)
    for g in order:
        cost = (load * share[g]).sum(axis=1) + 1e-9 * load.sum(axis=1)
        place[g] = int(np.argmin(cost))
        load[place[g]] += share[g]
    return place[group]
