"""What a page is made of: plain data, wherever they come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.data import Example


@dataclass(frozen=True)
class Rows:
    """The test rows.

    Attributes:
        names: (N) ids.
        labels: (N) the truth.
        classes: (K) names of the columns.
        probabilities: (N, K).
        features: (N, D) what the head reads; None where it is not at hand.
        examples: (N) where each picture is, None where nobody knows; empty for all of them.
        digests: (N) of each picture's bytes; a file that has others by now is not shown.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: NDArray[Any]
    features: NDArray[Any] | None = None
    examples: tuple[Example | None, ...] = ()
    digests: tuple[str, ...] = ()

    @property
    def truth(self) -> NDArray[np.int64]:
        """(N,) the place of each label among the classes, -1 for one that is none of them."""
        place = {name: number for number, name in enumerate(self.classes)}
        return np.array([place.get(label, -1) for label in self.labels], np.int64)

    @property
    def answer(self) -> NDArray[np.int64]:
        """(N,) the place of the most probable class."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)


@dataclass(frozen=True)
class Shown:
    """One picture of the test rows.

    Attributes:
        name: its id.
        label: the truth.
        answer: the most probable class.
        sure: its probability.
        truth: the probability of the true class; None if the model does not know that.
        next: the second most probable class, and its probability.
        picture: a small JPEG of what the network sees.
        overlay: the same with what spoke for the answer; None if that was not asked for.
    """

    name: str
    label: str
    answer: str
    sure: float
    truth: float | None
    next: tuple[str, float]
    picture: bytes
    overlay: bytes | None = None


@dataclass(frozen=True)
class Material:
    """All that a run's page shows; every field but the first may be missing.

    Attributes:
        report: `report.json`.
        settings: `run.toml`, as text.
        tried: `tried.json`.
        licence: of the backbone's weights.
        digest: of the backbone's weights.
        stages: names of the backbone's stages, in order.
        facts: what computed the features: names and versions of decoder and engine.
        rows: the test rows.
        hard: the wrong ones that the model was surest of.
        unsure: those between whose two best answers it could hardly decide.
        missing: what could not be shown and why, one sentence each.
    """

    report: dict[str, Any]
    settings: str = ""
    tried: list[dict[str, Any]] = field(default_factory=list)
    licence: str = ""
    digest: str = ""
    stages: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    rows: Rows | None = None
    hard: tuple[Shown, ...] = ()
    unsure: tuple[Shown, ...] = ()
    missing: tuple[str, ...] = ()
