"""The shape of every value of a graph, as it depends on the batch and on the image size.

The graph runs a few times on fake tensors (shapes without numbers): two batch sizes tell which
axes are the batch, a second image size, where the network takes one, tells which are space.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from regraft.backbones.trace import Trace

BATCHES = (2, 3)


@dataclass(frozen=True)
class Axis:
    """One axis of a value: `rows * batch + size` with one of both zero.

    Attributes:
        rows: how many entries each row of the batch has on this axis; 0 if it is not the batch.
        size: its length if it is not the batch; 0 otherwise.
        spatial: its length follows the image size; None where that could not be found out.
    """

    rows: int
    size: int
    spatial: bool | None


Shape = tuple[Axis, ...]


class _Record(fx.Interpreter):
    """Runs a graph and keeps the shape of every tensor."""

    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        super().__init__(module, garbage_collect_values=True, graph=graph)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            self.shapes[n] = tuple(value.shape)
        return value


def _run(model: nn.Module, found: Trace, shape: tuple[int, ...]) -> dict[fx.Node, tuple[int, ...]]:
    record = _Record(model, found.graph)
    with quiet(), torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        record.run(torch.empty(shape))
    return record.shapes


def shapes_of(model: nn.Module, found: Trace, row: tuple[int, ...]) -> dict[fx.Node, Shape | None]:
    """Per node that is a tensor: its shape, or None if an axis is neither batch nor constant.

    Args:
        model: the network that was traced.
        found: its graph.
        row: shape of one input without the batch axis, for images (C, H, W).
    """
    two, three = (_run(model, found, (b, *row)) for b in BATCHES)
    other: dict[fx.Node, tuple[int, ...]] | None = None
    if len(row) == 3:
        try:
            other = _run(model, found, (BATCHES[0], row[0], row[1] + 64, row[2] + 128))
        except Exception:  # any image size but its own may be refused in any way
            other = None
    return {n: _shape(a, three.get(n), other.get(n) if other else None) for n, a in two.items()}


def _shape(
    two: tuple[int, ...], three: tuple[int, ...] | None, other: tuple[int, ...] | None
) -> Shape | None:
    if three is None or len(two) != len(three):
        return None
    axes = []
    for i, (a, b) in enumerate(zip(two, three, strict=True)):
        if a == b:
            axes.append(Axis(0, a, None if other is None else other[i] != a))
        elif a * BATCHES[1] == b * BATCHES[0] and a % BATCHES[0] == 0:
            axes.append(Axis(a // BATCHES[0], 0, False))
        else:
            return None
    return tuple(axes)


class quiet:
    """Keeps torch's own log from telling the user about failures that are expected here."""

    def __enter__(self) -> None:
        self.was = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self.was)
