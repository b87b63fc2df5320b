"""A small network as a backbone: quick to convert, with real stages."""

from __future__ import annotations

import torch
from torch import nn

from regraft.backbones import Backbone, from_module
from regraft.inputs import ImageSpec


class Block(nn.Module):
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.conv(x)))


class Small(nn.Module):
    """Three blocks and a pool: (B, 3, H, W) in, (B, 24) out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Block(3, 12)
        self.middle = Block(12, 16)
        self.top = Block(16, 24)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.flat(self.pool(self.top(self.middle(self.stem(x)))))


def small(seed: int = 0, side: int = 32) -> Backbone:
    """The small network with seeded random weights."""
    torch.manual_seed(seed)
    return from_module(Small().eval(), input=ImageSpec((side, side)), name="small")
