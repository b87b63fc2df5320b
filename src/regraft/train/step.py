"""One step of the optimizer: a batch forward and backward, perhaps in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regraft.train import draw
from regraft.train.job import Guard, Job
from regraft.train.mix import mix

#: From logits (B, K) and targets, (B,) classes or (B, K) shares, to the mean loss of the rows.
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """Rows of a step.

    Attributes:
        rows: (B,) their places among the training rows.
        views: (B,) which view of each.
        flows: the arrays of their flow, each (B, …).
    """

    rows: NDArray[np.intp]
    views: NDArray[np.intp]
    flows: tuple[np.ndarray, ...]

    def split(self, parts: int) -> list[Batch]:
        """At most `parts` pieces of about one size."""
        if parts <= 1:
            return [self]
        places = np.array_split(np.arange(len(self.rows)), min(parts, len(self.rows)))
        return [Batch(self.rows[p], self.views[p], tuple(a[p] for a in self.flows)) for p in places]


def forward_backward(
    job: Job,
    batch: Batch,
    cut: int,
    loss: Loss,
    guards: Sequence[Guard],
    seed: int,
    parts: int,
) -> float:
    """Add the gradient of a batch's mean loss to the parameters; the mean loss.

    Args:
        job: what is trained.
        batch: on what.
        cut: the stage that the batch's flow goes into.
        loss: of logits and targets.
        guards: that add to the loss.
        seed: of dropout and mixing.
        parts: that the batch is computed in.
    """
    total = 0.0
    for number, piece in enumerate(batch.split(parts)):
        share = len(piece.rows) / len(batch.rows)
        value = loss_of(job, piece, cut, loss, guards, seed + number)
        torch.autograd.backward(value * share)
        total += float(value.detach()) * share
    return total


def loss_of(
    job: Job, piece: Batch, cut: int, loss: Loss, guards: Sequence[Guard], seed: int
) -> torch.Tensor:
    """The mean loss of rows that are computed in one piece, with what the guards add."""
    recipe, above = job.recipe, job.above
    flow: Any = job.send(piece.flows)
    target = torch.from_numpy(job.train.labels[piece.rows]).to(job.device)
    if cut == 0 and above.preamble is not None:
        flow = above.prepared(flow)
    if recipe.mixup or recipe.cutmix:
        layout = above.layout_at(cut)
        random = torch.Generator().manual_seed(seed)
        flow, target = mix(flow, target, job.n_classes, random, layout, recipe.mixup, recipe.cutmix)
    with job.autocast():
        features = above.features(flow, cut, prepared=True)
        logits = above.score(features)
    value = loss(logits.float(), target)
    for guard in guards:
        extra = guard.loss(features, piece.rows, piece.views)
        value = value if extra is None else value + extra
    return value


def seeded(job: Job, phase: int, epoch: int, step: int) -> int:
    """Make dropout and mixing depend on the place in the plan alone."""
    return draw.seed_step(job.seed, phase, epoch, step) % 2**62
