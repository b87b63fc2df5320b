"""The running mean of the weights: smoother than the weights of any one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from regraft.errors import TrainingError

Tensors = dict[str, torch.Tensor]
UPDATES = "updates"


class Ema:
    """An exponential running mean of parameters (Polyak & Juditsky 1992; decay as in timm).

    After `t` updates the decay is min(decay, (1 + t) / (10 + t)), so that the weights of the
    beginning do not linger. Buffers, such as the statistics of BatchNorm, are not averaged: with
    the mean swapped in, the module has those of the last step.

    Args:
        parameters: what is trained, by name; the mean begins as a copy of them.
        decay: 0..1, share of the old mean that an update keeps.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._live = dict(parameters)
        self._mean = {name: live.detach().clone() for name, live in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now; call it after each step of the optimizer."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        live: list[torch.Tensor] = list(self._live.values())
        torch._foreach_lerp_(list(self._mean.values()), live, 1.0 - decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Within the block the module computes with the mean; after it with its own weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, live in self._live.items():
            held = live.detach().clone()
            live.copy_(self._mean[name])
            self._mean[name].copy_(held)

    def state(self) -> Tensors:
        """A copy of the mean by the parameters' names, with how often it was updated."""
        held = {
            name: mean.to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, mean in self._mean.items()
        }
        return held | {UPDATES: torch.tensor(self.updates)}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `state` gave.

        Raises:
            TrainingError: it belongs to other parameters.
        """
        if set(tensors) != {*self._mean, UPDATES}:
            raise TrainingError(
                "the checkpoint's running mean is that of other parameters: it belongs to another "
                "plan, so start this one in another folder."
            )
        self.updates = int(tensors[UPDATES])
        for name, mean in self._mean.items():
            mean.copy_(tensors[name])
