"""Small trunks that every engine must run alike."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from regraft.engine import Trunk
from regraft.inputs import ImageSpec, Row


class TwoDepths(nn.Module):
    """uint8 images in, two pooled depths out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.preamble = ImageSpec((16, 16)).preamble()
        self.low = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.high = nn.Sequential(nn.Conv2d(8, 5, 3, stride=2), nn.ReLU())

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        low = self.low(self.preamble(pixels))
        return low.mean((2, 3)), self.high(low).mean((2, 3))


class Masked(nn.Module):
    """(tokens, padding mask) in: rows of two arrays pass through an engine as well as one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.embed = nn.Embedding(20, 6)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor]:
        weight = mask.float().unsqueeze(-1)
        return ((self.embed(ids) * weight).sum(1) / weight.sum(1),)


def image_trunk(*wanted: str) -> Trunk:
    return Trunk(
        {"test": "two depths"},
        ("low", "high"),
        wanted or ("low", "high"),
        TwoDepths,
        ImageSpec((16, 16)).example(),
    )


def image_rows(count: int) -> list[Row]:
    random = np.random.default_rng(0)
    return [(random.integers(0, 256, (16, 16, 3), np.uint8),) for _ in range(count)]


def token_trunk() -> Trunk:
    example = (np.zeros(7, np.int64), np.ones(7, np.int64))
    return Trunk({"test": "masked"}, ("000",), ("000",), Masked, example)


def token_rows(count: int) -> list[Row]:
    random = np.random.default_rng(1)
    ids = random.integers(0, 20, (count, 7))
    mask = np.arange(7) < random.integers(1, 8, (count, 1))
    return [(i, m.astype(np.int64)) for i, m in zip(ids, mask, strict=True)]
