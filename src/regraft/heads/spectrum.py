"""One decomposition of the rows that serves every penalty of a ridge head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from regraft.heads.moments import Float, Moments, scale_of
from regraft.heads.rows import Rows, refuse_non_finite

Real = TypeVar("Real", np.float32, np.float64)

RANK = 1e-13  # eigenvalues below this share of the largest are rounding


@dataclass(frozen=True)
class Spectrum:
    """The centred and scaled rows z, turned to the axes along which they vary.

    A penalty p adds n·p to every eigenvalue, so one spectrum solves a whole grid.

    Attributes:
        n: rows.
        shift: (D,) column means.
        values: (R,) eigenvalues of Σzzᵀ, all above zero.
        vectors: (D, R); (x - shift) @ vectors are a row's coordinates t, scaling included.
        target: (K,) mean of the one-hot targets.
        pull: (R, K) Σt(y-ȳ)ᵀ.
        inside: (N, R) coordinates of the rows themselves, where N is small.
    """

    n: int
    shift: Float
    values: Float
    vectors: Float
    target: Float
    pull: Float
    inside: Float | None = None

    def coordinates(self, x: NDArray[Any]) -> Float:
        """(B, D) rows to (B, R) coordinates t."""
        return np.asarray((np.asarray(x, np.float64) - self.shift) @ self.vectors)

    def shrink(self, penalty: float) -> Float:
        """(R,) 1 / (eigenvalue + n·penalty)."""
        return 1.0 / (self.values + self.n * penalty)

    def evidence(self, scores: NDArray[Real]) -> NDArray[Real]:
        """`evidence` of fits (B, K) of these targets."""
        return evidence(scores, self.target)

    def fit(self, t: NDArray[Any], penalty: float) -> Float:
        """(B, R) coordinates to (B, K) scores."""
        return np.asarray(self.target + t @ (self.pull * self.shrink(penalty)[:, None]))

    def weight(self, penalty: float) -> Float:
        """(D, K): scores are (x - shift) @ weight + target."""
        return self.vectors @ (self.pull * self.shrink(penalty)[:, None])


def evidence(scores: NDArray[Real], target: Float) -> NDArray[Real]:
    """(B, K) fits of one-hot targets, whose means are `target` (K,), as evidence.

    That is centred, and in units of their spread. Least squares shrinks a class by its share of
    the rows, so a class of 1 in 40 would never win. Dividing by the standard deviation of its
    target, sqrt(p(1-p)), is linear in the targets: it can follow the solve, and sums stay exact
    where weights by count would not.
    """
    spread = np.sqrt(target * (1.0 - target))
    unit = np.where(spread > 0.0, spread, 1.0)
    return ((scores - target) / unit).astype(scores.dtype)


def decompose(rows: Rows, labels: NDArray[np.int64], n_classes: int) -> Spectrum:
    """The spectrum of `rows`, by the smaller of the two Gram matrices.

    More rows than columns: Σzzᵀ (D, D) from one streamed pass of `Moments`. Fewer: the (N, N)
    matrix of inner products, for which the rows fit in memory because N < D.

    Raises:
        HeadError: a value is not finite.
    """
    if len(rows) > rows.shape[1]:
        return of_moments(Moments.of(rows, labels, n_classes))
    return _of_few(np.asarray(rows[0 : len(rows)], np.float64), labels, n_classes)


def of_moments(moments: Moments) -> Spectrum:
    """The spectrum of the rows that `moments` were taken of."""
    shift, scale = moments.centre()
    gram, cross = moments.standardised()
    values, axes = np.linalg.eigh(gram)
    keep = values > RANK * max(float(values[-1]), np.finfo(np.float64).tiny)
    values, axes = values[keep], axes[:, keep]
    target = moments.y / moments.n
    return Spectrum(moments.n, shift, values, axes / scale[:, None], target, axes.T @ cross)


def _of_few(x: Float, labels: NDArray[np.int64], n_classes: int) -> Spectrum:
    """The same from N <= D rows.

    Centring makes one eigenvalue of the inner products zero (its eigenvector is constant): it is
    dropped by rank, never divided by.
    """
    refuse_non_finite(x, 0)
    n = len(x)
    shift = x.mean(axis=0)
    z = x - shift
    scale = scale_of(np.sqrt((z**2).mean(axis=0)), (x**2).mean(axis=0))
    z /= scale
    values, u = np.linalg.eigh(z @ z.T)
    keep = values > RANK * n * max(float(values[-1]), np.finfo(np.float64).tiny)
    values, u = values[keep], u[:, keep]
    root = np.sqrt(values)
    y = np.eye(n_classes)[labels]
    target = y.mean(axis=0)
    inside = u * root
    vectors = (z.T @ (u / root)) / scale[:, None]
    return Spectrum(n, shift, values, vectors, target, inside.T @ (y - target), inside)
