"""compare: several plans on the same data and the same splits.

plans x seeds ─► fit ─► scores on rows that none learned from ─► mean, interval, difference
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regraft.cross import t975
from regraft.data import Dataset
from regraft.errors import OptionError, RegraftError
from regraft.evaluate import Interval, wilson
from regraft.features import Progress
from regraft.files import write_whole
from regraft.parts import HELD_OUT
from regraft.plans import Phase, Planned, planned
from regraft.run import Run, Say, fit
from regraft.training import Watch

Given = str | Sequence[Phase] | Planned
#: Laps of a fit in which the frozen stages run: whoever comes first pays for the others.
SHARED = ("features", "geometry")
FILE, RECORD = "comparison.json", "scores.json"
MOST_SEEDS = 100


@dataclass(frozen=True)
class Scored:
    """One plan with one seed.

    Attributes:
        seed: of the split and of everything random.
        n: test rows.
        rest: rows that were learned from or validated on.
        accuracy, balanced_accuracy, log_loss: on the test rows.
        seconds: without features and geometry, which the cache may hold already.
        shared_seconds: for those.
        parameters: numbers of the backbone's stages that were trained, and the head's.
        test_part: where the test rows come from.
    """

    seed: int
    n: int
    rest: int
    accuracy: float
    balanced_accuracy: float
    log_loss: float
    seconds: float
    shared_seconds: float
    parameters: int
    test_part: str


@dataclass(frozen=True)
class Arm:
    """One plan with all seeds.

    Attributes:
        plan: its name.
        runs: one per seed.
        error: why it could not be run, '' if it could.
        accuracy, log_loss, seconds, parameters: means over the seeds, None after an error.
        accuracy_ci95: see `interval`.
        difference: mean of accuracy minus that of the best plan with the same seed.
        difference_ci95: of that; None for the best, and with a single seed.
    """

    plan: str
    runs: tuple[Scored, ...]
    error: str = ""
    accuracy: float | None = None
    accuracy_ci95: Interval | None = None
    log_loss: float | None = None
    seconds: float | None = None
    parameters: float | None = None
    difference: float | None = None
    difference_ci95: Interval | None = None


@dataclass(frozen=True)
class Comparison:
    """What came of all plans, the best first.

    Attributes:
        data: what was compared on.
        arms: sorted by accuracy, then log-loss; those that could not be run last.
        seeds: how many.
        shared_seconds: for what was computed once for all.
        folder: where it was saved, None if it was not.
    """

    data: str
    arms: tuple[Arm, ...]
    seeds: int
    shared_seconds: float
    folder: Path | None = None

    @property
    def best(self) -> Arm:
        """The plan with the highest mean accuracy."""
        return self.arms[0]

    def json(self) -> dict[str, Any]:
        """Plain data: the JSON of `regraft compare`."""
        return asdict(self) | {"folder": self.folder and str(self.folder), "best": self.best.plan}


def compare(
    data: str | Path | Dataset,
    backbone: Any = None,
    *,
    plans: Sequence[str] | Mapping[str, Given] = ("probe", "lpft"),
    seeds: int = 3,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    say: Say | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    **how: Any,
) -> Comparison:
    """Run several plans on the same splits and tell which is best, and how sure that is.

    With one seed all plans have the same rows to learn from and to be scored on. What is computed
    below a cut comes from the cache for all seeds, and for all plans with that cut.

    Args:
        data: as for `regraft.fit`.
        backbone: likewise.
        plans: names or plan files, or whatever `regraft.fit` takes as a plan, by name.
        seeds: how many times; each divides the data anew unless a test part is given.
        seed: the first of them.
        settings: changes to every plan that trains, as for `regraft.fit`.
        folder: a folder for the runs and the result; what an earlier call left finished in it is
            taken as it is. Nothing is saved if None.
        say: called with one line per finding.
        progress: called with (images done, images in all).
        watch: called after each epoch.
        how: every other argument of `regraft.fit`.

    Raises:
        RegraftError: no plan could be run; names the first reason.
    """
    every = asked(plans, seeds, settings)
    tell = say or (lambda line: None)
    place = None if folder is None else Path(folder)
    runs: dict[str, list[Scored]] = {name: [] for name in every}
    errors: dict[str, RegraftError] = {}
    for one in range(seed, seed + seeds):
        for name, plan in every.items():
            if name in errors:
                continue
            tell(f"plan {name}, seed {one}")
            more = how | {"seed": one, "say": say, "progress": progress, "watch": watch}
            try:
                runs[name].append(_scored(data, backbone, plan, place, name, more))
            except RegraftError as problem:
                errors[name] = problem
                tell(f"plan {name} cannot be compared: {problem}")
    if len(errors) == len(every):
        raise next(iter(errors.values()))
    root = data.root if isinstance(data, Dataset) else str(data)
    made = _compared(root, runs, {k: str(e) for k, e in errors.items()}, seeds, place)
    if place is not None:
        write_whole(place / FILE, json.dumps(made.json(), indent=1, allow_nan=False).encode())
    return made


def asked(
    plans: Sequence[str] | Mapping[str, Given], seeds: int, settings: Mapping[str, Any] | None
) -> dict[str, Planned]:
    """The plans by name, checked before anything is read.

    Raises:
        OptionError: a plan or a setting that there is not, fewer than two plans, or no seed.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise OptionError(f"--seeds must be 1 to {MOST_SEEDS}, got {seeds}.")
    if isinstance(plans, str):
        raise OptionError("plans must be a list of plans, not one text.")
    named: Mapping[str, Given] = plans if isinstance(plans, Mapping) else _by_name(plans)
    if len(named) < 2:
        raise OptionError(f"--plans must name two plans or more, got {', '.join(named) or 'none'}.")
    found = {name: planned(plan) for name, plan in named.items()}
    if settings:
        if not any(plan.trains for plan in found.values()):
            raise OptionError(
                f"{next(iter(settings))} has no effect: none of these plans trains anything."
            )
        found = {
            name: planned(
                named[name] if plan.trains else plan, None, settings if plan.trains else None
            )
            for name, plan in found.items()
        }
    return found


