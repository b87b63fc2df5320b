"""The decision: a few readable rules over what was measured; bench/regret.py says how good.

nothing to learn? ─► which depth ─► what training above it would gain ─► what fits the budget
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from regraft.advising.advice import Option
from regraft.advising.evidence import Evidence
from regraft.advising.forecast import Forecast
from regraft.advising.risks import SHIFTED
from regraft.evaluate import Z95, Interval
from regraft.evidence.depths import Depth
from regraft.plans.places import cut_of

#: What ranks the stages, and whether more of it is better. No single one is right often enough:
#: over the cases of bench/regret.py the mean of their ranks chose better than each alone.
MEASURES = (("accuracy", 1.0), ("log_loss", -1.0), ("knn", 1.0), ("log_me", 1.0))
#: Mean ranks nearer than this are a tie, which likeness to the source breaks.
TIE = 0.5
#: The plan that trains nothing.
PROBE = "probe"
LIKE, UNLIKE = "like the source", "unlike"
#: These figures were set by hand on the cases of bench/cases.py, at the first two of five draws.
#: What a test part that differs costs, and how unsure that is, per unit of proxy A-distance: beyond
#: `SHIFTED`, and below it. And what any other draw of pictures adds, in shares of 1.
SHIFT_FALL, SHIFT_SD, DRIFT_SD, OTHER_SD = 0.12, 0.11, 0.05, 0.02
#: Of 160 fits, five draws of each case. Rows to learn from up to which training gained nothing
#: over a solved head at the same stage, the share of its errors that training mends at twenty
#: times as many (it was 5 % at 300 rows and 8 % at 1,000), and how unsure that is.
LEAST_TRAINED, MENDED, GAIN_SD = 100, 0.15, 0.02
#: Points of accuracy for which the dearer of two plans is worth its time.
WORTH = 0.01


@dataclass(frozen=True)
class Gain:
    """What training the stages above the cut is expected to add to a solved head's accuracy.

    Attributes:
        mean: in shares of 1.
        sd: one standard deviation of what it turned out to be.
    """

    mean: float
    sd: float


def standings(depths: Sequence[Depth]) -> list[float]:
    """The mean rank of each stage under `MEASURES`; 0 is the best there can be."""
    total = np.zeros(len(depths))
    for name, sign in MEASURES:
        values = [getattr(depth, name) for depth in depths]
        known = [-np.inf if value is None else sign * value for value in values]
        total += np.argsort(np.argsort(-np.array(known), kind="stable"), kind="stable")
    return [float(value) for value in total / len(MEASURES)]


def depth_of(seen: Evidence) -> tuple[Depth, str]:
    """The stage that the head should read, and why.

    Stages that tie are told apart by likeness: the tutorials' rule, earlier features for other
    domains, in the one place where measuring is blind.
    """
    last = seen.last
    ranks = standings(seen.depths)
    near = [d for d, rank in zip(seen.depths, ranks, strict=True) if rank <= min(ranks) + TIE]
    verdict = seen.similarity.verdict
    best = near[0] if verdict == UNLIKE else near[-1]
    if best.accuracy is None or last.accuracy is None or same(best, last):
        return last, f"the last stage, {last.stage}: none is better"
    points = 100 * (best.accuracy - last.accuracy)
    why = f"{best.stage}: {points:+.1f} points against the last stage in cross-validation"
    if len(near) > 1 and verdict in (LIKE, UNLIKE):
        where = (
            "the latest, as the pictures are like"
            if verdict == LIKE
            else ("the earliest, as the pictures are unlike")
        )
        why += f"; of {len(near)} stages that tie {where} what the backbone was trained on"
    return best, why


def same(one: Depth, other: Depth) -> bool:
    """Whether two stages give the same features: a pooling of what is pooled already."""
    return (one.log_loss, one.log_me) == (other.log_loss, other.log_me)


def gain(seen: Evidence, depth: Depth) -> Gain:
    """What `lpft` from the cut that it takes by itself adds to the solved head at `depth`.

    A share of what the head still gets wrong, growing with the logarithm of the rows.
    """
    wrong = 1.0 - (depth.accuracy or 0.0)
    grown = max(0.0, math.log(max(seen.rows, 1) / LEAST_TRAINED) / math.log(20))
    return Gain(wrong * MENDED * min(grown, 1.5), GAIN_SD)


def pays(seen: Evidence, depth: Depth) -> bool:
    """Whether training could be chosen at all; else its cost is told but decides nothing."""
    return gain(seen, depth).mean > WORTH


def expected(
    seen: Evidence, depth: Depth, more: Gain | None = None
) -> tuple[float, Interval] | None:
    """The accuracy to expect, and where the score of the test rows will lie in 19 cases of 20.

    The spread adds what the estimate is unsure of, what the luck of the test rows adds, that of
    the gain, and what another draw of pictures and a shifted test part were found to add.
    """
    if depth.accuracy is None or depth.accuracy_ci95 is None:
        return None
    moved = seen.shift or 0.0
    fall = (SHIFT_FALL if moved > SHIFTED else 0.0) * moved
    added = (more.mean if more else 0.0) - fall
    low, high = depth.accuracy_ci95
    mean = min(1.0, max(0.0, depth.accuracy + added))
    own = (high - low) / (2 * Z95)
    shy = min(max(mean, 0.5 / max(depth.n, 1)), 1 - 0.5 / max(depth.n, 1))
    luck = shy * (1 - shy) / seen.test if seen.test else 0.0
    shifted = (SHIFT_SD if moved > SHIFTED else DRIFT_SD) * moved
    gained = more.sd if more else 0.0
    spread = Z95 * math.sqrt(own**2 + luck + gained**2 + shifted**2 + OTHER_SD**2)
    centre = min(mean, (low + high) / 2 + added)
    return mean, (max(0.0, centre - spread), min(1.0, centre + spread))


def options(
    seen: Evidence, depth: Depth, costs: dict[str, Forecast], budget: float | None
) -> list[Option]:
    """The ways that are weighed, cheapest first; the chosen one is marked.

    Args:
        seen: what was measured.
        depth: that the head reads.
        costs: forecasts by the plan's name; only those plans are weighed.
        budget: seconds; None for no limit.
    """
    found = []
    names = [stage.name for stage in seen.info.stages]
    at = names.index(depth.stage)
    for plan, cost in costs.items():
        more = None if plan == PROBE else gain(seen, depth)
        held = expected(seen, depth, more)
        cut = "" if plan == PROBE else names[cut_of("auto", seen.info.stages, at, None)]
        found.append(
            Option(
                plan=plan,
                at=depth.stage,
                cut=cut,
                accuracy=held and held[0],
                accuracy_ci95=held and held[1],
                seconds=cost.seconds,
                peak_memory_bytes=cost.peak_memory_bytes,
                fits=budget is None or cost.seconds <= budget,
            )
        )
    picked = pick(found, hopeless=seen.hopeless)
    return [replace(one, chosen=one is picked) for one in found]


def pick(found: Sequence[Option], *, hopeless: bool) -> Option:
    """The cheapest option within `WORTH` of the best that fits; the cheapest if none fits."""
    order = sorted(found, key=lambda one: one.seconds or 0.0)
    fitting = [one for one in order if one.fits]
    if hopeless or not fitting:
        return order[0]
    most = max(one.accuracy or 0.0 for one in fitting)
    return next(one for one in fitting if (one.accuracy or 0.0) >= most - WORTH)
