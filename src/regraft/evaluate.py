"""How good probabilities are on rows that were never trained on, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import DataError

Interval = tuple[float, float]

Z95 = 1.959963984540054  # the normal distribution's 97.5 % point
LEAST = float(np.finfo(np.float32).eps)  # a probability of 0 costs -log of this: 15.9


@dataclass(frozen=True)
class ClassScores:
    """One class; None where a value is 0/0.

    Attributes:
        label: its name.
        n: rows that truly are of this class.
        precision: share of the rows called so that are.
        recall: share of its rows that were called so.
        recall_ci95: Wilson interval of the recall.
        f1: harmonic mean of both.
    """

    label: str
    n: int
    precision: float | None
    recall: float | None
    recall_ci95: Interval | None
    f1: float | None


@dataclass(frozen=True)
class Scores:
    """All scores of one test.

    Rows whose label is no class of the head cannot be answered rightly, so they say nothing of how
    well it tells its classes apart: they are left out of all scores and counted in `unknown`.

    Attributes:
        n: rows with a known label.
        accuracy: share of these that are right.
        accuracy_ci95: its Wilson interval.
        balanced_accuracy: mean recall of the classes that occur; None if none does.
        balanced_accuracy_ci95: its interval, see `balanced_interval`.
        log_loss: mean negative log-probability of the truth, probabilities at least 1.2e-7.
        per_class: one entry per class of the head, in its order.
        confusion: K rows (truth) of K counts (answer).
        unknown: label that the head never saw -> how many rows.
        accuracy_known: the same as `accuracy`.
    """

    n: int
    accuracy: float
    accuracy_ci95: Interval
    balanced_accuracy: float | None
    balanced_accuracy_ci95: Interval | None
    log_loss: float | None
    per_class: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    unknown: dict[str, int]
    accuracy_known: float | None

    def json(self) -> dict[str, Any]:
        """Plain data without NaN."""
        return asdict(self)


def evaluate(probabilities: NDArray[Any], labels: Sequence[str], classes: Sequence[str]) -> Scores:
    """Score `probabilities` (N, K), columns in the order of `classes`, against true `labels` (N).

    Raises:
        DataError: shapes do not match, there is no row with a known label, or a probability is not
            finite.
    """
    if probabilities.shape != (len(labels), len(classes)):
        raise DataError(
            f"probabilities must have the shape ({len(labels)}, {len(classes)}), "
            f"not {probabilities.shape}."
        )
    if not len(labels):
        raise DataError("There is no labelled row to evaluate on.")
    if not np.isfinite(probabilities).all():
        raise DataError("A probability is not a finite number.")
    place = {name: index for index, name in enumerate(classes)}
    truth = np.array([place.get(label, -1) for label in labels], np.int64)
    known = truth >= 0
    if not known.any():
        names = ", ".join(repr(name) for name in sorted(set(labels))[:3])
        raise DataError(
            f"none of the {len(labels)} rows has a class of the model: they have {names}."
        )
    answer = probabilities.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (truth[known], answer[known]), 1)
    right, n_known = int(np.trace(confusion)), int(known.sum())
    balanced, balanced_ci = _balanced(confusion)
    return Scores(
        n=n_known,
        accuracy=right / n_known,
        accuracy_ci95=wilson(right, n_known),
        balanced_accuracy=balanced,
        balanced_accuracy_ci95=balanced_ci,
        log_loss=_log_loss(probabilities[known], truth[known]),
        per_class=tuple(_one_class(confusion, k, name) for k, name in enumerate(classes)),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        unknown=dict(sorted(Counter(x for x in labels if x not in place).items())),
        accuracy_known=right / n_known,
    )


def wilson(right: float, n: float, z: float = Z95) -> Interval:
    """The interval of a share, 95 % unless `z` says otherwise (Wilson 1927).

    Chosen over Clopper-Pearson, which is too wide (it covers 97 to 99 % for small n) and needs
    quantiles of the beta distribution, and over the normal one, which collapses at 0 and 1
    (Brown, Cai and DasGupta 2001).
    """
    p, z2 = right / n, z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * (p * (1 - p) / n + z2 / (4 * n * n)) ** 0.5
    return (0.0 if right == 0 else centre - half, 1.0 if right == n else centre + half)


def balanced_interval(right: NDArray[np.int64], n: NDArray[np.int64]) -> Interval:
    """The 95 % interval of the mean of independent shares right/n (K,), all n above 0.

    Wilson's interval of every class, their distances from the shares added in squares ("MOVER",
    Zou and Donner 2008): unlike a bootstrap it does not collapse where a class is all right.
    """
    share = right / n
    ends = np.array([wilson(int(r), int(m)) for r, m in zip(right, n, strict=True)])
    mean, count = float(share.mean()), len(n)
    low = mean - float(np.sqrt(((share - ends[:, 0]) ** 2).sum())) / count
    high = mean + float(np.sqrt(((ends[:, 1] - share) ** 2).sum())) / count
    return max(low, 0.0), min(high, 1.0)


def _balanced(confusion: NDArray[np.int64]) -> tuple[float | None, Interval | None]:
    n = confusion.sum(axis=1)
    there = n > 0
    if not there.any():
        return None, None
    right = np.diagonal(confusion)[there]
    return float((right / n[there]).mean()), balanced_interval(right, n[there])


def _log_loss(probabilities: NDArray[Any], truth: NDArray[np.int64]) -> float | None:
    if not len(truth):
        return None
    picked = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.clip(picked, LEAST, 1.0)).mean())


def _one_class(confusion: NDArray[np.int64], k: int, label: str) -> ClassScores:
    right = int(confusion[k, k])
    n, called = int(confusion[k].sum()), int(confusion[:, k].sum())
    return ClassScores(
        label=label,
        n=n,
        precision=right / called if called else None,
        recall=right / n if n else None,
        recall_ci95=wilson(right, n) if n else None,
        f1=2 * right / (n + called) if n + called else None,
    )
