"""compare: plans times backbones on the same data and splits, or runs that are finished.

arms ─► cheap ones first ─► seed by seed, while the budget lasts ─► fit ─► scores on rows that none
learned from ─► intervals, paired tests ─► comparison.json, report.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regraft.backbones import Backbone
from regraft.comparing.arms import (
    FILE,
    Arm,
    Comparison,
    Forgetting,
    LeftOut,
    Made,
    Right,
    Scored,
)
from regraft.comparing.asked import Given, Net, Wanted, asked, by_cost
from regraft.comparing.budget import OverBudget, Pace
from regraft.comparing.finished import compare_runs, is_comparison
from regraft.comparing.known import is_run
from regraft.comparing.making import ANSWERS, RECORD, Maker, score_of
from regraft.comparing.ranking import Named, ranked
from regraft.data import Dataset
from regraft.data.sources import columns_of, labelled, to_test
from regraft.duration import told, typed
from regraft.errors import MissingExtra, OptionError, RegraftError
from regraft.features import Progress
from regraft.files import write_whole
from regraft.progress import Verbose, shows_progress
from regraft.run import Say
from regraft.training import Watch

__all__ = [
    "ANSWERS",
    "FILE",
    "RECORD",
    "Arm",
    "Comparison",
    "Forgetting",
    "Given",
    "LeftOut",
    "Made",
    "Right",
    "Scored",
    "asked",
    "compare",
    "compare_runs",
    "is_comparison",
    "is_run",
    "score_of",
    "write",
]
PAGE = "report.html"
#: Of the rows that are not tested on, before any run has told how many there are.
LEARNED = 0.8


@shows_progress()
def compare(
    data: str | Path | Dataset,
    backbone: Net | Sequence[Net] = None,
    *,
    plans: Sequence[str] | Mapping[str, Given] = ("probe", "lpft"),
    seeds: int = 3,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    budget: float | None = None,
    folder: str | Path | None = None,
    say: Say | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    verbose: Verbose = None,
    **how: Any,
) -> Comparison:
    """Run several plans, on one backbone or more, on the same splits; tell which is best.

    With one seed all arms have the same rows to learn from and to be scored on. What is computed
    below a cut comes from the cache for all seeds, and for all plans with that cut. Cheap arms
    come first, and every arm has its first seed before any has its second.

    Args:
        data: as for `regraft.fit`.
        backbone: likewise; a list of several makes every plan run on each.
        plans: names or plan files, or whatever `regraft.fit` takes as a plan, by name.
        seeds: how many times; each divides the data anew unless a test part is given.
        seed: the first of them.
        settings: changes to every plan that trains, as for `regraft.fit`.
        budget: seconds. An arm that would not fit, judging from those that ran, is left out and
            named; what an earlier call in the same folder took counts. No end if None.
        folder: a folder for the runs and the result; what an earlier call left finished in it is
            taken as it is. Nothing is saved if None.
        say: called with one line per finding.
        progress: called with (images done, images in all).
        watch: called after each epoch.
        verbose: as for `regraft.fit`.
        how: every other argument of `regraft.fit`.

    Raises:
        OptionError: an argument, or the budget is too small for one arm.
        RegraftError: no arm could be run; names the first reason.
    """
    nets: Sequence[Net] = backbone if isinstance(backbone, list | tuple) else [backbone]  # type: ignore[list-item]
    arms = asked(plans, seeds, settings, nets)
    if len(nets) > 1 and how.get("weights") not in (None, "random"):
        raise OptionError("--weights is one backbone's file; leave it out with several backbones.")
    if budget is not None and not budget > 0:
        raise OptionError(f"budget must be above 0 seconds, got {budget}.")
    arms = by_cost(arms, how.get("at") or "end", how)
    place = None if folder is None else Path(folder)
    maker = Maker(data, _listed(data, nets[0], how), place, how | {"say": say}, progress, watch)
    work = _Work(maker, arms, range(seed, seed + seeds), budget, say or (lambda line: None))
    work.run()
    made = work.result(data.root if isinstance(data, Dataset) else str(data))
    if place is not None:
        write(made, place)
    return made


def _listed(data: Any, net: Net, how: Mapping[str, Any]) -> list[Dataset]:
    """What is learned from and what is tested on, as `regraft.fit` finds them."""
    modality = net.input.modality if isinstance(net, Backbone) else "image"
    group, test = how.get("group"), how.get("test")
    columns = columns_of(how.get("path_column"), how.get("label_column"))
    found = [labelled(data, modality, group=group, columns=columns)]
    if (other := to_test(test, found[0], group=group, columns=columns)) is not None:
        found.append(other)
    return found


def write(made: Comparison, folder: Path) -> None:
    """Write `report.html` and then `comparison.json`: where that is, all is done.

    Without the package that draws there is no page.
    """
    from regraft.report import comparison_html

    held = made.json()
    with suppress(MissingExtra):
        write_whole(folder / PAGE, comparison_html(held))
    write_whole(folder / FILE, json.dumps(held, indent=1, allow_nan=False).encode())


@dataclass
class _Work:
    """A comparison while it runs.

    Attributes:
        maker: makes runs.
        arms: cheap ones first.
        seeds: in order.
        budget: seconds, None for no end.
        say: called with one line per finding.
        runs: of each arm what is done.
        errors: of arms that cannot be run, why.
        left: of arms that do not fit, the seeds and the seconds of one.
        pace: what arms took so far.
    """

    maker: Maker
    arms: list[Wanted]
    seeds: range
    budget: float | None
    say: Callable[[str], None]
    runs: dict[str, list[Made]] = field(default_factory=dict)
    errors: dict[str, RegraftError] = field(default_factory=dict)
    left: dict[str, tuple[list[int], float | None]] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)

    def run(self) -> None:
        """All arms, or as many as there is time for.

        Raises:
            RegraftError: none could be run.
        """
        self._take_what_is_done()
        for seed in self.seeds:
            for arm in self.arms:
                there = any(one.scored.seed == seed for one in self.runs.get(arm.name, ()))
                if not there and arm.name not in self.errors:
                    self._one(arm, seed)
        if len(self.errors) == len(self.arms):
            raise next(iter(self.errors.values()))
        if not any(self.runs.get(arm.name) for arm in self.arms if arm.name not in self.errors):
            raise self._too_small()

    def _take_what_is_done(self) -> None:
        for arm in self.arms:
            for seed in self.seeds:
                kept = self.maker.kept(arm, seed)
                if kept is not None:
                    self._note(arm, kept)
                    self.pace.spent += kept.scored.seconds + kept.scored.shared_seconds
        self.pace.spent += sum(
            self.maker.begun(arm, seed) for arm in self.arms for seed in self.seeds
        )

    def _note(self, arm: Wanted, made: Made) -> None:
        self.runs.setdefault(arm.name, []).append(made)
        self.pace.note(arm, made.scored)

    def _one(self, arm: Wanted, seed: int) -> None:
        """One run, unless it does not fit."""
        left = None if self.budget is None else self.budget - self.pace.elapsed()
        coming = self.pace.predict(arm, self._rows())
        if left is not None and not self._fits(arm, left, coming):
            self._leave(arm, seed, coming)
            return
        self.say(f"plan {arm.name}, seed {seed}")
        try:
            rate = self.pace.rate(arm)
            per_row = None if rate is None else rate * self._rows()
            self._note(arm, self.maker.make(arm, seed, left, per_row))
        except OverBudget as over:
            self._leave(arm, seed, over.seconds)
        except RegraftError as problem:
            self.errors[arm.name] = problem
            self.say(f"plan {arm.name} cannot be compared: {problem}")

    def _fits(self, arm: Wanted, left: float, coming: float | None) -> bool:
        """Whether there is time for one more run.

        Where nothing tells how long it takes it is begun, unless a cheaper one did not fit.
        """
        if left <= 0 or arm.name in self.left:
            return False
        return not self.left if coming is None else coming <= left

    def _leave(self, arm: Wanted, seed: int, seconds: float | None) -> None:
        seeds, before = self.left.get(arm.name, ([], None))
        self.left[arm.name] = ([*seeds, seed], before or seconds)
        if not seeds:
            would = f", which would take about {told(seconds)}" if seconds is not None else ""
            self.say(f"no time is left for plan {arm.name}, seed {seed}{would}")

    def _rows(self) -> int:
        """Rows that an arm will learn from."""
        done = [one.scored.rest for made in self.runs.values() for one in made]
        return done[0] if done else int(LEARNED * len(self.maker.found[0]))

    def _too_small(self) -> OptionError:
        name, (_, seconds) = next(iter(self.left.items()))
        needed = (seconds or 0.0) + self.pace.spent
        return OptionError(
            f"--budget {typed(self.budget or 0.0)} is too small for one arm: the cheapest, {name}, "
            f"takes about {told(seconds or 0.0)} here; give --budget {typed(1.2 * needed)} or more."
        )

    def result(self, data: str) -> Comparison:
        """What came of it."""
        named = [Named(arm.name, arm.plan, arm.backbone) for arm in self.arms]
        for made in self.runs.values():
            made.sort(key=lambda one: one.scored.seed)
        of = {arm.name: arm for arm in self.arms}
        shared = sum(one.scored.shared_seconds for made in self.runs.values() for one in made)
        return Comparison(
            data,
            ranked(self.runs, named, {name: str(why) for name, why in self.errors.items()}),
            len(self.seeds),
            round(shared, 4),
            self.maker.folder,
            self.budget,
            round(self.pace.elapsed(), 4),
            tuple(
                LeftOut(name, of[name].plan, of[name].backbone, tuple(seeds), seconds)
                for name, (seeds, seconds) in self.left.items()
            ),
        )
