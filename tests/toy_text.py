"""A whole modality in one file: what a newcomer adds, and nothing in the middle changes.

Words become (ids, mask); the stages pass `(x, padding mask)` to each other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.backbones import Backbone
from regraft.backbones.graph import network_of
from regraft.backbones.info import BackboneInfo, StageInfo
from regraft.backbones.request import Loaded
from regraft.data import Dataset, Example
from regraft.errors import BadFile
from regraft.stages import Stage, Stages

name = "toy-text"
WORDS, WIDTH, LENGTH = 64, 16, 10


@dataclass(frozen=True)
class TokenSpec:
    """Text as LENGTH word numbers and a mask."""

    length: int = LENGTH

    @property
    def modality(self) -> str:
        return "toy-text"

    def json(self) -> dict[str, Any]:
        return {"modality": "toy-text"} | asdict(self)

    def samples(self, count):
        return []

    def example(self):
        return np.zeros(self.length, np.int64), np.ones(self.length, np.int64)

    def preamble(self) -> nn.Module:
        return AsFlow()

    def traced(self) -> dict[str, Any]:
        return self.json()

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TokenSpec:
        return cls(data["length"])


class AsFlow(nn.Module):
    def forward(self, ids, mask):
        return ids, mask


# -- the decoder ----------------------------------------------------------------------------------
def fingerprint(spec: TokenSpec) -> dict[str, Any]:
    return {"name": name, "revision": 1}


def decode(raw: bytes, spec: TokenSpec):
    words = raw.decode().split()[: spec.length]
    if not words:
        raise BadFile("no word in it")
    ids, mask = spec.example()
    mask[:] = 0
    for place, word in enumerate(words):
        ids[place], mask[place] = sum(map(ord, word)) % WORDS, 1
    return ids, mask


# -- the finders ----------------------------------------------------------------------------------
def texts(folder: Any, *, least_classes: int = 2) -> Dataset:
    return _dataset(Path(folder), True)


def files(folder: Any) -> Dataset:
    return _dataset(Path(folder), False)


def _dataset(root: Path, labelled: bool) -> Dataset:
    found = [
        Example(p.relative_to(root).as_posix(), p, p.parent.name if labelled else None)
        for p in sorted(root.rglob("*.txt"))
    ]
    classes = tuple(sorted({e.label for e in found if e.label}))
    return Dataset(str(root), name, tuple(found), classes)


# -- the backbone ---------------------------------------------------------------------------------
class Embed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, WIDTH)

    def forward(self, flow):
        ids, mask = flow
        return self.table(ids), mask


class Layer(nn.Module):
    """Attention over the words that are there."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.norm = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, flow):
        x, mask = flow
        scores = self.mix(x) @ x.transpose(1, 2) / WIDTH**0.5
        scores = scores.masked_fill(mask[:, None, :] == 0, -1e4)
        return self.norm(x + scores.softmax(-1) @ x), mask


class Whole(nn.Module):
    """The same network in one piece."""

    def __init__(self, parts) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, flow):
        for part in self.parts:
            flow = part(flow)
        return flow


def toy_backbone() -> Backbone:
    torch.manual_seed(5)
    bodies = [Embed(), Layer(), Layer()]
    infos = [
        StageInfo(
            i,
            n,
            type(b).__name__,
            sum(p.numel() for p in b.parameters()),
            (LENGTH, WIDTH),
            "NLC+mask",
        )
        for i, (n, b) in enumerate(zip(("embed", "layer.0", "layer.1"), bodies, strict=True))
    ]
    stages = Stages([Stage(b, i) for b, i in zip(bodies, infos, strict=True)]).eval()
    network = network_of(stages)
    info = BackboneInfo("toy", "module", "", "ab" * 32, network, "", TokenSpec(), tuple(infos))
    whole = Loaded(Whole(bodies).eval(), TokenSpec(), "toy")
    return Backbone(info, lambda: (stages, whole), lambda size: toy_backbone())


def write_texts(folder: Path, per_class: int) -> Path:
    random = np.random.default_rng(0)
    words = {"sea": ["wave", "boat", "salt", "tide"], "hill": ["rock", "snow", "peak", "goat"]}
    for label, own in words.items():
        (folder / label).mkdir(parents=True)
        for number in range(per_class):
            said = random.choice([*own, *own, "the", "a"], random.integers(3, 9))
            (folder / label / f"{number:02d}.txt").write_text(" ".join([*said, own[number % 4]]))
    return folder
