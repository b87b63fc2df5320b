"""Measurements become an answer: a score, a word and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regraft.similarity import scale
from regraft.similarity.answer import Similarity, StageLikeness
from regraft.similarity.distance import Distances

#: Fewer pictures than this say little of the rest.
ROUGH_BELOW = 8
STATISTICS, CLASSIFIER, SOURCE = "BatchNorm statistics", "classifier", "source folder"


@dataclass(frozen=True)
class Classified:
    """What the source's classifier makes of pictures; see `Similarity`."""

    entropy: float
    energy: float
    confidence: float

    @classmethod
    def of(cls, logits: NDArray[np.float64]) -> Classified:
        """Of logits (n, K)."""
        top = logits.max(axis=1, keepdims=True)
        total = np.log(np.exp(logits - top).sum(axis=1, keepdims=True)) + top
        logs = logits - total
        p = np.exp(logs)
        entropy = -(p * logs).sum(axis=1) / np.log(max(logits.shape[1], 2))
        means = (entropy.mean(), -total.mean(), p.max(axis=1).mean())
        return cls(*(round(float(mean), 3) for mean in means))


def unknown(why: str, pictures: int) -> Similarity:
    """Nothing can be said, and why not."""
    return Similarity(scale.UNKNOWN, None, "none", why, pictures, pictures < ROUGH_BELOW)


def by_statistics(
    names: Sequence[str],
    found: Distances,
    layers: int,
    n: int,
    own: int,
    classified: Classified | None,
) -> Similarity:
    """From what BatchNorm layers remember.

    Args:
        names: of all stages.
        found: distances of those stages that have such layers.
        layers: how many layers were compared.
        n: how many pictures were looked at.
        own: how many stages are as the source left them.
        classified: what the source's classifier says, which is told and does not count: on the
            calibration sets it was surer of blood cells than of flowers.
    """
    score = scale.score_of(found.whole)
    worst = max(found.stages, key=lambda stage: found.stages[stage])
    why = (
        f"Seen through {layers} BatchNorm layers, {n} pictures lie at {found.whole:.3f} "
        f"(± {found.error:.3f}) from what these remember of the source (0 is alike, "
        f"{scale.HALF:g} half way), farthest in '{names[worst]}' with {found.stages[worst]:.3f}"
        + (f"; stages from '{names[own]}' on were trained anew" if own < len(names) else "")
        + _few(n)
        + "."
    )
    stages = tuple(_stage(name, found.stages.get(k)) for k, name in enumerate(names))
    return Similarity(
        scale.verdict_of(score),
        score,
        STATISTICS,
        why,
        n,
        n < ROUGH_BELOW,
        stages,
        round(found.whole, 4),
        round(found.error, 4),
        *((classified.entropy, classified.energy, classified.confidence) if classified else ()),
    )


def _stage(name: str, distance: float | None) -> StageLikeness:
    if distance is None:
        return StageLikeness(name, None, None)
    return StageLikeness(name, round(distance, 4), scale.score_of(distance))


def by_classifier(seen: Classified, n: int) -> Similarity:
    """From the source's classifier alone: it tells only where it is sure, or has no idea."""
    verdict = scale.UNKNOWN
    if seen.entropy >= scale.NO_IDEA:
        verdict = scale.UNLIKE
    elif seen.entropy <= scale.SURE:
        verdict = scale.LIKE
    score = None if verdict == scale.UNKNOWN else scale.score_of_entropy(seen.entropy)
    telling = "tells nothing" if score is None else "is a rough sign"
    why = (
        "The backbone has no BatchNorm layers, only its source's classifier, whose entropy on "
        f"{n} pictures is {seen.entropy:.2f} of the greatest (up to {scale.SURE:g} it knows such "
        f"pictures, from {scale.NO_IDEA:g} on it has no idea), which {telling}{_few(n)}."
    )
    figures = (seen.entropy, seen.energy, seen.confidence)
    return Similarity(verdict, score, CLASSIFIER, why, n, True, (), None, None, *figures)


def _few(n: int) -> str:
    return "" if n >= ROUGH_BELOW else f"; {n} pictures are few, so this is rough"
