"""The record of a fit as plain data: scores, settings that repeat it, costs."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any

from regraft.choose import Choice
from regraft.data import Dataset, Skipped
from regraft.features import Features, Pipeline
from regraft.model import Model, score
from regraft.parts import Parts


@dataclass
class Clock:
    """Seconds since it was made, and of each lap."""

    start: float = field(default_factory=time.perf_counter)
    laps: dict[str, float] = field(default_factory=dict)

    def lap(self, name: str) -> None:
        """Name the time since the last lap."""
        spent = time.perf_counter() - self.start - sum(self.laps.values())
        self.laps[name] = spent

    def seconds(self) -> dict[str, float]:
        """The whole time and each lap, in seconds."""
        total = time.perf_counter() - self.start
        return {"total": round(total, 4)} | {k: round(v, 4) for k, v in self.laps.items()}


@dataclass(frozen=True)
class Found:
    """The features of a data set and of the data to test on, from one pass.

    Attributes:
        all: of both, the data set's own first.
        own: how many are the data set's own; the rest are to test on.
        skipped: what could not be used of either.
    """

    all: Features
    own: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Outcome:
    """All that the report tells of."""

    data: Dataset
    test: Dataset | None
    found: Found
    parts: Parts
    pipe: Pipeline
    choice: Choice
    model: Model
    weights: str | None
    depths: str


def metrics(model: Model, parts: Parts) -> dict[str, Any]:
    """What the bundle says of how good the model is: facts of the data, no clock."""
    held = model.head.validation
    return {
        "train": {"n": len(parts.train.examples) + len(parts.val.examples)},
        "validation": held
        and {"kind": held.kind, "n": held.n, "accuracy": held.accuracy, "log_loss": held.log_loss},
        "test": score(model, parts.test) if parts.test.examples else None,
        "test_part": parts.kind,
    }


def settings(outcome: Outcome) -> dict[str, Any]:
    """What repeats the run to the same bytes: nothing is left to be chosen."""
    pipe, info = outcome.pipe, outcome.pipe.info
    return {
        "data": outcome.data.root,
        "test": outcome.test.root if outcome.test else "",
        "backbone": info.name,
        "weights": outcome.weights or "",
        "revision": info.revision if info.source == "hub" else "",
        "digest": info.digest,
        "size": list(info.input.json().get("size", [])),
        "at": "+".join(outcome.choice.at),
        "head": outcome.choice.head,
        "depths": outcome.depths,
        "device": pipe.device,
        "engine": pipe.engine.name,
        "precision": pipe.precision,
        "threads": pipe.threads,
        "seed": outcome.model.seed,
    }


def report(outcome: Outcome, clock: Clock) -> dict[str, Any]:
    """The JSON of `regraft fit`; `run` and `bundle` are filled in when it is saved."""
    features = outcome.found.all
    seconds = clock.seconds()
    rate = len(features.examples) / max(seconds["features"], 1e-9)
    ignored = outcome.data.ignored + (outcome.test.ignored if outcome.test else 0)
    return {
        "run": None,
        "bundle": None,
        "backbone": outcome.pipe.info.name,
        "at": "+".join(outcome.choice.at),
        "head": outcome.choice.head,
        "why": outcome.choice.why,
        "classes": list(outcome.parts.classes),
        **outcome.model.metrics,
        "skipped": [s.json() for s in outcome.found.skipped],
        "ignored": ignored,
        "leaks": list(outcome.parts.leaks),
        "engine": outcome.model.features["engine"],
        "seconds": seconds,
        "images_per_second": round(rate, 1),
        "peak_memory_bytes": peak_memory_bytes(),
        "cache": features.counts.json(),
    }


def peak_memory_bytes() -> int:
    """The most memory that this process has held so far, in bytes; 0 where nobody counts it."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
