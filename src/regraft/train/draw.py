"""Everything random in a training, drawn from the seed and the place in the plan alone.

No generator's state has to be kept: a training that goes on where it stopped draws the same.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

ORDER, VIEWS, STEP = 1, 2, 3


def generator(*place: int) -> np.random.Generator:
    """A generator for a place: (seed, kind, phase, epoch, …)."""
    return np.random.default_rng(np.random.SeedSequence(place))


def order(seed: int, phase: int, epoch: int, n: int) -> NDArray[np.intp]:
    """(n,) the rows of an epoch in the order in which they are used."""
    return generator(seed, ORDER, phase, epoch).permutation(n).astype(np.intp)


def views(seed: int, phase: int, epoch: int, n: int, count: int) -> NDArray[np.intp]:
    """(n,) for each row the view that this epoch sees; -1, the plain one, where there are none."""
    if not count:
        return np.full(n, -1, np.intp)
    return generator(seed, VIEWS, phase, epoch).integers(0, count, n).astype(np.intp)


def seed_step(seed: int, phase: int, epoch: int, step: int) -> int:
    """Seed torch's global generators (dropout) for one step; the seed is returned."""
    drawn = int(generator(seed, STEP, phase, epoch, step).integers(2**63 - 1))
    torch.manual_seed(drawn)
    return drawn
