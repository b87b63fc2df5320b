"""Pictures against the source's own, where somebody has a folder of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from regraft import heads
from regraft.errors import DataError
from regraft.similarity import scale
from regraft.similarity.answer import Similarity, StageLikeness
from regraft.similarity.saying import ROUGH_BELOW, SOURCE

Float = NDArray[np.float64]

#: Directions in which covariances are compared, and rows of each side that are looked at.
DIRECTIONS, MOST_ROWS = 64, 256
FEWEST = 4


def against_source(
    own: Mapping[str, NDArray[np.float32]],
    source: Mapping[str, NDArray[np.float32]],
    *,
    seed: int = 0,
) -> Similarity:
    """How like pictures are to some of the source's, by the pooled features of both.

    Per stage the Fréchet distance of normal distributions (Dowson and Landau, 1982; Heusel et al.,
    NeurIPS 2017, arXiv:1706.08500) as a share of itself and both spreads, and the proxy A-distance
    2 (1 - 2 error) of a linear separator (Ben-David et al., NeurIPS 2006), which on deep features
    tells nearly any two folders apart and so does not count in the score.

    Args:
        own: per stage (N, D) pooled features of the user's pictures.
        source: per stage, the same ones, (M, D) of pictures that the backbone was trained on.
        seed: which rows are looked at, at most 256 of each side.

    Raises:
        DataError: the stages differ, or one side has fewer than 4 pictures.
    """
    if list(own) != list(source) or not own:
        raise DataError(
            "own and source must hold features of the same stages, at least one, got "
            f"{', '.join(own) or 'none'} and {', '.join(source) or 'none'}."
        )
    counts = [min(len(rows) for rows in side.values()) for side in (own, source)]
    if min(counts) < FEWEST:
        raise DataError(
            f"own and source must have at least {FEWEST} pictures each to be compared, got "
            f"{counts[0]} and {counts[1]}: add some."
        )
    stages = []
    for name in own:
        a, b = _some(own[name], seed), _some(source[name], seed)
        distance = round(frechet_share(a, b), 4)
        apart = round(a_distance(a, b), 3)
        stages.append(StageLikeness(name, distance, scale.score_of_share(distance), apart))
    return _answer(stages, counts)


def _answer(stages: list[StageLikeness], counts: list[int]) -> Similarity:
    distance = float(np.mean([stage.distance for stage in stages]))
    apart = float(np.mean([stage.a_distance for stage in stages]))
    score = scale.score_of_share(distance)
    rough = min(counts) < ROUGH_BELOW
    why = (
        f"Features of {counts[0]} pictures and of {counts[1]} of the source lie {distance:.3f} "
        f"apart over {len(stages)} stages (0 is alike, {scale.HALF_SHARE:g} half way, 1 far), "
        f"and a linear separator tells them apart with a proxy A-distance of {apart:.2f} of 2"
        + ("; so few pictures make this rough." if rough else ".")
    )
    verdict = scale.verdict_of(score)
    return Similarity(
        verdict, score, SOURCE, why, counts[0], rough, tuple(stages), round(distance, 4)
    )


def _some(rows: NDArray[np.float32], seed: int) -> Float:
    """At most `MOST_ROWS` of them, in an order of their own."""
    order = np.random.default_rng(seed).permutation(len(rows))[:MOST_ROWS]
    return np.asarray(rows[np.sort(order)], np.float64)[np.argsort(order)]


def a_distance(own: Float, source: Float) -> float:
    """The proxy A-distance of two sets of rows, 0 to 2, by a ridge head that leaves each row out.

    Both sides have the same number of rows, so that guessing errs half of the time.
    """
    n = min(len(own), len(source))
    rows = np.concatenate([own[:n], source[:n]]).astype(np.float32)
    fitted = heads.fit("ridge", rows, np.repeat([0, 1], n), 2)
    accuracy = fitted.validation.accuracy if fitted.validation else None
    return 0.0 if accuracy is None else max(0.0, 2 * (2 * accuracy - 1))


def frechet_share(own: Float, source: Float) -> float:
    """The Fréchet distance F of two sets of rows as F / (F + both spreads), 0 to 1.

    Measured in the first directions of both together, with shrunken covariances, and without what
    chance alone puts between two samples: that is measured between the halves of each side. A half
    lies twice as far from the truth as its whole, and two halves do so twice: a quarter of what is
    between them is the whole's own part.
    """
    own, source = _in_few_directions(own, source)
    between = frechet(own, source)
    chance = sum(frechet(side[::2], side[1::2]) / 4 for side in (own, source))
    far = max(0.0, between - chance)
    spread = float(own.var(axis=0).sum() + source.var(axis=0).sum())
    return far / (far + spread) if far + spread > 0 else 0.0


def _in_few_directions(own: Float, source: Float) -> tuple[Float, Float]:
    both = np.concatenate([own, source])
    centre = both.mean(axis=0)
    directions = np.linalg.svd(both - centre, full_matrices=False)[2][:DIRECTIONS]
    return (own - centre) @ directions.T, (source - centre) @ directions.T


def frechet(one: Float, other: Float) -> float:
    """The Fréchet distance of normal distributions fitted to rows (n, d) and (m, d)."""
    away = float(((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum())
    a, b = shrunk(one), shrunk(other)
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    return max(0.0, away + float(np.trace(a) + np.trace(b) - 2 * cross))


def shrunk(rows: Float) -> Float:
    """(d, d) covariance, drawn towards a multiple of one as far as chance asks for.

    Ledoit and Wolf, J. Multivariate Analysis 88, 2004.
    """
    n, d = rows.shape
    x = rows - rows.mean(axis=0)
    covariance = x.T @ x / n
    level = float(np.trace(covariance)) / d
    target = level * np.eye(d)
    apart = float(((covariance - target) ** 2).sum())
    noise = float(((x**2).sum(axis=1) ** 2).sum() / n - (covariance**2).sum()) / n
    share = 0.0 if apart <= 0 else min(1.0, max(0.0, noise / apart))
    return np.asarray((1 - share) * covariance + share * target)
