"""The learning rate that training can begin with, found by a sweep over rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.errors import TrainingError
from regraft.train.untouched import untouched

LOW, HIGH = 1e-5, 10.0
PER_DECADE = 12
#: A loss this many times the first one ends the sweep.
BLOWN = 4.0
#: A first loss that is smaller counts as this much.
LEAST = 0.01
#: Standard deviation, in decades of the rate, over which losses are smoothed to both sides.
SMOOTH = 0.15
#: Share of the first loss that the sweep must take away to count as having learned.
FALLEN = 0.1
#: The rate is this part of the one with the least loss, or of the one where the loss blew up.
OF_LEAST, OF_BLOWN = 1 / 3, 1 / 30


@dataclass(frozen=True)
class Found:
    """What a sweep found.

    Attributes:
        rate: the learning rate to use.
        curve: (rate, loss, smoothed loss) of each step, as plain numbers.
        why: one sentence.
    """

    rate: float
    curve: list[tuple[float, float, float]]
    why: str


def find(
    module: nn.Module,
    loss_of: Callable[[int], torch.Tensor],
    make: Callable[[], torch.optim.Optimizer],
    *,
    seed: int = 0,
    low: float = LOW,
    high: float = HIGH,
) -> Found:
    """Train for some steps at rates that rise from `low` to `high`, and see where the loss falls.

    The range test of Smith 2017, arXiv:1506.01186, with rates that rise exponentially. The module
    is the same to the bit afterwards, and so is torch's chance.

    Which rate to take from it was tried on twelve problems (a line, perceptrons and small
    convolutions on digits and a table, from scratch, fine-tuned and after a solved head, AdamW and
    SGD), as the validation loss of a training over that of the best of 16 rates, geometric mean:
    a third of the rate with the least loss 1.32, steepest descent 1.43, a tenth of the least loss
    2.06, fastai's valley 4.40. After a solved head the loss only rises, and the least loss says
    nothing: a thirtieth of the rate where it blows up did as well there as any (1.3 and 1.6).

    Args:
        module: what is trained.
        loss_of: the mean loss of batch 0, 1, …, with a gradient.
        make: makes the optimizer; the rates of its groups are relative, 1 for the head.
        seed: of dropout and the like.
        low: the first rate.
        high: the last rate, if the loss does not blow up before.

    Raises:
        TrainingError: the loss is no finite number to begin with.
    """
    count = max(2, round(PER_DECADE * math.log10(high / low)) + 1)
    rates = np.geomspace(low, high, count)
    with untouched(module):
        losses = _sweep(loss_of, make, rates, seed)
    if not losses:
        raise TrainingError(
            "the learning rate cannot be found: the loss is no finite number before any step; "
            "check the files, or set amp = 'f32'."
        )
    smooth = smoothed(rates[: len(losses)], np.array(losses))
    rate, why = suggest(rates[: len(losses)], smooth)
    curve = [
        (float(r), float(raw), float(s)) for r, raw, s in zip(rates, losses, smooth, strict=False)
    ]
    return Found(rate, curve, why)


def _sweep(
    loss_of: Callable[[int], torch.Tensor],
    make: Callable[[], torch.optim.Optimizer],
    rates: NDArray[np.float64],
    seed: int,
) -> list[float]:
    """The loss before the step at each rate, up to where it blows up."""
    optimizer = make()
    relative = [group["lr"] for group in optimizer.param_groups]
    losses: list[float] = []
    for number, rate in enumerate(rates):
        torch.manual_seed(seed + number)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(number)
        value = float(loss.detach())
        if not math.isfinite(value) or (losses and value > BLOWN * max(losses[0], LEAST)):
            break
        losses.append(value)
        torch.autograd.backward(loss)
        for group, share in zip(optimizer.param_groups, relative, strict=True):
            group["lr"] = rate * share
        optimizer.step()
    return losses


def smoothed(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S,) losses averaged with their neighbours on both sides, so that no lag moves the least."""
    decades = np.log10(rates)
    weights = np.exp(-0.5 * ((decades[:, None] - decades[None, :]) / SMOOTH) ** 2)
    out: NDArray[np.float64] = weights @ losses / weights.sum(axis=1)
    return out


def suggest(rates: NDArray[np.float64], smooth: NDArray[np.float64]) -> tuple[float, str]:
    """The rate to use, and why, from the rates of a sweep and their smoothed losses (S,)."""
    least = int(smooth.argmin())
    first, last = float(smooth[0]), float(rates[-1])
    if smooth[least] < (1.0 - FALLEN) * first:
        best = float(rates[least])
        told = f"the loss fell from {first:.3g} to {smooth[least]:.3g} at {best:.2g}"
        return _round(best * OF_LEAST), f"{told}: a third of that"
    told = f"the loss did not fall from {first:.3g} and blew up at {last:.2g}"
    return _round(last * OF_BLOWN), f"{told}: a thirtieth of that"


def _round(rate: float) -> float:
    """To two digits: more are chance, and would have to be written down."""
    return float(f"{rate:.1e}")
