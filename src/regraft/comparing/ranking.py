"""From runs to arms: who is best, how far the others are behind, and how sure that is."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from regraft.comparing import paired
from regraft.comparing.arms import Arm, Made, together


@dataclass(frozen=True)
class Named:
    """What an arm is called; see `Arm`."""

    name: str
    plan: str
    backbone: str


def ranked(
    runs: Mapping[str, Sequence[Made]], named: Sequence[Named], errors: Mapping[str, str]
) -> tuple[Arm, ...]:
    """The arms, the best first.

    Ranked by mean accuracy over the seeds that all of them have, then by log-loss; behind them
    those that could not be run. Arms without a run and without an error are left away.

    Args:
        runs: of each arm, by its name.
        named: every arm.
        errors: of arms that could not be run, why.
    """
    of = {one.name: one for one in named}
    whole = {name: list(runs[name]) for name in of if runs.get(name) and name not in errors}
    common = set.intersection(*({r.scored.seed for r in made} for made in whole.values()))
    shared = {
        name: [r for r in made if r.scored.seed in common] or made for name, made in whole.items()
    }

    def rank(name: str) -> tuple[float, float]:
        made = shared[name]
        right = statistics.fmean(one.scored.accuracy for one in made)
        return -right, statistics.fmean(one.scored.log_loss for one in made)

    order = sorted(whole, key=rank)
    best = whole[order[0]]
    arms = [_arm(of[name], whole[name], best) for name in order]
    failed = [
        Arm(*_named(of[name]), tuple(one.scored for one in runs.get(name, ())), error)
        for name, error in errors.items()
    ]
    return (*_corrected(arms), *failed)


def _named(one: Named) -> tuple[str, str, str]:
    return one.name, one.plan, one.backbone


def _arm(named: Named, runs: list[Made], best: list[Made]) -> Arm:
    scored = [one.scored for one in runs]
    arm = _means(Arm(*_named(named), tuple(scored)))
    there = {one.scored.seed: one for one in best}
    pairs = [(one, there[one.scored.seed]) for one in runs if one.scored.seed in there]
    if not pairs:
        return arm
    mine, theirs = [one for one, _ in pairs], [other for _, other in pairs]
    difference = statistics.fmean(paired.differences(mine, theirs))
    if runs is best:
        return replace(arm, difference=difference)
    p, test = paired.p_value(mine, theirs)
    apart = paired.of_difference(mine, theirs)
    return replace(arm, difference=difference, difference_ci95=apart, p_single=p, test=test)


def _means(arm: Arm) -> Arm:
    """With the means over its runs."""
    runs = arm.runs
    memory = [one.peak_memory_bytes for one in runs if one.peak_memory_bytes is not None]
    return replace(
        arm,
        accuracy=statistics.fmean(one.accuracy for one in runs),
        accuracy_ci95=paired.of_accuracy(runs),
        balanced_accuracy=statistics.fmean(one.balanced_accuracy for one in runs),
        log_loss=statistics.fmean(one.log_loss for one in runs),
        seconds=statistics.fmean(one.seconds for one in runs),
        shared_seconds=statistics.fmean(one.shared_seconds for one in runs),
        peak_memory_bytes=min(memory, default=None),
        parameters=statistics.fmean(one.parameters for one in runs),
        bundle_bytes=_mean([one.bundle_bytes for one in runs]),
        forgetting=together([one.forgetting for one in runs]),
        gap=_mean([one.gap for one in runs]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _corrected(arms: list[Arm]) -> list[Arm]:
    """With p-values that hold for all tests together."""
    tested = [arm for arm in arms if arm.p_single is not None]
    values = paired.holm([arm.p_single for arm in tested if arm.p_single is not None])
    found = {arm.name: value for arm, value in zip(tested, values, strict=True)}
    return [replace(arm, p_value=found.get(arm.name)) for arm in arms]
