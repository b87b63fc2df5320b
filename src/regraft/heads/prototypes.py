"""Nearest class mean: what a handful of examples can support."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import HeadError
from regraft.heads.calibrate import unseen_loss
from regraft.heads.fitted import HELD_OUT, LEAVE_GROUP_OUT, LEAVE_ONE_OUT, HeldOut, Tuned
from regraft.heads.folds import fair, shared
from regraft.heads.layers import TINY, Layers, Scale, Unit, affine
from regraft.heads.moments import Float, class_sums, columns
from regraft.heads.rows import Rows, spans, take

METRICS = ("cosine", "euclidean")


class Prototypes:
    """A row belongs to the class whose mean is nearest, features scaled to variance one.

    'cosine' compares directions from the overall mean, 'euclidean' distances; the one with the
    better calibrated leave-one-out log-loss is taken. Leaving a row out takes it out of the mean
    of its class, exactly; the overall mean and scale stay those of all rows. A row that is alone
    in its class has no mean left, scores last there and does not count. Where all rows are alone
    it is 'cosine'.

    Source: Snell et al., Prototypical Networks, NeurIPS 2017; Mensink et al., PAMI 2013.
    """

    SETTLED = ("metric",)
    metrics: tuple[str, ...] = METRICS

    def __init__(self, metric: str | None = None) -> None:
        """Compare by this metric; it is chosen if None."""
        if metric is not None and metric not in METRICS:
            raise HeadError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}.")
        if metric is not None:
            self.metrics = (metric,)

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
        """Choose the metric; see `Head.tune`."""
        tried: list[tuple[float, str, NDArray[np.float32]]] = []
        truth = labels if held_out is None else held_out.labels
        told = fair(labels, groups) if held_out is None else None
        for metric in self.metrics:
            if held_out is None:
                scores = _left_out(rows, labels, n_classes, metric, groups)
            else:
                scores = self.solve(rows, labels, n_classes, {"metric": metric}, seed=seed)(
                    held_out.rows
                )
            tried.append((unseen_loss(scores, truth, told), metric, scores))
        _, metric, scores = min(tried, key=lambda one: one[0])
        kind = LEAVE_ONE_OUT if groups is None else LEAVE_GROUP_OUT
        return Tuned({"metric": metric}, scores, HELD_OUT if held_out else kind, fair=told)

    def solve(
        self,
        rows: Rows,
        labels: NDArray[np.int64],
        n_classes: int,
        settings: Mapping[str, Any],
        *,
        seed: int,
    ) -> Layers:
        """The class means under `settings['metric']`, as a chain of layers."""
        metric = settings["metric"]
        if metric not in METRICS:
            raise HeadError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}.")
        shift, scale = columns(rows)
        total, count = _sums(rows, labels, n_classes, shift, scale, metric)
        mean = total / count[:, None]
        if metric == "euclidean":
            bias = -0.5 * (mean**2).sum(axis=1)
            return Layers((affine(shift, (mean / scale).T, bias),))
        length = np.sqrt((total**2).sum(axis=1, keepdims=True))
        weight = (total / np.maximum(length, TINY)).T
        factor = Scale(shift.astype(np.float32), (1.0 / scale).astype(np.float32))
        return Layers((factor, Unit(), affine(np.zeros(len(shift)), weight, np.zeros(n_classes))))


def _points(x: NDArray[Any], shift: Float, scale: Float, metric: str) -> Float:
    """(B, D) rows to the points that are averaged: scaled, and of length one for 'cosine'."""
    z = (np.asarray(x, np.float64) - shift) / scale
    if metric == "cosine":
        z /= np.maximum(np.sqrt((z**2).sum(axis=1, keepdims=True)), TINY)
    return np.asarray(z)


def _sums(
    rows: Rows,
    labels: NDArray[np.int64],
    n_classes: int,
    shift: Float,
    scale: Float,
    metric: str,
) -> tuple[Float, Float]:
    """Sum (K, D) and count (K,) of every class's points."""
    total, count = np.zeros((n_classes, len(shift))), np.zeros(n_classes)
    for part in spans(len(rows)):
        here, sums = class_sums(_points(rows[part], shift, scale, metric), labels[part], n_classes)
        count += here
        total += sums.T
    return total, count


def _left_out(
    rows: Rows,
    labels: NDArray[np.int64],
    n_classes: int,
    metric: str,
    groups: NDArray[Any] | None,
) -> NDArray[np.float32]:
    """(N, K) scores of every row by class means without it, or without its whole group."""
    shift, scale = columns(rows)
    total, count = _sums(rows, labels, n_classes, shift, scale, metric)
    out = np.empty((len(rows), n_classes), np.float32)
    for part in spans(len(rows)):
        points = _points(rows[part], shift, scale, metric)
        out[part] = _without_self(points, labels[part], total, count, metric)
    size = (total**2).sum(axis=1)
    for same in shared(groups):
        for members in same:
            points = _points(take(rows, members), shift, scale, metric)
            touched, inside = np.unique(labels[members], return_inverse=True)
            here, sums = class_sums(points, inside, len(touched))
            dots, square, left = points @ total.T, size.copy(), count.copy()
            dots[:, touched] -= points @ sums
            square[touched] = ((total[touched] - sums.T) ** 2).sum(axis=1)
            left[touched] -= here
            out[members] = _score(dots, square, left, metric)
    return out


def _without_self(
    points: Float, labels: NDArray[np.int64], total: Float, count: Float, metric: str
) -> Float:
    """(B, K) scores where each row is missing from the sum of its own class."""
    own = np.arange(len(points)), labels
    size = (points**2).sum(axis=1)
    dots = points @ total.T
    square = np.broadcast_to((total**2).sum(axis=1), dots.shape).copy()
    left = np.broadcast_to(count, dots.shape).copy()
    square[own] += size - 2.0 * dots[own]
    dots[own] -= size
    left[own] -= 1.0
    return _score(dots, square, left, metric)


def _score(dots: Float, square: Float, count: Float, metric: str) -> Float:
    """Scores from x·S, ‖S‖² and the number of points in the sum S; an empty class comes last.

    All scores are 0 where no class has a point.
    """
    there = np.broadcast_to(count > 0.5, dots.shape)
    if metric == "cosine":
        score = dots / np.sqrt(np.maximum(square, TINY))
    else:
        n = np.maximum(count, 1.0)
        score = dots / n - 0.5 * square / n**2
    last = np.where(there, score, np.inf).min(axis=1, keepdims=True) - 1.0
    return np.where(there, score, np.where(np.isfinite(last), last, 0.0))
