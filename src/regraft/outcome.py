"""The record of a fit as plain data: scores, settings that repeat it, costs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from regraft.choose import Choice
from regraft.data import Dataset
from regraft.model import Model
from regraft.parts import Parts
from regraft.peak import whole
from regraft.prepare import Ready
from regraft.training import Training

if TYPE_CHECKING:
    from regraft.train.adapt import Adapted


@dataclass
class Clock:
    """Seconds since it was made, and of each lap."""

    start: float = field(default_factory=time.perf_counter)
    laps: dict[str, float] = field(default_factory=dict)

    def lap(self, name: str) -> None:
        """Name the time since the last lap; equal names add up."""
        spent = time.perf_counter() - self.start - sum(self.laps.values())
        self.laps[name] = self.laps.get(name, 0.0) + spent

    def seconds(self) -> dict[str, float]:
        """The whole time and each lap, in seconds."""
        total = time.perf_counter() - self.start
        return {"total": round(total, 4)} | {k: round(v, 4) for k, v in self.laps.items()}


@dataclass(frozen=True)
class Outcome:
    """All that the report tells of.

    Attributes:
        data: what was learned from.
        test: what was given to test on, if it was.
        ready: features, audit, parts and geometry.
        choice: stage and head.
        model: what came of it.
        asked: settings that nothing else tells, by their names in `run.toml`.
        training: how stages were trained, None if none were.
        made: what that made.
    """

    data: Dataset
    test: Dataset | None
    ready: Ready
    choice: Choice
    model: Model
    asked: dict[str, Any]
    training: Training | None = None
    made: Adapted | None = None


def metrics(
    model: Model,
    parts: Parts,
    crossed: dict[str, Any] | None,
    scored: dict[str, Any] | None,
) -> dict[str, Any]:
    """What the bundle says of how good the model is: facts of the data, no clock."""
    held = model.head.validation
    told = {
        "train": {"n": len(parts.pool.examples)},
        "validation": held and held.json(),
        "test": scored,
        "test_part": parts.kind,
    }
    return told | ({"cross_validation": crossed} if crossed else {})


def repeated(outcome: Outcome) -> dict[str, Any]:
    """What repeats the run to the same bytes: nothing is left to be chosen."""
    pipe, info, asked = outcome.ready.pipe, outcome.ready.pipe.info, outcome.asked
    trained = outcome.training.settings() if outcome.training else {}
    return {
        "data": outcome.data.root,
        "test": outcome.test.root if outcome.test else "",
        "group": asked["group"],
        **asked["columns"],  # only those that were named
        "near": asked["near"],
        "most_bad": asked["most_bad"],
        "backbone": info.name,
        "weights": asked["weights"],
        "revision": info.revision if info.source == "hub" else "",
        "digest": info.digest,
        "size": list(info.input.json().get("size", [])),
        "geometry": outcome.ready.geometry.name,
        "at": "+".join(outcome.choice.at),
        "head": outcome.choice.head,
        "balance": asked["balance"],
        "folds": asked["folds"],
        "depths": asked["depths"],
        "device": pipe.device,
        "engine": pipe.engine.name,
        "precision": pipe.precision,
        "threads": pipe.threads,
        "seed": outcome.model.seed,
    } | trained


def report(outcome: Outcome, clock: Clock) -> dict[str, Any]:
    """The JSON of `regraft fit`; `run` and `bundle` are filled in when it is saved."""
    ready = outcome.ready
    features = ready.found.all
    seconds = clock.seconds()
    rate = len(features.examples) / max(seconds["features"], 1e-9)
    return {
        "run": None,
        "bundle": None,
        "backbone": ready.pipe.info.name,
        "geometry": ready.geometry.json(),
        "at": "+".join(outcome.choice.at),
        "head": outcome.choice.head,
        "why": outcome.choice.why,
        "classes": list(ready.parts.classes),
        **outcome.model.metrics,
        **({"training": _training(outcome)} if outcome.training else {}),
        "audit": ready.audit.json(),
        "engine": outcome.model.features["engine"],
        "seconds": seconds,
        "images_per_second": round(rate, 1),
        "peak_memory_bytes": whole(),
        "cache": features.counts.json(),
    }


def _training(outcome: Outcome) -> dict[str, Any]:
    """How stages were trained, and what came of it."""
    assert outcome.training is not None
    assert outcome.made is not None
    made: dict[str, Any] = _plain(outcome.made.json())
    return {"plan": outcome.training.name} | made


def _plain(value: Any) -> Any:
    """The same data with None for numbers that are not finite, as of an epoch that diverged."""
    if isinstance(value, dict):
        return {key: _plain(held) for key, held in value.items()}
    if isinstance(value, list):
        return [_plain(held) for held in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
