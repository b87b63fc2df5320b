"""From scores to probabilities, learned on scores of rows that the head had not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.heads.newton import Float, Local, Product, log_softmax, minimise

MOST_ROWS = 20_000  # rows to learn from: K + 1 numbers need no more
FEW_PER_CLASS = 5  # below this, a bias per class would fit noise
BIAS_PENALTY = 5.0  # of half the square of its departure, beside log-loss summed over rows
FEW_ROWS = 8  # fewer, and fewer than two per class, do not overrule `unlearned`
NORMAL = 1.4826  # standard deviations of a normal number per median of its absolute value
LIMITS = (1e-3, 1e4)  # of the sharpness, for scores of spread 1; noise may ask for less than 0


@dataclass(frozen=True)
class Calibration:
    """logits = sharpness · scores + bias; probabilities are their softmax.

    Attributes:
        sharpness: one over the temperature, > 0.
        bias: (K,) float64, added to the logits.
    """

    sharpness: float
    bias: Float

    def logits(self, scores: NDArray[Any]) -> Float:
        """(N, K) scores to (N, K) logits in float64."""
        return np.asarray(np.asarray(scores, np.float64) * self.sharpness + self.bias)

    def probabilities(self, scores: NDArray[Any]) -> NDArray[np.float32]:
        """(N, K) scores to (N, K) probabilities; rows sum to 1."""
        return np.asarray(np.exp(log_softmax(self.logits(scores))), np.float32)

    def log_loss(
        self,
        scores: NDArray[Any],
        labels: NDArray[Any],
        fair: NDArray[np.bool_] | None = None,
    ) -> float:
        """Mean negative log-probability of the true class, over the rows in `fair` if given.

        There must be one; where none is there is nothing to compare by.
        """
        if fair is not None:
            scores, labels = scores[fair], labels[fair]
        picked = log_softmax(self.logits(scores))[np.arange(len(labels)), labels]
        return float(-picked.mean())


def calibrate(
    scores: NDArray[Any],
    labels: NDArray[np.int64],
    *,
    bias: bool = True,
    fair: NDArray[np.bool_] | None = None,
) -> Calibration:
    """The temperature and per-class bias with the least log-loss.

    Scores are evidence: 0 for every class says nothing beyond how common the classes are. So the
    biases start from the logarithm of the classes' shares and are penalised for leaving it, and
    stay there where a class has fewer than 5 rows. Temperature alone (`bias=False`; Guo et al.,
    ICML 2017) never changes which class wins.

    Targets are smoothed as if one more row of each class here had a random label (after Platt
    1999), so that scores which separate the classes give a finite temperature: n right answers do
    not prove that none will be wrong. On four sets of photos with 15 rows per class that cut the
    log-loss of the test from 0.73 to 0.68, on 40 rows per class from 0.52 to 0.50.

    Args:
        scores: (N, K), out of fold.
        labels: (N,).
        bias: whether to use biases at all.
        fair: (N,) rows to learn from, see `regraft.heads.folds.fair`; all if None. The shares of
            the classes are those of all rows. If next to none is left, see `unlearned`.
    """
    n, k = scores.shape
    base = log_prior(labels, k) if bias and n else np.zeros(k)
    if fair is not None and not fair.all():
        if _too_few(int(fair.sum()), k):
            return Calibration(unlearned(scores, labels), base)
        scores, labels = scores[fair], labels[fair]
        n = len(labels)
    if _too_few(n, k):
        return Calibration(unlearned(scores, labels), base)
    if n > MOST_ROWS:
        chosen = np.linspace(0, n - 1, MOST_ROWS).astype(np.intp)
        scores, labels, n = scores[chosen], labels[chosen], MOST_ROWS
    wide, spread = _centred(scores)
    if not spread > 0.0:
        return Calibration(1.0, base)
    scaled = wide / spread
    free = bias and int(np.bincount(labels, minlength=k).min()) >= FEW_PER_CLASS
    problem = _problem(scaled, labels, base, free)
    point = minimise(problem, np.append(1.0, np.zeros(k if free else 0)))
    sharpness = float(np.clip(point[0], *LIMITS))
    if free and sharpness != point[0]:  # the biases belong to another sharpness: fit them again
        fixed = _problem(sharpness * scaled, labels, base, free)
        held = minimise(lambda b: _hold_first(fixed(np.append(1.0, b))), point[1:])
        point = np.append(sharpness, held)
    return Calibration(sharpness / spread, base + point[1:] if free else base)


def unlearned(scores: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """The sharpness where no row tells: sqrt(2 ln K) over the spread of the scores (N, K).

    The largest of K normal numbers lies about sqrt(2 ln K) spreads out. At this sharpness a class
    whose score stands out as far gets a probability of about one half: K² against the K² that K
    normal scores add up to. On made-up classes with one row each the log-loss of new rows came to
    within a few tenths of what a sharpness fitted on those rows gives.

    The spread is that of wrong classes, since a row's own class was left out with it, and by the
    median, since other classes may have been left out too.
    """
    n, k = scores.shape
    if not n:
        return 1.0
    wide = np.asarray(scores, np.float64)
    spread = 0.0
    if k > 2:
        wrong = wide[np.arange(k) != labels[:, None]].reshape(n, k - 1)
        off = np.abs(wrong - np.median(wrong, axis=1, keepdims=True))
        spread = NORMAL * float(np.median(off)) * ((k - 1) / (k - 2)) ** 0.5
    spread = spread if spread > 0.0 else _centred(wide)[1]
    return unlearned_of(spread, k)


def unlearned_of(spread: float, n_classes: int) -> float:
    """`unlearned` where only the spread of the scores around each row's mean is known."""
    return float(np.sqrt(2 * np.log(n_classes))) / spread if spread > 0.0 else 1.0


