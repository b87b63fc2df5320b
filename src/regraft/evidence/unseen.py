"""Answers of a ridge head on rows that it had not seen, and how sure a share of right ones is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.evaluate import Interval, wilson
from regraft.heads.calibrate import calibrate
from regraft.heads.fitted import Validation, validate
from regraft.heads.moments import Float
from regraft.heads.ridge import unseen
from regraft.heads.rows import Rows
from regraft.heads.spectrum import Spectrum


def answers(
    spectrum: Spectrum,
    rows: Rows,
    labels: NDArray[np.int64],
    groups: NDArray[Any] | None = None,
) -> Validation:
    """What `regraft.heads.fit` says of a ridge head, without fitting it or its spectrum again."""
    tuned = unseen(spectrum, rows, labels, len(spectrum.target), groups)
    return validate(tuned, labels, calibrate(tuned.scores, labels, fair=tuned.fair))


def independent(unit: NDArray[np.int64]) -> float:
    """How many independent rows as many rows of some units are worth (Kish 1965).

    n² over the sum of the squared sizes: the number of rows where each is alone, and that of the
    units where they are of one size.
    """
    sizes = np.bincount(unit).astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def interval(share: float, n: float) -> Interval:
    """The 95 % interval of a share of `n` rows' worth; see `regraft.evaluate.wilson`."""
    low, high = wilson(share * n, n)
    return max(low, 0.0), min(high, 1.0)


def error_of_mean(values: Float, unit: NDArray[np.int64]) -> float:
    """The standard error of the mean of `values` (n,), those of one unit taken as one."""
    apart = np.bincount(unit, weights=values - values.mean())
    return float(np.sqrt((apart**2).sum())) / len(values)
