"""The fixed first step of a network, as a module, so that an engine can fold it into the graph."""

from __future__ import annotations

import torch
from torch import nn


class NormaliseImage(nn.Module):
    """(B, H, W, 3) uint8 in, (B, 3, H, W) float32 out: scaled to 0..1, minus mean, over std."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        shape = (1, -1, 1, 1)
        mean_t, std_t = torch.tensor(mean), torch.tensor(std)
        self.register_buffer("scale", (1.0 / (255.0 * std_t)).reshape(shape), persistent=False)
        self.register_buffer("shift", (-mean_t / std_t).reshape(shape), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.permute(0, 3, 1, 2).float() * self.scale + self.shift
