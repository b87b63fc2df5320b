"""Ridge regression onto the classes: closed form, with exact leave-one-out for every penalty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.heads.calibrate import calibrate
from regraft.heads.fitted import HELD_OUT, LEAVE_GROUP_OUT, LEAVE_ONE_OUT, HeldOut, Tuned
from regraft.heads.layers import Layers, affine
from regraft.heads.leave_out import leave_out, leave_out_all
from regraft.heads.moments import Float
from regraft.heads.rows import Rows, take
from regraft.heads.spectrum import Spectrum, decompose

PENALTIES = tuple(10.0 ** (power / 3) for power in range(-12, 13))  # per row, on scaled features
MOST_TUNED = 8192  # rows on which a penalty is chosen


class Ridge:
    """Least squares onto one-hot classes with an L2 penalty, features scaled to variance one.

    The penalty is chosen by the log-loss of calibrated leave-one-out scores, which are exact: each
    row's score is, to rounding, that of the head fitted without the row, intercept and all. They
    are conditional on one thing: the scale of each column (not its mean) was taken from all rows.
    Scores are regression values, not logits; `Calibration` makes probabilities of them.
    """

    def tune(
        self,
        rows: Rows,
        labels: NDArray[np.int64],
        n_classes: int,
        *,
        seed: int,
        groups: NDArray[Any] | None,
        held_out: HeldOut | None,
    ) -> Tuned:
        """Choose the penalty; see `Head.tune`."""
        spectrum = decompose(rows, labels, n_classes)
        if held_out is not None:
            t = spectrum.coordinates(held_out.rows[0 : len(held_out.rows)])
            penalty = pick(lambda p: spectrum.fit(t, p), held_out.labels)
            scores = spectrum.fit(t, penalty).astype(np.float32)
            return Tuned({"penalty": penalty}, scores, HELD_OUT)
        sample = spread_out(len(rows), groups)
        whole = len(sample) == len(rows)
        inside = spectrum.inside if whole else None
        t = spectrum.coordinates(take(rows, sample)) if inside is None else inside
        among = None if groups is None else groups[sample]

        def scores_at(penalty: float) -> Float:
            return leave_out(spectrum, t, labels[sample], penalty, among)

        penalty = pick(scores_at, labels[sample])
        scores = (
            scores_at(penalty).astype(np.float32)
            if whole
            else leave_out_all(spectrum, rows, labels, penalty, groups)
        )
        kind = LEAVE_ONE_OUT if groups is None else LEAVE_GROUP_OUT
        return Tuned({"penalty": penalty}, scores, kind, _layers(spectrum, penalty))

    def solve(
        self,
        rows: Rows,
        labels: NDArray[np.int64],
        n_classes: int,
        settings: Mapping[str, Any],
        *,
        seed: int,
    ) -> Layers:
        """The head with `settings['penalty']`; see `Head.solve`."""
        return _layers(decompose(rows, labels, n_classes), float(settings["penalty"]))


def pick(scores_at: Callable[[float], Float], labels: NDArray[np.int64]) -> float:
    """The penalty whose unseen scores (n, K), once calibrated, have the least log-loss.

    A coarse walk over every fourth penalty, then ever closer around the best one: the loss has
    one valley, and calibrating is what costs.
    """
    losses: dict[int, float] = {}

    def loss(place: int) -> float:
        if place not in losses:
            scores = scores_at(PENALTIES[place])
            losses[place] = calibrate(scores, labels).log_loss(scores, labels)
        return losses[place]

    best = min(range(0, len(PENALTIES), 4), key=loss)
    for step in (2, 1):
        near = (best - step, best, best + step)
        best = min((place for place in near if 0 <= place < len(PENALTIES)), key=loss)
    return float(PENALTIES[best])


def spread_out(n: int, groups: NDArray[Any] | None) -> NDArray[np.intp]:
    """At most about `MOST_TUNED` of n rows, in blocks spread evenly; of groups, whole ones."""
    if n <= MOST_TUNED:
        return np.arange(n)
    if groups is None:
        block = 32
        starts = np.linspace(0, n - block, MOST_TUNED // block).astype(np.intp)
        return np.unique(starts[:, None] + np.arange(block))
    _, group = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group)
    step = max(1, round(n / MOST_TUNED))
    chosen = np.zeros(len(sizes), bool)
    chosen[::step] = True
    return np.flatnonzero(chosen[group])


def _layers(spectrum: Spectrum, penalty: float) -> Layers:
    return Layers((affine(spectrum.shift, spectrum.weight(penalty), spectrum.target),))
