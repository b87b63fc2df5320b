"""What a comparison holds, as plain data: runs, arms (one plan on one backbone), all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from regraft.evaluate import Interval

FILE = "comparison.json"


@dataclass(frozen=True)
class Forgetting:
    """How far the network's own source classifier answers differently on the test pictures.

    It reads the end of the network as it was and as training left it. That says what became of
    the old answers on the user's pictures; on pictures of the source it may be more or less.

    Attributes:
        changed: share of pictures whose first answer is another one, 0..1.
        kl: mean Kullback-Leibler divergence of the new answers from the old ones, in nats.
        n: pictures asked.
        why: why it is not known, '' if it is.
    """

    changed: float | None
    kl: float | None
    n: int = 0
    why: str = ""


#: Of a plan that trains nothing below the head.
NOTHING_FORGOTTEN = Forgetting(0.0, 0.0)


@dataclass(frozen=True)
class Scored:
    """One arm with one seed.

    Attributes:
        seed: of the split and of everything random.
        n: test rows.
        rest: rows that were learned from or validated on.
        accuracy, balanced_accuracy, log_loss: on the test rows.
        seconds: without features and geometry, which the cache may hold already.
        shared_seconds: for those.
        parameters: numbers of the backbone's stages that were trained, and the head's.
        test_part: where the test rows come from.
        peak_memory_bytes: the most that the process held meanwhile; None if nobody counts it.
        memory_of: 'run', or 'process' where only the peak of the whole process is known.
        bundle_bytes: of the bundle on disk; None if nothing was saved.
        forgetting: see there.
        train_accuracy: of the kept weights on rows that they learned from.
        validation_accuracy: of the same on rows kept from them: held out, or left out in turn.
        work: multiply-adds of the epochs that ran, times two, all rows and stages above the cut.
        work_seconds: what these epochs took.
        attempts: how often it was begun; the seconds of all of them are counted.
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
    peak_memory_bytes: int | None = None
    memory_of: str = "run"
    bundle_bytes: int | None = None
    forgetting: Forgetting = NOTHING_FORGOTTEN
    train_accuracy: float | None = None
    validation_accuracy: float | None = None
    work: float = 0.0
    work_seconds: float = 0.0
    attempts: int = 1

    @property
    def gap(self) -> float | None:
        """Accuracy on rows that were learned from minus that on rows kept from them."""
        if self.train_accuracy is None or self.validation_accuracy is None:
            return None
        return self.train_accuracy - self.validation_accuracy

    def json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Scored:
        return Scored(**{**data, "forgetting": Forgetting(**data["forgetting"])})


#: Which test rows a run had right, by 'digest id' of each.
Right = dict[str, bool]


class Made(NamedTuple):
    """One run: its scores, and which test rows it had right; None where nobody knows."""

    scored: Scored
    right: Right | None = None


@dataclass(frozen=True)
class Arm:
    """One plan on one backbone, with all seeds.

    Attributes:
        name: the plan's, and the backbone's after a comma where there are several.
        plan: its name.
        backbone: its name.
        runs: one per seed.
        error: why it could not be run, '' if it could.
        accuracy, balanced_accuracy, log_loss, seconds, shared_seconds, parameters, gap: means over
            the seeds, None after an error.
        accuracy_ci95: see `regraft.comparing.paired.of_accuracy`.
        peak_memory_bytes: the least of the seeds, as what an earlier run left behind counts too.
        bundle_bytes: the mean.
        forgetting: means; None with a reason where it is not known.
        difference: mean of accuracy minus that of the best arm with the same seed.
        difference_ci95: of that; None for the best.
        p_single: of the hypothesis that this arm and the best are equally good.
        p_value: the same after Holm's correction for all the arms that are tested.
        test: how: see `regraft.comparing.paired`.
    """

    name: str
    plan: str
    backbone: str
    runs: tuple[Scored, ...]
    error: str = ""
    accuracy: float | None = None
    accuracy_ci95: Interval | None = None
    balanced_accuracy: float | None = None
    log_loss: float | None = None
    seconds: float | None = None
    shared_seconds: float | None = None
    peak_memory_bytes: int | None = None
    parameters: float | None = None
    bundle_bytes: float | None = None
    forgetting: Forgetting = Forgetting(None, None)
    gap: float | None = None
    difference: float | None = None
    difference_ci95: Interval | None = None
    p_single: float | None = None
    p_value: float | None = None
    test: str = ""

    def json(self) -> dict[str, Any]:
        """Plain data."""
        runs = [one.json() | {"gap": one.gap} for one in self.runs]
        return asdict(self) | {"runs": runs}


@dataclass(frozen=True)
class LeftOut:
    """An arm that the budget left out, wholly or for some seeds.

    Attributes:
        name, plan, backbone: of the arm.
        seeds: those that were not run.
        seconds: how long one of them would take, at most; None if nothing tells.
    """

    name: str
    plan: str
    backbone: str
    seeds: tuple[int, ...]
    seconds: float | None


@dataclass(frozen=True)
class Comparison:
    """What came of all arms, the best first.

    Attributes:
        data: what was compared on.
        arms: sorted by accuracy on the seeds that all of them have, then log-loss; those that
            could not be run last.
        seeds: how many.
        shared_seconds: for what was computed once for all.
        folder: where it was saved, None if it was not.
        budget: seconds that it was to take at most, None for no end.
        spent: seconds that it took, all attempts together.
        left_out: what the budget left out.
        notes: what one should know of the scores, in sentences.
    """

    data: str
    arms: tuple[Arm, ...]
    seeds: int
    shared_seconds: float
    folder: Path | None = None
    budget: float | None = None
    spent: float = field(default=0.0, compare=False)
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def best(self) -> Arm:
        """The arm with the highest mean accuracy."""
        return self.arms[0]

    def json(self) -> dict[str, Any]:
        """Plain data: the JSON of `regraft compare`, and `comparison.json`."""
        return asdict(self) | {
            "arms": [arm.json() for arm in self.arms],
            "folder": self.folder and str(self.folder),
            "best": self.best.name,
        }


def together(parts: Sequence[Forgetting]) -> Forgetting:
    """The mean of several seeds; unknown with its reason if one is."""
    for part in parts:
        if part.changed is None or part.kl is None:
            return part
    changed = sum(part.changed or 0.0 for part in parts) / len(parts)
    kl = sum(part.kl or 0.0 for part in parts) / len(parts)
    return Forgetting(changed, kl, sum(part.n for part in parts))
