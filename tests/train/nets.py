"""Small networks to train, and batches for them."""

from __future__ import annotations

import torch
from torch import nn


def convolutions(seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    """(B, 3, 8, 8) to (B, 4), three stages: a convolution, another with BatchNorm, the head."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.BatchNorm2d(12), nn.ReLU()),
        nn.Sequential(nn.Dropout(dropout), nn.Flatten(), nn.Linear(12 * 16, 4)),
    )


def batch(number: int = 0, rows: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 3, 8, 8) floats whose mean tells the class, and their classes (B,)."""
    random = torch.Generator().manual_seed(number)
    labels = torch.randint(0, 4, (rows,), generator=random)
    noise = torch.randn(rows, 3, 8, 8, generator=random)
    return noise + labels.view(-1, 1, 1, 1), labels


def loss_of(net: nn.Module, number: int = 0, rows: int = 16) -> torch.Tensor:
    """The mean cross entropy of a batch."""
    x, labels = batch(number, rows)
    return nn.functional.cross_entropy(net(x), labels)


def copied(net: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of every parameter and buffer."""
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two states hold the same bits."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Broken(torch.autograd.Function):
    """The way back cannot be had."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no compiler")
