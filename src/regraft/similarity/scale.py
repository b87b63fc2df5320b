"""From distances to a score and a word. The numbers come from `bench/similarity.py`."""

from __future__ import annotations

import numpy as np

LIKE, SOMEWHAT, UNLIKE, UNKNOWN = "like the source", "somewhat unlike", "unlike", "unknown"
VERDICTS = (LIKE, SOMEWHAT, UNLIKE, UNKNOWN)

#: Distance at which the score is a half, and how steep it is there: on average 0.034 of a score
#: from the sixteen judgements `MEANT` of `bench/similarity.py` with ImageNet's EfficientNet-Lite0,
#: where the best of all values (0.075 and 2.25) come to 0.032. Photos like its source's lie at
#: 0.02, grey ones at 0.04, steel at 0.14.
HALF, STEEP = 0.07, 2.0
#: The same for the share of `both.frechet_share` (`--source`): ants and bees lie at 0.02 from
#: others of their folder, flowers at 0.17, grey ones at 0.30, CIFAR-10 at 0.45, steel at 0.54.
HALF_SHARE, STEEP_SHARE = 0.3, 2.0
#: Mean entropy of the source's classifier from which on all sets and versions were `UNLIKE` by
#: their statistics, and up to which all were `LIKE`; between lie sets of every kind.
NO_IDEA, SURE = 0.72, 0.30
#: Scores from which on the words hold.
LIKE_FROM, SOMEWHAT_FROM = 0.7, 0.35


def score_of(distance: float) -> float:
    """1 at no distance, a half at `HALF`, to 0."""
    return _falling(distance, HALF, STEEP)


def score_of_share(share: float) -> float:
    """The same from the Fréchet distance to the source's own pictures, as a share."""
    return _falling(share, HALF_SHARE, STEEP_SHARE)


def score_of_entropy(entropy: float) -> float:
    """The same from the classifier's entropy, 0 to 1, where that tells anything."""
    return round(float(1 - entropy), 3)


def verdict_of(score: float) -> str:
    """The word for a score."""
    if score >= LIKE_FROM:
        return LIKE
    return SOMEWHAT if score >= SOMEWHAT_FROM else UNLIKE


def numbers() -> list[float]:
    """All that a score depends on, for the key under which it is kept."""
    return [HALF, STEEP, HALF_SHARE, STEEP_SHARE, NO_IDEA, SURE, LIKE_FROM, SOMEWHAT_FROM]


def _falling(distance: float, half: float, steep: float) -> float:
    return round(1.0 / (1.0 + float(np.power(distance / half, steep))), 3)
