"""How far what a layer sees is from what it remembers, corrected for chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

#: Share of a layer's median variance that is added to every variance: a channel that hardly ever
#: moved in the source is not infinitely far from one that hardly ever moves here.
FLOOR = 1e-3
TINY = 1e-30


@dataclass(frozen=True)
class Layer:
    """One BatchNorm layer.

    Attributes:
        name: in the network.
        stage: index of the stage that it lies in.
        mean: (C,) per channel, as stored.
        variance: (C,) per channel, as stored.
        moments: (n, 2, C) of each picture: mean and mean square over its positions.
    """

    name: str
    stage: int
    mean: Float
    variance: Float
    moments: Float


def hellinger(mean: Float, variance: Float, mean_too: Float, variance_too: Float) -> Float:
    """Squared Hellinger distance of normal distributions, 0 to 1, element by element."""
    total = variance + variance_too
    overlap = np.sqrt(2 * np.sqrt(variance * variance_too) / total)
    return 1 - overlap * np.exp(-((mean - mean_too) ** 2) / (4 * total))


def distances(layer: Layer) -> tuple[float, Float]:
    """The mean over channels of the distance between pictures and memory.

    Returns:
        With all pictures; and (n,) each time without one of them.
    """
    floor = FLOOR * float(np.median(layer.variance)) + TINY
    total = layer.moments.sum(axis=0)

    def away(sums: Float, n: int) -> Float:
        mean = sums[..., 0, :] / n
        spread = np.maximum(sums[..., 1, :] / n - mean**2, 0) + floor
        far = hellinger(layer.mean, layer.variance + floor, mean, spread)
        return np.asarray(far.mean(axis=-1))

    n = len(layer.moments)
    alone = away(total - layer.moments, n - 1) if n > 1 else np.full(1, np.nan)
    return float(away(total, n)), alone


@dataclass(frozen=True)
class Distances:
    """Of a network.

    Attributes:
        stages: by index of the stage.
        whole: the mean over these stages.
        error: its standard error; 0 from one picture.
    """

    stages: dict[int, float]
    whole: float
    error: float


def by_stage(layers: Sequence[Layer]) -> Distances:
    """Layers joined to stages, and the stages to one, each depth counting the same.

    A distance from few pictures is too large by about 1 / n, and how much depends on how unlike
    each other the pictures are, not on how many positions they have. The jackknife takes that off
    (Quenouille, 1956): a whole picture is left out at a time.
    """
    found: dict[int, list[tuple[float, Float]]] = {}
    for layer in layers:
        found.setdefault(layer.stage, []).append(distances(layer))
    n = len(layers[0].moments)
    full = {stage: float(np.mean([one for one, _ in some])) for stage, some in found.items()}
    alone = {stage: np.mean([each for _, each in some], axis=0) for stage, some in found.items()}
    if n < 2:
        return Distances(full, float(np.mean(list(full.values()))), 0.0)
    stages = {
        stage: max(0.0, n * full[stage] - (n - 1) * float(alone[stage].mean())) for stage in full
    }
    whole = np.mean(list(alone.values()), axis=0)
    error = float(np.sqrt((n - 1) / n * ((whole - whole.mean()) ** 2).sum()))
    return Distances(stages, float(np.mean(list(stages.values()))), error)