def _by_name(plans: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for plan in plans:
        name = Path(plan).stem if plan.endswith(".toml") else plan
        if name in found:
            raise OptionError(f"--plans names '{name}' twice; give each plan another name.")
        found[name] = plan
    return found


def _scored(
    data: Any, backbone: Any, plan: Planned, folder: Path | None, name: str, how: dict[str, Any]
) -> Scored:
    """The scores of one run, which is made unless it lies in the folder."""
    if folder is None:
        return score_of(fit(data, backbone, plan=plan, **how))
    home = folder / f"{name}-{how['seed']}"
    if (home / RECORD).exists():
        return Scored(**json.loads((home / RECORD).read_bytes()))
    kept = folder / f"{name}-{how['seed']}.unfinished" if plan.trains else None
    run = fit(data, backbone, plan=plan, unfinished=kept, **how)
    made = score_of(run)
    if not (home / "bundle").exists():
        run.save(home)
    write_whole(home / RECORD, json.dumps(asdict(made)).encode())
    if kept is not None:
        from shutil import rmtree

        rmtree(kept, ignore_errors=True)
    return made


def score_of(run: Run) -> Scored:
    """What a comparison looks at.

    Raises:
        OptionError: the run has no test rows.
    """
    report = run.report
    test, seconds = report["test"], report["seconds"]
    if not test:
        raise OptionError("no image is left that may be scored; give labelled data with --test.")
    shared = sum(seconds.get(lap, 0.0) for lap in SHARED)
    arrays = run.model.head.layers.arrays()
    head = sum(array.size for name, array in arrays.items() if not name.endswith("shift"))
    return Scored(
        seed=run.model.seed,
        n=test["n"],
        rest=report["train"]["n"],
        accuracy=test["accuracy"],
        balanced_accuracy=test["balanced_accuracy"] or 0.0,
        log_loss=test["log_loss"] or 0.0,
        seconds=round(seconds["total"] - shared, 4),
        shared_seconds=round(shared, 4),
        parameters=report["training"]["parameters"] if "training" in report else head,
        test_part=report["test_part"],
    )


def _compared(
    data: str,
    runs: Mapping[str, list[Scored]],
    errors: Mapping[str, str],
    seeds: int,
    folder: Path | None,
) -> Comparison:
    whole = {name: made for name, made in runs.items() if name not in errors}

    def rank(name: str) -> tuple[float, float]:
        made = whole[name]
        right = statistics.fmean(one.accuracy for one in made)
        return -right, statistics.fmean(one.log_loss for one in made)

    order = sorted(whole, key=rank)
    best = whole[order[0]]
    arms = [_arm(name, whole[name], best) for name in order]
    arms += [Arm(name, tuple(runs[name]), error) for name, error in errors.items()]
    shared = sum(one.shared_seconds for made in runs.values() for one in made)
    return Comparison(data, tuple(arms), seeds, round(shared, 4), folder)


def _arm(name: str, runs: list[Scored], best: list[Scored]) -> Arm:
    apart = [one.accuracy - other.accuracy for one, other in zip(runs, best, strict=True)]
    parts = [one.n / one.rest if one.test_part == HELD_OUT else 0.0 for one in runs]
    share = statistics.fmean(parts)
    return Arm(
        plan=name,
        runs=tuple(runs),
        accuracy=statistics.fmean(one.accuracy for one in runs),
        accuracy_ci95=_of_accuracy(runs, share),
        log_loss=statistics.fmean(one.log_loss for one in runs),
        seconds=statistics.fmean(one.seconds for one in runs),
        parameters=statistics.fmean(one.parameters for one in runs),
        difference=statistics.fmean(apart),
        difference_ci95=None if runs is best else _of_difference(apart, runs, share),
    )


def _rows(runs: Sequence[Scored], share: float) -> int:
    """How many different test rows there were at most."""
    first = runs[0]
    return min(sum(one.n for one in runs), first.n + first.rest) if share else first.n


def _of_accuracy(runs: Sequence[Scored], share: float) -> Interval | None:
    """The interval of an accuracy: no narrower than Wilson's for so many rows."""
    values = [one.accuracy for one in runs]
    found, rows = interval(values, share), _rows(runs, share)
    if found is None:
        return wilson(values[0] * rows, rows)
    low, high = wilson(statistics.fmean(values) * rows, rows)
    return max(0.0, min(low, found[0])), min(1.0, max(high, found[1]))


def _of_difference(
    values: Sequence[float], runs: Sequence[Scored], share: float
) -> Interval | None:
    """The interval of a paired difference: no narrower than rows on which all agree allow.

    That is 3/rows to either side, the rule of three (Hanley & Lippman-Hand, JAMA 249, 1983).
    """
    found = interval(values, share)
    if found is None:
        return None
    mean, least = statistics.fmean(values), 3 / _rows(runs, share)
    return max(-1.0, min(found[0], mean - least)), min(1.0, max(found[1], mean + least))


def interval(values: Sequence[float], share: float) -> Interval | None:
    """The 95 % interval of the mean over seeds: the t interval of Nadeau and Bengio (2003).

    It allows for the seeds sharing rows: where each divides the same data anew the variance is
    1/seeds + test rows/other rows of that of one value, and 1/seeds where the test rows are given,
    when it only tells how much training itself varies.

    Args:
        values: one per seed.
        share: test rows / other rows, 0 where the test rows were given.

    Returns:
        None for a single value.
    """
    count = len(values)
    if count < 2:
        return None
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    half = t975(count - 1) * spread * math.sqrt(1 / count + share)
    return mean - half, mean + half
