"""The sums that are all a ridge head needs to know: they add, and they subtract."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import HeadError
from regraft.heads.rows import CHUNK, Rows, refuse_non_finite, spans

Float = NDArray[np.float64]

# A column whose spread is below this share of its size is constant: float32 keeps 24 bits, and
# the variance is a difference of float64 sums that agree to 2e-16.
CONSTANT = 1e-6

# Nor does a spread below this say anything: one over it would leave float32 on the next odd row.
LEAST_SPREAD = 1e-18

# Of a column's Σx², what is left of it by rounding when rows are taken out again.
ROUNDING = 1e-12

FEW_CLASSES = 64  # up to here a product with one-hot labels is quicker than sorting rows by class


@dataclass
class Moments:
    """n, Σx, Σxxᵀ, Σy and Σxyᵀ of rows seen so far, in float64 and unstandardised.

    Labels count as one-hot targets. Two sets of rows give the sum of their moments, whatever
    their order, so data may come in parts, grow, shrink, or lie on several machines.

    Attributes:
        n: rows.
        x: (D,) sum of rows.
        xx: (D, D) sum of outer products.
        y: (K,) sum of targets; with labels the count of each class.
        xy: (D, K) sum of rows times targets; with labels each class's sum of rows.
        peak: (D,) about the largest Σx² that rows were ever taken out of, 0 if none were: what is
            lost in its rounding stays lost, however little of the column is left. A power of 16,
            so that it does not tell which rows these were.
    """

    n: int
    x: Float
    xx: Float
    y: Float
    xy: Float
    peak: Float = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if not len(self.peak):
            self.peak = np.zeros(len(self.x))

    @classmethod
    def empty(cls, dim: int, n_classes: int) -> Moments:
        """The moments of no rows: `dim` columns, `n_classes` targets."""
        square, cross = np.zeros((dim, dim)), np.zeros((dim, n_classes))
        return cls(0, np.zeros(dim), square, np.zeros(n_classes), cross)

    @classmethod
    def of(cls, rows: Rows, targets: NDArray[Any], n_classes: int) -> Moments:
        """The moments of all `rows`, read once in chunks."""
        total = cls.empty(rows.shape[1], n_classes)
        for part in spans(len(rows), CHUNK):
            total.add(rows[part], targets[part], first=part.start)
        return total

    def add(self, rows: NDArray[Any], targets: NDArray[Any], *, first: int = 0) -> None:
        """Take `rows` (n, D) in, with labels (n,) or targets (n, K).

        `first` is the number of the first row, for the message of the error.

        Raises:
            HeadError: a value is not finite.
        """
        self._change(rows, targets, 1.0, first)

    def remove(self, rows: NDArray[Any], targets: NDArray[Any]) -> None:
        """Take `rows` out as if they had never been added, to float64 rounding.

        Raises:
            HeadError: a value is not finite, or more rows are removed than were added.
        """
        if len(rows) > self.n:
            raise HeadError(f"{len(rows)} rows cannot be removed from moments of {self.n} rows.")
        before = np.maximum(np.diagonal(self.xx), self.peak)
        self._change(rows, targets, -1.0, 0)
        self._settle(before)
        self.peak = _rough(before)

    def __add__(self, other: Moments) -> Moments:
        if self.xy.shape != other.xy.shape:
            raise HeadError(
                f"Moments of shape {other.xy.shape} do not add to those of {self.xy.shape}."
            )
        pairs = ((getattr(self, k), getattr(other, k)) for k in ("n", "x", "xx", "y", "xy"))
        total = Moments(*(a + b for a, b in pairs))
        total.peak = np.maximum(self.peak, other.peak)
        return total

    def _change(self, rows: NDArray[Any], targets: NDArray[Any], sign: float, first: int) -> None:
        wide = np.asarray(rows, np.float64)
        refuse_non_finite(wide, first)
        x = wide.sum(axis=0)
        y, xy = _cross(wide, targets, len(self.y))
        self.n += int(sign) * len(wide)
        self.x += sign * x
        square = wide.T @ wide
        if sign < 0:
            np.negative(square, out=square)
        self.xx += square
        self.y += sign * y
        self.xy += sign * xy

    def _settle(self, before: Float) -> None:
        """Take for constant what varies no more than the rounding of what was removed.

        A column that only removed rows used would keep a trace of 1e-16 of them, and scaling to
        variance one would make it as loud as all others. `before` (D,) is Σx² with those rows,
        and with those that went earlier.
        """
        n = max(self.n, 1)
        power = np.diagonal(self.xx)
        mean = np.where(self.x**2 / n > ROUNDING * before, self.x / n, 0.0)
        still = power - self.x**2 / n <= ROUNDING * before
        self.x[still] = n * mean[still]
        self.xx[still] = np.outer(mean[still], self.x)
        self.xx[:, still] = self.xx[still].T
        self.xy[still] = np.outer(mean[still], self.y)

    def centre(self) -> tuple[Float, Float]:
        """Mean (D,) and standard deviation (D,) of every column, infinite where it is constant.

        Dividing by infinity makes a constant column zero, which is what it has to say.
        """
        mean = self.x / self.n
        power = np.diagonal(self.xx) / self.n
        return mean, scale_of(np.sqrt(np.maximum(power - mean**2, 0.0)), power)

    def standardised(self) -> tuple[Float, Float]:
        """Σzzᵀ (D, D) and Σz(y-ȳ)ᵀ (D, K) of the centred and scaled rows z."""
        mean, scale = self.centre()
        gram = self.xx - np.outer(mean, self.x)
        gram /= scale[:, None]
        gram /= scale
        return gram, (self.xy - np.outer(mean, self.y)) / scale[:, None]


def columns(rows: Rows) -> tuple[Float, Float]:
    """Mean (D,) and standard deviation (D,) of `rows`, as `Moments.centre` has them, in one pass.

    Raises:
        HeadError: a value is not finite.
    """
    total, squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    for part in spans(len(rows)):
        wide = np.asarray(rows[part], np.float64)
        refuse_non_finite(wide, part.start)
        total += wide.sum(axis=0)
        squares += np.einsum("ij,ij->j", wide, wide)
    mean, power = total / len(rows), squares / len(rows)
    return mean, scale_of(np.sqrt(np.maximum(power - mean**2, 0.0)), power)


def scale_of(spread: Float, power: Float) -> Float:
    """Standard deviations (D,), infinite where below `CONSTANT` times the root of `power`."""
    return np.where(spread > np.maximum(CONSTANT * np.sqrt(power), LEAST_SPREAD), spread, np.inf)


def _rough(power: Float) -> Float:
    """(D,) the power of 16 next to each Σx², 0 for 0."""
    some = power > 0
    return np.where(some, 16.0 ** np.rint(np.log2(np.where(some, power, 1.0)) / 4), 0.0)


def _cross(rows: Float, targets: NDArray[Any], n_classes: int) -> tuple[Float, Float]:
    """Σy (K,) and Σxyᵀ (D, K). Labels are summed class by class: no product with zeros."""
    if targets.ndim == 2:
        wide = np.asarray(targets, np.float64)
        return wide.sum(axis=0), rows.T @ wide
    return class_sums(rows, targets, n_classes)


def class_sums(rows: Float, labels: NDArray[np.int64], n_classes: int) -> tuple[Float, Float]:
    """How many rows each class has, (K,), and their sums, (D, K)."""
    counts = np.bincount(labels, minlength=n_classes)
    if n_classes <= FEW_CLASSES:
        return counts.astype(np.float64), rows.T @ np.eye(n_classes)[labels]
    total = np.zeros((n_classes, rows.shape[1]))
    order = np.argsort(labels, kind="stable")
    starts = np.cumsum(counts) - counts
    present = counts > 0
    if len(rows):
        total[present] = np.add.reduceat(rows[order], starts[present], axis=0)
    return counts.astype(np.float64), total.T
