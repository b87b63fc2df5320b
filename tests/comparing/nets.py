"""A small network that came with a classifier, as published ones do."""

from __future__ import annotations

import torch
from torch import nn

from regraft.backbones import Backbone
from tests.nets import small


class Whole(nn.Module):
    """The network with its classifier: (B, 3, H, W) in, (B, 7) out."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(24, 7)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.body(x))
        return out


def published(seed: int = 0) -> Backbone:
    """`tests.nets.small` whose `classifier()` is there."""
    net = small(seed)
    _, loaded = net._whole()

    def whole() -> nn.Module:
        torch.manual_seed(seed)
        made = Whole(loaded.model)
        with torch.no_grad():
            made.head.weight.mul_(20)  # answers that differ from picture to picture
        return made

    loaded.whole = whole
    return net
