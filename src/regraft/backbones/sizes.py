"""The shape of every value of a graph, as it depends on the batch and on the image size.

The graph runs a few times on ghosts: tensors with shapes and no numbers (device 'meta'; real ones
where an operation has no such form). Two batch sizes tell which axes are the batch, a second
image size, where the network takes one, tells which are space.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

from regraft.backbones.trace import Trace

BATCHES = (2, 3)
OTHER = (64, 128)  # added to height and width for the second image size

T = TypeVar("T")


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


@dataclass(frozen=True)
class Sizes:
    """What the runs showed.

    Attributes:
        shapes: per node that is a tensor; None if an axis is neither batch nor constant.
        flops: per node, multiply-adds times two for one row.
        changed: nodes whose value a later node changes in place.
    """

    shapes: dict[fx.Node, Shape | None]
    flops: dict[fx.Node, int]
    changed: set[fx.Node]


class _Record(fx.Interpreter):
    """Runs a graph and keeps every tensor, with its version and what it cost."""

    def __init__(self, module: nn.Module, found: Trace, counter: FlopCounterMode) -> None:
        super().__init__(module, garbage_collect_values=True, graph=found.graph)
        self.constants = found.constants
        self.counter = counter
        self.tensors: dict[fx.Node, tuple[torch.Tensor, int]] = {}
        self.flops: dict[fx.Node, int] = {}

    def fetch_attr(self, target: str) -> Any:
        return self.constants[target] if target in self.constants else super().fetch_attr(target)

    def run_node(self, n: fx.Node) -> Any:
        before = self.counter.get_total_flops()
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            self.tensors[n] = (value, value._version)
            self.flops[n] = self.counter.get_total_flops() - before
        return value


def ghost(module: nn.Module, device: str) -> nn.Module:
    """A copy of a module that may be run without changing the original's buffers."""
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        same = parameter.detach().to(device)
        memo[id(parameter)] = nn.Parameter(same, requires_grad=parameter.requires_grad)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.detach().to(device, copy=True)
    return copy.deepcopy(module, memo)


def on_ghosts(run: Callable[[str], T]) -> T:
    """`run('meta')`, or, where that is not possible, `run('cpu')`."""
    for device in ("meta", "cpu"):
        try:
            with quiet(), torch.random.fork_rng(devices=[]), torch.no_grad(), torch.device(device):
                return run(device)
        except Exception:  # whatever a network's code does to a tensor without numbers
            if device == "cpu":
                raise
    raise RuntimeError("unreachable")


def _run(model: nn.Module, found: Trace, shape: tuple[int, ...]) -> _Record:
    def run(device: str) -> _Record:
        with FlopCounterMode(display=False) as counter:
            record = _Record(ghost(model, device), found.on(device), counter)
            record.run(torch.zeros(shape))
        return record

    return on_ghosts(run)


def sizes_of(model: nn.Module, found: Trace, row: tuple[int, ...]) -> Sizes:
    """Run the graph of one mode.

    Args:
        model: the network that was traced.
        found: its graph.
        row: shape of one input without the batch axis, for images (C, H, W).
    """
    two, three = (_run(model, found, (b, *row)) for b in BATCHES)
    other: _Record | None = None
    if len(row) == 3:
        larger = (BATCHES[0], row[0], row[1] + OTHER[0], row[2] + OTHER[1])
        try:
            other = _run(model, found, larger)
        except Exception:  # any image size but its own may be refused in any way
            other = None
    shapes = {
        node: _shape(tensor, three.tensors.get(node), other.tensors.get(node) if other else None)
        for node, (tensor, _) in two.tensors.items()
    }
    changed = {node for node, (tensor, version) in two.tensors.items() if tensor._version > version}
    flops = {node: total // BATCHES[0] for node, total in two.flops.items()}
    return Sizes(shapes, flops, changed)


Kept = tuple[torch.Tensor, int]


def _shape(two: torch.Tensor, three: Kept | None, other: Kept | None) -> Shape | None:
    if three is None or two.ndim != three[0].ndim:
        return None
    axes = []
    for i, (a, b) in enumerate(zip(two.shape, three[0].shape, strict=True)):
        if a == b:
            axes.append(Axis(0, a, None if other is None else other[0].shape[i] != a))
        elif a * BATCHES[1] == b * BATCHES[0] and a % BATCHES[0] == 0:
            axes.append(Axis(a // BATCHES[0], 0, False))
        else:
            return None
    return tuple(axes)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps torch's own log from telling the user about failures that are expected here."""
    was = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(was)
