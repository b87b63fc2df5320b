"""Pictures, what breaks them, and a network whose BatchNorm remembers such pictures."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import nn

from regraft.backbones import Backbone
from regraft.data import Example, Skipped
from regraft.files import digest
from regraft.loading import Loader
from tests.nets import small
from tests.pictures import CLASSES, picture

Change = Callable[[Image.Image], Image.Image]
WIDTH = 24


def drawn(count: int, first: int = 0, change: Change = lambda image: image) -> list[Example]:
    """`count` pictures of every class, each other ones for another `first`."""
    made = []
    for kind in CLASSES:
        for number in range(first, first + count):
            out = io.BytesIO()
            change(picture(kind, number)).save(out, "PNG")
            raw = out.getvalue()
            made.append(Example(f"{kind}/{number}", lambda raw=raw: raw, kind))
    return made


def blurred(radius: float) -> Change:
    return lambda image: image.filter(ImageFilter.GaussianBlur(radius))


def noisy(level: float) -> Change:
    def change(image: Image.Image) -> Image.Image:
        noise = np.random.default_rng(0).normal(0, level, (*image.size, 3))
        return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))

    return change


def digests(examples: list[Example]) -> list[str]:
    return [digest(example.read()) for example in examples]


def pixels(net: Backbone, examples: list[Example]) -> torch.Tensor:
    """(B, 3, H, W), as the network gets them."""
    loaded = list(Loader(net.input, 1).each(examples))
    rows = [one.rows[0][1][0] for one in loaded if not isinstance(one, Skipped)]
    return net.input.preamble()(torch.from_numpy(np.stack(rows)))


def learned(seed: int = 0) -> Backbone:
    """The small network; its BatchNorm layers hold the statistics of 180 drawn pictures."""
    net = small(seed)
    network = net.network()
    x = pixels(net, drawn(60))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # all of them are one batch
        with torch.no_grad():
            network.train()(x)
        network.eval()
    return net


def ends(examples: list[Example]) -> np.ndarray:
    """Pooled features that only a classifier would read."""
    return np.zeros((len(examples), WIDTH), np.float32)
