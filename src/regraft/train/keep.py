"""Not forgetting: what holds the weights, or the answers, near where they were.

    L2-SP, EWC: springs from each weight to its value before ─► added to the gradients
    LwF: the source classifier's answers before ─► added to a batch's loss

A spring's gradient is known, so it is added to the gradients after the backward pass and no graph
is built; it is the same as if the penalty were part of the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.errors import OptionError

#: Of LwF's softened answers, as in the paper.
TEMPERATURE = 2.0
#: Rows that the network before training is asked for at once.
BATCH = 64
#: Of answers that are kept in memory.
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Spring:
    """stiffness / 2 · (weight - rest)², summed over the numbers of one weight.

    Attributes:
        weight: the parameter that is trained.
        rest: of the same shape; None is 0.
        stiffness: one number, or one for each number of the weight.
    """

    weight: nn.Parameter
    rest: torch.Tensor | None
    stiffness: float | torch.Tensor

    def pull(self) -> torch.Tensor:
        """Add the gradient, where the weight has one; the value, a scalar."""
        away = self.weight.detach()
        away = away if self.rest is None else away - self.rest
        force = away * self.stiffness
        if self.weight.requires_grad:
            if self.weight.grad is None:
                self.weight.grad = force.clone()
            else:
                self.weight.grad += force
        return 0.5 * torch.dot(force.flatten(), away.flatten())


class Springs:
    """A quadratic penalty on the weights, see `l2sp` and `ewc`."""

    def __init__(self, springs: Sequence[Spring]) -> None:
        self.springs = tuple(springs)

    def loss(self, features: Any, rows: Any, views: Any) -> None:
        """Nothing: what it adds it adds in `pull`."""
        return

    def pull(self) -> float:
        """Add the penalty's gradient to `.grad` of every weight that has one; its value.

        To be called once per step of the optimizer: after the backward passes of all parts of the
        batch, before the gradient is clipped.
        """
        return float(sum(spring.pull() for spring in self.springs))


def l2sp(
    weights: Mapping[str, nn.Parameter],
    before: Mapping[str, torch.Tensor],
    head: Sequence[nn.Parameter],
    alpha: float,
    beta: float,
) -> Springs:
    """alpha / 2 · ‖w - w before‖² over the backbone's weights, beta / 2 · ‖w‖² over the new head's.

    It takes the place of weight decay, which pulls towards 0 (Li, Grandvalet & Davoine 2018,
    arXiv:1802.01483).

    Args:
        weights: the backbone's trained parameters, by name.
        before: their values before training; other names in it do not matter.
        head: parameters of the head, which has no before.
        alpha: how strongly the backbone is held.
        beta: how strongly the head is kept small.

    Raises:
        OptionError: a weight was not there before training, as LoRA's.
    """
    refuse_new(weights, before, "l2sp")
    held = [Spring(w, _beside(before[name], w), alpha) for name, w in weights.items()]
    return Springs(held + [Spring(w, None, beta) for w in head])


def ewc(
    weights: Mapping[str, nn.Parameter],
    before: Mapping[str, torch.Tensor],
    fisher: Mapping[str, torch.Tensor],
    strength: float,
) -> Springs:
    """strength / 2 · Σ F (w - w before)², elastic weight consolidation.

    Kirkpatrick et al. 2017, arXiv:1612.00796, with the diagonal `regraft.train.fisher` as F. The
    head is new and is not held.

    Args:
        weights: the backbone's trained parameters, by name.
        before: their values before training.
        fisher: for each of them a tensor of its shape, not negative.
        strength: lambda of the paper.

    Raises:
        OptionError: a weight was not there before training, as LoRA's.
    """
    refuse_new(weights, before, "ewc")
    return Springs(
        [
            Spring(w, _beside(before[name], w), strength * _beside(fisher[name], w))
            for name, w in weights.items()
        ]
    )


def refuse_new(weights: Iterable[str], before: Mapping[str, Any], option: str) -> None:
    """Refuse weights that were not there before training.

    Raises:
        OptionError: one of the names is not in `before`.
    """
    new = [name for name in weights if name not in before]
    if new:
        raise OptionError(
            f"{option} holds weights where they were, and '{new[0]}' was not there before: it "
            "cannot be used with lora, whose first weights are frozen anyway."
        )


def _beside(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A copy of a tensor of the weight's shape, of its type and on its device."""
    return tensor.detach().to(weight, copy=True).reshape(weight.shape)


#: From rows (B,) and views (B,) of the training part to the answers before, (B, C) logits.
Answers = Callable[[NDArray[np.intp], NDArray[np.intp]], torch.Tensor]


class Kept:
    """Answers that are asked once for each row and view, where that is worth it.

    A view is asked for as a whole when the first row of it is wanted, in batches that are always
    the same: a training that goes on where it stopped gets the same bits. With more views than
    epochs, or too many numbers for memory, the batch is asked for anew each time.

    Args:
        ask: the network before training.
        rows: training rows in all.
        views: how many views of each there are; 0 if only the plain one, -1.
        epochs: that will be trained.
    """

    def __init__(self, ask: Answers, rows: int, views: int, epochs: int) -> None:
        self.ask = ask
        self.rows = rows
        self.known: dict[int, torch.Tensor] = {}
        width = ask(np.zeros(1, np.intp), np.full(1, -1, np.intp)).shape[1]
        self.worth = views <= epochs and max(views, 1) * rows * width * 4 <= MOST_BYTES

    def __call__(self, rows: NDArray[np.intp], views: NDArray[np.intp]) -> torch.Tensor:
        """See `Answers`."""
        if not self.worth:
            return self.ask(rows, views)
        said = [self._view(int(view))[int(row)] for row, view in zip(rows, views, strict=True)]
        return torch.stack(said)

    def _view(self, view: int) -> torch.Tensor:
        """(N, C) the answers to one view of all rows."""
        if view not in self.known:
            parts = [
                np.arange(start, min(start + BATCH, self.rows), dtype=np.intp)
                for start in range(0, self.rows, BATCH)
            ]
            said = [self.ask(part, np.full(len(part), view, np.intp)) for part in parts]
            self.known[view] = torch.cat(said)
        return self.known[view]


class LwF:
    """Learning without forgetting: the source classifier shall answer as it did before.

    strength · KL(p before ‖ p now), both softened by temperature 2, averaged over the batch: the
    gradient of the paper's distillation loss, and 0 where nothing has changed. Unlike in the
    paper (Li & Hoiem 2016, arXiv:1606.09282) the source classifier itself is not trained: it is
    not part of what comes out.

    Args:
        source: (B, D) features to (B, C) logits, the network's own classifier.
        answers: what it said before training, see `Kept`.
        strength: lambda of the paper.
    """

    def __init__(self, source: nn.Module, answers: Answers, strength: float) -> None:
        self.source = source.eval().requires_grad_(False)
        self.answers = answers
        self.strength = strength

    def loss(
        self, features: torch.Tensor, rows: NDArray[np.intp], views: NDArray[np.intp]
    ) -> torch.Tensor:
        """What is added to the loss of a batch.

        Args:
            features: (B, D), with a graph.
            rows: (B,) places among the training rows.
            views: (B,) which view of each.
        """
        now = nn.functional.log_softmax(self.source(features).float() / TEMPERATURE, dim=1)
        old = self.answers(rows, views).to(now) / TEMPERATURE
        old = nn.functional.log_softmax(old, dim=1)
        gone = nn.functional.kl_div(now, old, reduction="batchmean", log_target=True)
        return self.strength * gone

    def pull(self) -> float:
        """Nothing: what it adds it adds to the loss."""
        return 0.0
