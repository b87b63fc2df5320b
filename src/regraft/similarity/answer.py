"""What is known of the likeness, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class StageLikeness:
    """One stage.

    Attributes:
        stage: its name.
        distance: from 0, alike, to 1; of pictures and source at this depth. None where the stage
            has nothing to tell it by.
        score: 0 to 1, 1 is like the source; None where there is no distance.
        a_distance: proxy A-distance, 0 (cannot be told apart) to 2; only against a source folder.
    """

    stage: str
    distance: float | None
    score: float | None
    a_distance: float | None = None


@dataclass(frozen=True)
class Similarity:
    """How like the pictures are to what the backbone was trained on.

    Attributes:
        verdict: 'like the source', 'somewhat unlike', 'unlike' or 'unknown'.
        score: 0 to 1, 1 is like the source; None if nothing can be said.
        method: what it comes from: 'BatchNorm statistics', 'classifier', 'source folder' or 'none'.
        why: the verdict in one sentence.
        pictures: how many were looked at.
        rough: they were few, or the method tells little.
        per_stage: every stage of the backbone in order; empty if nothing can be said of stages.
        distance: the mean over the stages that have one; None without.
        error: one standard error of `distance`, from leaving out a picture at a time.
        entropy: mean entropy of the source's classifier over its classes, 0 (sure) to 1 (no idea);
            None without a classifier.
        energy: mean of minus the log of the sum of its exponentials (Liu et al., NeurIPS 2020,
            arXiv:2010.03759); the lower, the more familiar. Its zero is each network's own.
        confidence: mean of its largest probability.
    """

    verdict: str
    score: float | None
    method: str
    why: str
    pictures: int = 0
    rough: bool = False
    per_stage: tuple[StageLikeness, ...] = ()
    distance: float | None = None
    error: float | None = None
    entropy: float | None = None
    energy: float | None = None
    confidence: float | None = None

    def json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads."""
        return asdict(self) | {"per_stage": [asdict(stage) for stage in self.per_stage]}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Similarity:
        stages = tuple(StageLikeness(**stage) for stage in data["per_stage"])
        return Similarity(**{**data, "per_stage": stages})
