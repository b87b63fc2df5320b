"""One run of one arm: made, measured, and kept so that nothing of it is done twice.

NAME-SEED/             the run folder
  answers.json         which test rows it had right
  scores.json          written last: from then on the run is taken as it is
NAME-SEED.unfinished/  checkpoints, as long as it is not done
NAME-SEED.begun.json   how often it was begun, and the seconds of attempts that were ended
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regraft import peak
from regraft.backbones import Backbone
from regraft.comparing.arms import Forgetting, Made, Right, Scored
from regraft.comparing.asked import Wanted
from regraft.comparing.asking import forgetting, train_accuracy
from regraft.comparing.budget import Guarded
from regraft.comparing.known import Known
from regraft.data import Dataset
from regraft.errors import OptionError, RegraftError
from regraft.features import Progress
from regraft.files import write_whole
from regraft.record import BUNDLE
from regraft.run import Run, fit
from regraft.training import Answers, Watch

RECORD, ANSWERS = "scores.json", "answers.json"
UNFINISHED, BEGUN = ".unfinished", ".begun.json"
#: Laps of a fit in which the frozen stages run: whoever comes first pays for the others.
SHARED = ("features", "geometry")


@dataclass(frozen=True)
class Maker:
    """Makes the runs of a comparison.

    Attributes:
        data: as for `regraft.fit`.
        found: the same, listed, and what was given to test on.
        folder: where runs are kept; None keeps none.
        how: every other argument of `regraft.fit`.
        progress: called with (images done, images in all).
        watch: called after each epoch.
    """

    data: Any
    found: Sequence[Dataset]
    folder: Path | None
    how: Mapping[str, Any]
    progress: Progress | None = None
    watch: Watch | None = None

    def home(self, arm: Wanted, seed: int) -> Path | None:
        """The folder of a run."""
        return None if self.folder is None else self.folder / f"{arm.folder}-{seed}"

    def kept(self, arm: Wanted, seed: int) -> Made | None:
        """A run that an earlier call finished; None if it did not."""
        home = self.home(arm, seed)
        if home is None or not (home / RECORD).exists():
            return None
        scored = Scored.from_json(json.loads((home / RECORD).read_bytes()))
        return Made(scored, read_right(home))

    def begun(self, arm: Wanted, seed: int) -> float:
        """Seconds of earlier attempts at a run that is not finished."""
        home = self.home(arm, seed)
        return 0.0 if home is None else Attempts(_beside(home, BEGUN)).earlier()[1]

    def make(
        self, arm: Wanted, seed: int, left: float | None = None, rate: float | None = None
    ) -> Made:
        """A run with its scores.

        Args:
            arm: which.
            seed: of the split and everything random.
            left: seconds that it may take; None for no end.
            rate: see `Guarded`.

        Raises:
            OverBudget: it would take longer; what it has so far is kept to go on from.
            RegraftError: it cannot be run.
        """
        home = self.home(arm, seed)
        unfinished = None if home is None else _beside(home, UNFINISHED)
        begun = Attempts(None if home is None else _beside(home, BEGUN))
        begun.begin()
        guard = Guarded(left, self.progress, self.watch, arm.phases, rate)

        def epoch(event: dict[str, Any]) -> None:
            begun.note()
            guard.epoch(event)

        more: dict[str, Any] = {"progress": guard.pictures, "watch": epoch, "seed": seed}
        counted = peak.begin()
        run = fit(
            self.data,
            arm.net,
            plan=arm.planned,
            unfinished=unfinished if arm.trains else None,
            **(dict(self.how) | more),
        )
        most, of = peak.peak(counted)
        scored = replace(
            score_of(run),
            peak_memory_bytes=most,
            memory_of=of,
            work=guard.work * run.report["train"]["n"],
            work_seconds=round(guard.seconds, 4),
        )
        scored = asked_more(scored, self._known(run, arm))
        return self._keep(run, begun.added(scored), home, unfinished, begun)

    def _known(self, run: Run, arm: Wanted) -> Known:
        base = arm.net if isinstance(arm.net, Backbone) else None
        return Known.of(run, self.found, base)

    def _keep(
        self, run: Run, scored: Scored, home: Path | None, left: Path | None, begun: Attempts
    ) -> Made:
        right = right_of(run.answers)
        if home is None:
            return Made(scored, right)
        if not (home / BUNDLE).exists():
            run.save(home)
        scored = replace(scored, bundle_bytes=bytes_of(home / BUNDLE))
        write_whole(home / ANSWERS, answers_json(right))
        write_whole(home / RECORD, json.dumps(scored.json()).encode())
        if left is not None:
            shutil.rmtree(left, ignore_errors=True)
        begun.forget()
        return Made(scored, right)


@dataclass
class Attempts:
    """How often a run was begun, and how long the attempts took that were ended.

    Attributes:
        path: where that is written; None keeps it nowhere.
        number: of attempts, this one too.
        before: seconds of the earlier ones, up to the last epoch that each got through.
        start: when this one began, of `time.perf_counter`.
    """

    path: Path | None
    number: int = 1
    before: float = 0.0
    start: float = field(default_factory=time.perf_counter)

    def begin(self) -> None:
        """One more attempt."""
        number, self.before = self.earlier()
        self.number = number + 1
        self.note()

    def earlier(self) -> tuple[int, float]:
        """How many attempts there were before, and their seconds."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            if self.path is not None:
                held = json.loads(self.path.read_bytes())
                return int(held["attempts"]), float(held["seconds"])
        return 0, 0.0

    def note(self) -> None:
        """Write down how far this attempt has come."""
        if self.path is not None:
            seconds = self.before + time.perf_counter() - self.start
            held = {"attempts": self.number, "seconds": round(seconds, 4)}
            write_whole(self.path, json.dumps(held).encode())

    def added(self, scored: Scored) -> Scored:
        """The scores with the seconds of all attempts."""
        seconds = round(scored.seconds + self.before, 4)
        return replace(scored, seconds=seconds, attempts=self.number)

    def forget(self) -> None:
        """The run is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _beside(home: Path, ending: str) -> Path:
    return home.with_name(home.name + ending)


def score_of(run: Run) -> Scored:
    """What the report of a run says of it.

    Raises:
        OptionError: the run has no test rows.
    """
    return of_report(run.report, run.model.seed, head_numbers(run.model.head.layers.arrays()))


def of_report(report: Mapping[str, Any], seed: int, head: int) -> Scored:
    """What a report says; `head` is how many numbers the head has.

    Raises:
        OptionError: it has no test rows.
    """
    test, seconds = report["test"], report["seconds"]
    if not test:
        raise OptionError("no image is left that may be scored; give labelled data with --test.")
    shared = sum(seconds.get(lap, 0.0) for lap in SHARED)
    return Scored(
        seed=seed,
        n=test["n"],
        rest=report["train"]["n"],
        accuracy=test["accuracy"],
        balanced_accuracy=test["balanced_accuracy"] or 0.0,
        log_loss=test["log_loss"] or 0.0,
        seconds=round(seconds["total"] - shared, 4),
        shared_seconds=round(shared, 4),
        parameters=report["training"]["parameters"] if "training" in report else head,
        test_part=report["test_part"],
        validation_accuracy=(report["validation"] or {}).get("accuracy"),
    )


def head_numbers(arrays: Mapping[str, Any]) -> int:
    """How many numbers a solved head has."""
    return sum(array.size for name, array in arrays.items() if not name.endswith("shift"))


def asked_more(scored: Scored, known: Known) -> Scored:
    """With what its network says when it is asked again; a reason where it cannot be."""
    try:
        train = train_accuracy(known)
        return replace(scored, train_accuracy=train, forgetting=forgetting(known))
    except RegraftError as problem:
        return replace(scored, forgetting=Forgetting(None, None, 0, str(problem)))


def right_of(answers: Answers | None) -> Right | None:
    """Which test rows were answered rightly."""
    if answers is None:
        return None
    pairs = zip(answers.rows.digests, answers.rows.examples, answers.right, strict=True)
    return {f"{digest} {example.id}": bool(right) for digest, example, right in pairs}


def answers_json(right: Right | None) -> bytes:
    """What `read_right` takes back."""
    return json.dumps({"format": 1, "right": right}, ensure_ascii=False, indent=0).encode(
        "utf-8", "surrogatepass"
    )


def read_right(home: Path) -> Right | None:
    """Which test rows the run in a folder had right; None if that was not kept."""
    try:
        text = (home / ANSWERS).read_bytes().decode("utf-8", "surrogatepass")
        held = json.loads(text)["right"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {str(row): bool(right) for row, right in held.items()} if held else None


def bytes_of(folder: Path) -> int:
    """The size of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
