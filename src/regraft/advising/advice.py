"""The advice as plain data, and as lines for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from regraft import show
from regraft.advising.cell import Cell
from regraft.advising.forecast import Forecast
from regraft.duration import told
from regraft.evaluate import Interval
from regraft.evidence.depths import Depth
from regraft.evidence.growth import Growth
from regraft.model import plain
from regraft.similarity import Similarity
from regraft.similarity.scale import LIKE, SOMEWHAT, UNLIKE

NAME = 12  # characters before the text of a line

#: How similar the pictures are to the source, by the verdict.
DEGREES = {LIKE: "high", SOMEWHAT: "medium", UNLIKE: "low"}


@dataclass(frozen=True)
class Option:
    """One way that was weighed.

    Attributes:
        plan: its name.
        at: stage that the head reads.
        cut: first stage that is trained; '' where none is.
        accuracy: to be expected.
        accuracy_ci95: where the score on as many test rows as there are will lie.
        seconds, peak_memory_bytes: that it is forecast to cost; None if that was not measured.
        fits: whether that is within the budget.
        chosen: whether this is the one.
    """

    plan: str
    at: str
    cut: str
    accuracy: float | None
    accuracy_ci95: Interval | None
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    fits: bool = True
    chosen: bool = False


@dataclass(frozen=True, repr=False)
class Advice:
    """Which strategy, why, at what cost.

    Attributes:
        learnable: whether there is anything to learn from these labels; None where there are too
            few rows to tell.
        plan: the name of a plan.
        at: the stage that the head should read.
        cut: the first stage to train; '' where none is.
        backbone: its name.
        reasons: sentences, the weightiest first.
        similarity: to what the backbone was trained on.
        accuracy: to be expected of the advised plan; None if nothing can be said.
        accuracy_ci95: where its score on the test rows will lie.
        predicted: what `regraft fit` with this plan will cost.
        depths: the worth of each stage.
        growth: the learning curve.
        risks: what could go wrong, in sentences.
        cell: of the tutorials' table.
        options: what was weighed.
        seconds: that the advice took, by part.
        rows: to learn from.
        data: what it is about.
        backbones: what was measured of each that was weighed; empty where one was named.
    """

    learnable: bool | None
    plan: str
    at: str
    cut: str
    backbone: str
    reasons: tuple[str, ...]
    similarity: Similarity
    accuracy: float | None
    accuracy_ci95: Interval | None
    predicted: Forecast
    depths: tuple[Depth, ...]
    growth: Growth
    risks: tuple[str, ...]
    cell: Cell
    options: tuple[Option, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    rows: int = 0
    data: str = ""
    backbones: tuple[dict[str, Any], ...] = ()

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        split = ((line[:NAME].strip(), line[NAME:].strip()) for line in self.lines())
        return show.card("Advice", split)

    def json(self) -> dict[str, Any]:
        """Plain data: the JSON of `regraft advise`."""
        told: dict[str, Any] = plain(self._told())
        return told

    def _told(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "rows": self.rows,
            "learnable": self.learnable,
            "plan": self.plan,
            "at": self.at,
            "cut": self.cut,
            "backbone": self.backbone,
            "reasons": list(self.reasons),
            "similarity": self.similarity.json(),
            "expected": {"accuracy": self.accuracy, "ci95": _list(self.accuracy_ci95)},
            "predicted": self.predicted.json(),
            "depths": [one.json() | {"ci95": _list(one.accuracy_ci95)} for one in self.depths],
            "learning_curve": [
                asdict(point) | {"ci95": list(point.accuracy_ci95)} for point in self.growth.points
            ],
            "doubled": {"accuracy": self.growth.doubled, "ci95": _list(self.growth.doubled_ci95)},
            "risks": list(self.risks),
            "table_cell": self.cell.json(),
            "options": [asdict(one) for one in self.options],
            "backbones": list(self.backbones),
            "seconds": self.seconds,
        }

    def lines(self) -> list[str]:
        """For people."""
        way = f"plan {self.plan}, head at {self.at}" + (
            f", trained from {self.cut} up" if self.cut else ""
        )
        nothing = "nothing can be learned here"
        lines = [f"advice      {nothing if self.learnable is False else way}"]
        if self.accuracy is not None and self.accuracy_ci95 is not None:
            low, high = self.accuracy_ci95
            lines.append(
                f"expect      {100 * self.accuracy:.1f} % right; on your test rows "
                f"{100 * low:.1f} to {100 * high:.1f} % in 19 cases of 20"
            )
        held = self.predicted
        lines.append(
            f"cost        about {told(held.seconds)} and "
            f"{held.peak_memory_bytes / 1e9:.1f} GB of memory; about "
            f"{held.json()['energy_wh']:.2g} Wh if a busy processor takes {held.watts:g} W"
        )
        alike = self.similarity
        score = "" if alike.score is None else f" ({alike.score:.2f} of 1)"
        source = "ImageNet" if "in1k" in self.backbone else "the source data"
        degree = DEGREES.get(alike.verdict, alike.verdict)
        lines.append(f"similarity  to {source}: {degree}{score}")
        lines += _listed("why", self.reasons)
        lines += _listed("risks", self.risks)
        lines.append(
            f"table       {self.cell.data} data, {self.cell.domain} domain: tutorials say to "
            f"{self.cell.rule}; the advice {'agrees' if self.cell.followed else 'differs'}"
        )
        return lines


def _listed(title: str, sentences: tuple[str, ...]) -> list[str]:
    return [f"{title if number == 0 else '':<11} {text}" for number, text in enumerate(sentences)]


def _list(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)
