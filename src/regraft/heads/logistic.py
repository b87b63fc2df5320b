"""Multinomial logistic regression with an L2 penalty chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import HeadError
from regraft.heads.calibrate import log_prior, unseen_loss
from regraft.heads.fitted import HELD_OUT, K_FOLD, HeldOut, Tuned
from regraft.heads.folds import fair, split_out
from regraft.heads.layers import Layers, affine
from regraft.heads.newton import Float, Local, Product, log_softmax, minimise
from regraft.heads.rows import Rows
from regraft.heads.spectrum import Spectrum, decompose

PENALTIES = tuple(10.0 ** (power / 2) for power in range(1, -11, -1))  # per row, strongest first
FOLDS = 5
MOST_BYTES = 4 << 30  # of the rotated rows in float64; this head needs all of them at once
ROUGH, FINE = 1e-3, 1e-6  # tolerance of the gradient while choosing, and in the end
SLACK = 0.01  # relative log-loss that a weaker penalty must gain
PATIENCE = 2  # worse penalties in a row before the walk ends


class Logistic:
    """The penalty p of mean log-loss + p/2 ‖W‖² on scaled features, by stratified 5-fold.

    scikit-learn's C is 1 / (n·p); with two classes there is one column of weights, as there.
    Rows are turned to their principal axes first: an L2 penalty does not see rotations, N < D rows
    need only N axes, and along them the curvature is nearly diagonal, so that a few conjugate
    gradient steps solve what gradient descent crawls through. Mean, scale and axes come from all
    rows, left-out ones included; labels of left-out rows are never seen. Scores are logits less
    the logarithm of the classes' shares, which `Calibration` adds again.
    """

    SETTLED = ("penalty",)

    def __init__(self, penalty: float | None = None) -> None:
        """Take this penalty; it is chosen if None."""
        if penalty is not None and not penalty > 0:
            raise HeadError(f"penalty must lie above 0, not {penalty}.")
        self.penalties = PENALTIES if penalty is None else (penalty,)

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
        """Walk from the strongest penalty down, each start where the last ended."""
        spectrum, t = _rotate(rows, labels, n_classes)
        if held_out is not None:
            unseen = spectrum.coordinates(held_out.rows[0 : len(held_out.rows)])
            truth = held_out.labels
            parts = [(t, labels, unseen, np.arange(len(truth)))]
            told = None
        else:
            truth = labels
            fold = split_out(labels, FOLDS, seed=seed, groups=groups)
            told = fair(labels, fold)
            parts = [
                (t[fold != f], labels[fold != f], t[fold == f], np.flatnonzero(fold == f))
                for f in range(int(fold.max()) + 1)
                if (fold != f).any()
            ]
        spread = spectrum.values / spectrum.n
        penalty, scores = _walk(self.penalties, parts, truth, n_classes, spread, told)
        settings = {"penalty": penalty, "folds": 0 if held_out else len(parts)}
        if held_out is not None:
            return Tuned(settings, scores, HELD_OUT)
        layers = _layers(spectrum, t, labels, n_classes, penalty)
        return Tuned(settings, scores, K_FOLD, layers, told)

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
        spectrum, t = _rotate(rows, labels, n_classes)
        return _layers(spectrum, t, labels, n_classes, float(settings["penalty"]))


def solve_logistic(
    t: Float,
    labels: NDArray[np.int64],
    n_classes: int,
    penalty: float,
    *,
    spread: Float | None = None,
    start: Float | None = None,
    tolerance: float = FINE,
    dtype: type[np.floating[Any]] = np.float64,
) -> Float:
    """Weights and intercepts (R + 1, K) that minimise mean log-loss + penalty/2 ‖weights‖².

    The last row are the intercepts, not penalised. With two classes the result is (R + 1, 1): the
    log-odds of the second.

    Args:
        t: (N, R) rows.
        labels: (N,).
        n_classes: K.
        penalty: above 0.
        spread: (R,) about the variance of each column, to precondition with.
        start: (R + 1, K) where to begin.
        tolerance: of the gradient.
        dtype: of the products with `t`; float32 is twice as fast and good to a tolerance of 1e-4.
    """
    columns = 1 if n_classes == 2 else n_classes
    size = (t.shape[1] + 1, columns)
    steep = 1.0 / columns if n_classes > 2 else 0.25
    curve = penalty + steep * (np.zeros(size[0] - 1) if spread is None else spread)
    scale = np.append(1.0 / np.sqrt(curve), 1.0)
    padded = np.empty((len(t), size[0]), dtype)
    np.multiply(t, scale[:-1], out=padded[:, :-1])
    padded[:, -1] = 1.0
    pull = np.append(penalty * scale[:-1] ** 2, 0.0)[:, None]
    first = np.zeros(size) if start is None else start / scale[:, None]
    point = minimise(_problem(padded, labels, pull, size), first.ravel(), tolerance=tolerance)
    return np.asarray(point.reshape(size) * scale[:, None])


def spread_over(logits: Float) -> Float:
    """(N, 1) log-odds of two classes as (N, 2) scores around zero; more classes as they are."""
    return np.concatenate([-0.5 * logits, 0.5 * logits], axis=1) if logits.shape[1] == 1 else logits


def _problem(t: Float, labels: NDArray[np.int64], pull: Float, size: tuple[int, int]) -> Local:
    n = len(t)
    truth = np.arange(n), labels

    def gather(slope: Float) -> Float:
        """(N, K) slopes by score to slopes by parameter."""
        own = slope if size[1] > 1 else 0.5 * (slope[:, 1:] - slope[:, :1])
        return np.asarray((own.astype(t.dtype).T @ t).T / n, np.float64)

    def local(point: Float) -> tuple[float, Float, Product]:
        w = point.reshape(size)
        log_p = log_softmax(spread_over(t @ w.astype(t.dtype)).astype(np.float64))
        p = np.exp(log_p)
        value = -float(log_p[truth].mean()) + 0.5 * float((pull * w * w).sum())
        slope = p.copy()
        slope[truth] -= 1.0
        gradient = gather(slope) + pull * w

        def product(v: Float) -> Float:
            moved = spread_over(t @ v.reshape(size).astype(t.dtype))
            moved = p * (moved - (p * moved).sum(axis=1, keepdims=True))
            return np.asarray((gather(moved) + pull * v.reshape(size)).ravel())

        return value, gradient.ravel(), product

    return local


def _walk(
    penalties: tuple[float, ...],
    parts: list[tuple[Float, NDArray[np.int64], Float, NDArray[np.intp]]],
    truth: NDArray[np.int64],
    n_classes: int,
    spread: Float,
    told: NDArray[np.bool_] | None,
) -> tuple[float, NDArray[np.float32]]:
    """The penalty whose unseen scores, once calibrated, have the least log-loss; and the scores.

    Only rows in `told` (n,) are looked at. If there is none it is the first, the strongest.
    """
    starts: list[Float | None] = [None] * len(parts)
    best = (np.inf, penalties[0], np.zeros((len(truth), n_classes), np.float32))
    worse = 0
    for penalty in penalties:
        scores = np.zeros((len(truth), n_classes), np.float32)
        for place, (t, labels, unseen, index) in enumerate(parts):
            w = solve_logistic(
                t, labels, n_classes, penalty,
                spread=spread, start=starts[place], tolerance=ROUGH, dtype=np.float32,
            )  # fmt: skip
            starts[place] = w
            prior = log_prior(labels, n_classes)
            scores[index] = spread_over(unseen @ w[:-1] + w[-1]) - prior
        loss = unseen_loss(scores, truth, told)
        if not np.isfinite(loss):
            return penalty, scores
        gained = loss * (1 + SLACK) + SLACK / 10 < best[0]  # a weaker penalty has to pay
        worse = 0 if gained else worse + 1
        if gained:
            best = (loss, penalty, scores)
        if worse == PATIENCE:
            break
    return best[1], best[2]


def _rotate(rows: Rows, labels: NDArray[np.int64], n_classes: int) -> tuple[Spectrum, Float]:
    n, d = rows.shape
    if 8 * n * min(n, d) > MOST_BYTES:
        raise HeadError(
            f"The logistic head needs all rows at once and {n} rows of {d} columns are too many; "
            "use the ridge head, which streams."
        )
    spectrum = decompose(rows, labels, n_classes)
    inside = spectrum.inside
    return spectrum, spectrum.coordinates(rows[0:n]) if inside is None else inside


def _layers(
    spectrum: Spectrum, t: Float, labels: NDArray[np.int64], n_classes: int, penalty: float
) -> Layers:
    spread = spectrum.values / spectrum.n
    w = solve_logistic(t, labels, n_classes, penalty, spread=spread)
    weight = spread_over(spectrum.vectors @ w[:-1])
    bias = spread_over(w[-1:])[0] - log_prior(labels, n_classes)
    return Layers((affine(spectrum.shift, weight, bias),))
