"""How long arms take, judged from those that have run, and whether there is time for another.

epochs that ran ─► seconds per multiply-add ─┐
what else an arm took ─► a constant ─────────┴► seconds of an arm that has not run
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from regraft.comparing.arms import Scored
from regraft.comparing.asked import Wanted
from regraft.features import Progress

Watch = Callable[[dict[str, Any]], None]
#: Images of a pass, and seconds, after which its rate is believed.
ENOUGH, ENOUGH_SECONDS = 8, 2.0
#: An epoch tells of one with up to so many times its work.
TELLING = 20


class OverBudget(Exception):
    """There is not enough time left for the arm that runs.

    Attributes:
        seconds: how long it would take in all, at most.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s")
        self.seconds = seconds


@dataclass
class Pace:
    """What has been measured so far.

    Attributes:
        runs: of each arm, by its name, what ran.
        backbones: of each arm, by its name, its backbone.
        spent: seconds of earlier attempts at this comparison.
        start: when this one began, of `time.perf_counter`.
    """

    runs: dict[str, list[Scored]] = field(default_factory=dict)
    backbones: dict[str, str] = field(default_factory=dict)
    spent: float = 0.0
    start: float = field(default_factory=time.perf_counter)

    def note(self, arm: Wanted, scored: Scored) -> None:
        """Take a run into account."""
        self.runs.setdefault(arm.name, []).append(scored)
        self.backbones[arm.name] = arm.backbone

    def elapsed(self) -> float:
        """Seconds of this comparison so far, earlier attempts too."""
        return self.spent + time.perf_counter() - self.start

    def predict(self, arm: Wanted, rows: int) -> float | None:
        """Seconds of an arm, at most; None where nothing that ran tells.

        An arm that ran with another seed takes as long again. One that trains takes what others
        took besides their epochs, and for its own what they took per multiply-add; epochs that
        ran count, those that early stopping saved do not, so its own are the most there can be.

        Args:
            arm: which.
            rows: that it will learn from.
        """
        if own := self.runs.get(arm.name):
            return statistics.fmean(one.seconds for one in own)
        others = self._others(arm)
        if not arm.trains:
            solved = [one.seconds for one in others if not one.work]
            return statistics.fmean(solved) if solved else None
        rate = self.rate(arm)
        if rate is None:
            return None
        besides = statistics.fmean(max(one.seconds - one.work_seconds, 0.0) for one in others)
        return besides + rate * arm.work * rows

    def rate(self, arm: Wanted) -> float | None:
        """Seconds per multiply-add of training, from others than this arm; None without any."""
        work = [(one.work_seconds, one.work) for one in self._others(arm) if one.work_seconds]
        return sum(s for s, _ in work) / sum(w for _, w in work) if work else None

    def _others(self, arm: Wanted) -> list[Scored]:
        """Runs on the same backbone, or on any if there are none that train as this arm does."""
        every = [(name, one) for name, runs in self.runs.items() for one in runs]
        alike = [one for name, one in every if bool(one.work) == arm.trains]
        same = [
            one
            for name, one in every
            if bool(one.work) == arm.trains and self.backbones[name] == arm.backbone
        ]
        return same or alike


@dataclass
class Guarded:
    """Ends an arm as soon as its own images and epochs show that it would not fit.

    Attributes:
        left: seconds that there are; None for no end.
        progress: the caller's.
        watch: the caller's.
        phases: see `Wanted.phases`.
        rate: seconds that all rows take per multiply-add of one row, as other arms had it; None
            if unknown.
        seconds: that its epochs took so far.
        work: of these epochs, per row.
        start: when it began, of `time.perf_counter`.
        first: number and time of the first picture of the pass that goes on.
        last: number of its latest picture.
    """

    left: float | None
    progress: Progress | None
    watch: Watch | None
    phases: Sequence[tuple[int, float]] = ()
    rate: float | None = None
    seconds: float = 0.0
    work: float = 0.0
    start: float = field(default_factory=time.perf_counter)
    first: tuple[int, float] = (0, 0.0)
    last: int = 0

    def pictures(self, done: int, total: int) -> None:
        """One more picture of a pass.

        Raises:
            OverBudget: at this rate the pass does not end in time.
        """
        if self.progress:
            self.progress(done, total)
        now = time.perf_counter()
        if done <= self.last or not self.last:  # another pass
            self.first = (done, now)
        self.last = done
        seen, since = done - self.first[0], now - self.first[1]
        believed = seen >= ENOUGH and since >= ENOUGH_SECONDS
        self._judge(now - self.start + (since / seen * (total - done) if believed else 0.0))

    def epoch(self, event: dict[str, Any]) -> None:
        """One more epoch of training, see `regraft.train.loop`.

        Raises:
            OverBudget: at this rate the rest of the plan does not end in time.
        """
        if self.watch:
            self.watch(event)
        phase = event["phase"] - 1
        work = self.phases[phase][1]
        self.seconds += event["seconds"]
        self.work += work
        later = self.phases[phase + 1 :]
        # A head's epoch is too short to tell how long one of the stages will take.
        telling = work * TELLING >= max((each for _, each in later), default=0.0)
        rate = event["seconds"] / work if telling else self.rate or 0.0
        coming = event["left_seconds"] + sum(epochs * each * rate for epochs, each in later)
        self._judge(time.perf_counter() - self.start + coming)

    def _judge(self, seconds: float) -> None:
        if self.left is not None and seconds > self.left:
            raise OverBudget(seconds)