def _too_few(n: int, n_classes: int) -> bool:
    return n == 0 or n < min(FEW_ROWS, 2 * n_classes)


def _centred(scores: NDArray[Any]) -> tuple[Float, float]:
    """Scores (N, K) around each row's mean, and the root of their mean square."""
    wide = np.asarray(scores, np.float64)
    wide = wide - wide.mean(axis=1, keepdims=True)
    return wide, float(np.sqrt((wide**2).mean())) if len(wide) else 0.0


def unseen_loss(
    scores: NDArray[Any], labels: NDArray[np.int64], fair: NDArray[np.bool_] | None = None
) -> float:
    """The log-loss of (N, K) scores once calibrated, what settings are compared by.

    Infinite if no row is `fair`: then nothing is better than anything.
    """
    if not len(labels) or (fair is not None and not fair.any()):
        return np.inf
    return calibrate(scores, labels, fair=fair).log_loss(scores, labels, fair)


def log_prior(labels: NDArray[np.int64], n_classes: int) -> Float:
    """(K,) log of the share of every class, half a row added to each."""
    return log_share(np.bincount(labels, minlength=n_classes))


def log_share(counts: NDArray[Any]) -> Float:
    """(K,) the same from the number of rows of every class."""
    smoothed = np.asarray(counts, np.float64) + 0.5
    return np.asarray(np.log(smoothed / smoothed.sum()))


def with_absent(counts: NDArray[Any], learned: NDArray[Any]) -> Float:
    """(K,) rows of every class to calibrate on, classes without any at their share of the learned.

    A held-out part may lack a class, as where a class came later. That says nothing of how common
    it is: with a share of nearly 0 it would never be answered.
    """
    share = np.asarray(learned, np.float64) / max(float(np.sum(learned)), 1.0)
    return np.where(np.asarray(counts) > 0, counts, share * np.sum(counts))


def balanced(counts: NDArray[Any], balance: float) -> Float:
    """(K,) the bias that the classes' shares give, `balance` of it taken away again.

    It needs the counts only, so it follows sums of rows exactly; see `fitted.fit_head`.
    """
    return (1.0 - balance) * log_share(counts)


def _problem(scores: Float, labels: NDArray[np.int64], base: Float, free: bool) -> Local:
    """The smoothed, penalised log-loss at [sharpness, bias - base…], convex in both together."""
    n, k = scores.shape
    here = int(np.count_nonzero(np.bincount(labels, minlength=k)))
    slip = here / (n + here)
    target = np.full((n, k), slip / k)
    target[np.arange(n), labels] += 1.0 - slip

    def local(point: Float) -> tuple[float, Float, Product]:
        bias = point[1:]
        log_p = log_softmax(point[0] * scores + base + (bias if free else 0.0))
        p = np.exp(log_p)
        value = -float((target * log_p).sum()) + 0.5 * BIAS_PENALTY * float(bias @ bias)
        gradient = _pull(p - target, scores, free)
        gradient[1:] += BIAS_PENALTY * bias

        def product(v: Float) -> Float:
            moved = v[0] * scores + (v[1:] if free else 0.0)
            moved = p * (moved - (p * moved).sum(axis=1, keepdims=True))
            out = _pull(moved, scores, free)
            out[1:] += BIAS_PENALTY * v[1:]
            return out

        return value, gradient, product

    return local


def _pull(slope: Float, scores: Float, free: bool) -> Float:
    """From slopes by logit (N, K) to slopes by [sharpness, bias…]."""
    first = float((slope * scores).sum())
    return np.append(first, slope.sum(axis=0) if free else np.zeros(0))


def _hold_first(local: tuple[float, Float, Product]) -> tuple[float, Float, Product]:
    """The same problem where the first number stays as it is."""
    value, gradient, product = local
    return value, gradient[1:], lambda v: product(np.append(0.0, v))[1:]
