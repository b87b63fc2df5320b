"""Whether two arms differ: intervals and tests that allow for what their scores share.

    one seed        rows that one has right and the other wrong ─► exact McNemar
    several seeds   differences seed by seed ─► t of Nadeau and Bengio

Where the test rows are the same for all seeds, seeds tell only how much training itself varies:
then the larger one of both p-values counts, McNemar's being the median over the seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from regraft.comparing.arms import Made, Right, Scored
from regraft.cross import t975
from regraft.evaluate import Z95, Interval, wilson
from regraft.parts import HELD_OUT

MCNEMAR, T = "exact McNemar", "paired t of Nadeau and Bengio"
BOTH = f"{T}, {MCNEMAR}: the larger p"


def share(runs: Sequence[Scored]) -> float:
    """Test rows / other rows where each seed divides the data anew, 0 where they were given."""
    return statistics.fmean(
        one.n / one.rest if one.test_part == HELD_OUT and one.rest else 0.0 for one in runs
    )


def _rows(runs: Sequence[Scored], part: float) -> int:
    """How many different test rows there were at most."""
    first = runs[0]
    return min(sum(one.n for one in runs), first.n + first.rest) if part else first.n


def of_accuracy(runs: Sequence[Scored]) -> Interval:
    """The interval of an accuracy: no narrower than Wilson's for so many rows."""
    values, part = [one.accuracy for one in runs], share(runs)
    found, rows = interval(values, part), _rows(runs, part)
    low, high = wilson(statistics.fmean(values) * rows, rows)
    if found is None:
        return low, high
    return max(0.0, min(low, found[0])), min(1.0, max(high, found[1]))


def of_difference(runs: Sequence[Made], best: Sequence[Made]) -> Interval | None:
    """The interval of a paired difference: no narrower than rows on which all agree allow.

    That is 3/rows to either side, the rule of three (Hanley & Lippman-Hand, JAMA 249, 1983). With
    one seed it is the adjusted Wald interval of the rows on which both differ (Bonett & Price,
    J. Educ. Behav. Stat. 37, 2012), None if these are not known.

    Args:
        runs: one per seed.
        best: the runs of the best arm with the same seeds.
    """
    scored = [one.scored for one in runs]
    values, part = differences(runs, best), share(scored)
    found = interval(values, part)
    if found is None:
        counts = discordant(runs[0].right, best[0].right)
        return None if counts is None else of_rows(*counts, scored[0].n)
    mean, least = statistics.fmean(values), 3 / _rows(scored, part)
    return max(-1.0, min(found[0], mean - least)), min(1.0, max(found[1], mean + least))


def differences(runs: Sequence[Made], best: Sequence[Made]) -> list[float]:
    """Accuracy minus that of the best, seed by seed."""
    pairs = zip(runs, best, strict=True)
    return [one.scored.accuracy - other.scored.accuracy for one, other in pairs]


def interval(values: Sequence[float], part: float) -> Interval | None:
    """The 95 % interval of the mean over seeds: the t interval of Nadeau and Bengio (2003).

    It allows for the seeds sharing rows: where each divides the same data anew the variance is
    1/seeds + test rows/other rows of that of one value, and 1/seeds where the test rows are given,
    when it only tells how much training itself varies.

    Args:
        values: one per seed.
        part: test rows / other rows, 0 where the test rows were given.

    Returns:
        None for a single value.
    """
    count = len(values)
    if count < 2:
        return None
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    half = t975(count - 1) * spread * math.sqrt(1 / count + part)
    return mean - half, mean + half


def of_rows(more: int, less: int, n: int) -> Interval:
    """The interval of (more - less) / n, of n rows `more` right in one only and `less` in the other
    only."""
    a, b = (more + 1) / (n + 2), (less + 1) / (n + 2)
    half = Z95 * math.sqrt((a + b - (a - b) ** 2) / (n + 2))
    return max(-1.0, a - b - half), min(1.0, a - b + half)


def discordant(one: Right | None, other: Right | None) -> tuple[int, int] | None:
    """How many rows only the one has right, and how many only the other.

    None if either is not known, or they were scored on different rows.
    """
    if one is None or other is None or one.keys() != other.keys():
        return None
    more = sum(right and not other[row] for row, right in one.items())
    less = sum(right and not one[row] for row, right in other.items())
    return more, less


def p_value(runs: Sequence[Made], best: Sequence[Made]) -> tuple[float | None, str]:
    """The p-value of 'both are equally good', and by which test; None where nothing tells.

    Args:
        runs: one per seed.
        best: of the other arm, with the same seeds.
    """
    counts = [discordant(a.right, b.right) for a, b in zip(runs, best, strict=True)]
    exact = [mcnemar(*count) for count in counts if count is not None]
    of_seeds = statistics.median(exact) if len(exact) == len(runs) else None
    if len(runs) == 1:
        return of_seeds, MCNEMAR if exact else ""
    values, part = differences(runs, best), share([one.scored for one in runs])
    if statistics.stdev(values) == 0 and values[0]:
        return of_seeds, MCNEMAR if exact else ""  # seeds that agree to the row tell no spread
    p = paired_t(values, part)
    if part or of_seeds is None:
        return p, T
    return max(p, of_seeds), BOTH


def mcnemar(more: int, less: int) -> float:
    """The two-sided exact p-value for rows that only one of two has right (McNemar 1947).

    Under equality each such row is a toss of a coin; rows on which both agree say nothing.
    """
    n, few = more + less, min(more, less)
    if not n:
        return 1.0
    log_half = n * math.log(2)
    whole = math.lgamma(n + 1)
    tail = math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) - log_half)
        for k in range(few + 1)
    )
    return min(1.0, 2 * tail)


def paired_t(values: Sequence[float], part: float) -> float:
    """The two-sided p-value of a mean of 0, with the variance of `interval`."""
    count, spread = len(values), statistics.stdev(values)
    mean = statistics.fmean(values)
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return beyond(mean / (spread * math.sqrt(1 / count + part)), count - 1)


def beyond(t: float, degrees: int) -> float:
    """How often Student's t with whole `degrees` of freedom lies further from 0 than `t`.

    The finite sums of Abramowitz & Stegun, 26.7.3 and 26.7.4.
    """
    angle = math.atan(abs(t) / math.sqrt(degrees))
    cosine = math.cos(angle)
    term = total = 1.0
    first = 2 if degrees % 2 == 0 else 3
    for k in range(first, degrees, 2):
        term *= (k - 1) / k * cosine * cosine
        total += term
    if degrees % 2 == 0:
        inside = math.sin(angle) * total
    else:
        sums = math.sin(angle) * cosine * total if degrees > 1 else 0.0
        inside = 2 / math.pi * (angle + sums)
    return min(1.0, max(0.0, 1.0 - inside))


def holm(values: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected so that all hold together (Holm 1979)."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found, least = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, values[place] * (len(values) - rank)))
        found[place] = least
    return found
