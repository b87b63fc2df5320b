"""The shape of every value of a graph, as it depends on the batch and on the image size.

The graph runs on ghosts: tensors with shapes and no numbers (device 'meta'). A batch of a large
prime number of rows costs nothing there and tells which axes are the batch; a second image size,
where the network takes one, tells which are space. Where an operation has no such form the graph
runs on numbers, with two small batches.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from regraft.backbones.trace import Trace

BATCHES = {"meta": (10_007,), "cpu": (2, 3)}
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

    def __init__(self, module: nn.Module, found: Trace, counter: FlopCounterMode | None) -> None:
        super().__init__(module, garbage_collect_values=True, graph=found.graph)
        self.constants = found.constants
        self.counter = counter
        self.tensors: dict[fx.Node, tuple[torch.Tensor, int]] = {}
        self.flops: dict[fx.Node, int] = {}

    def fetch_attr(self, target: str) -> Any:
        return self.constants[target] if target in self.constants else super().fetch_attr(target)

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(self.fetch_attr(target), _BatchNorm):  # slow on ghosts, and keeps the shape
            return torch.empty_like(args[0])
        return super().call_module(target, args, kwargs)

    def run_node(self, n: fx.Node) -> Any:
        before = self._spent()
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            self.tensors[n] = (value, value._version)
            self.flops[n] = self._spent() - before
        return value

    def _spent(self) -> int:
        return self.counter.get_total_flops() if self.counter else 0


def ghost(module: nn.Module, device: str) -> nn.Module:
    """A copy of a module that may be run without changing the original's buffers."""
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        same = parameter.detach().to(device)
        # The flop counter hooks gradients, and a parameter that is a module's input has none here.
        memo[id(parameter)] = nn.Parameter(same, requires_grad=False)
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


def _run(
    copy_: nn.Module, found: Trace, shape: tuple[int, ...], device: str, count: bool = False
) -> _Record:
    with FlopCounterMode(display=False) if count else nullcontext() as counter:
        record = _Record(copy_, found.on(device), counter)
        record.run(torch.zeros(shape, device=device))
    return record


def sizes_of(model: nn.Module, found: Trace, row: tuple[int, ...]) -> Sizes:
    """Run the graph of one mode.

    Args:
        model: the network that was traced.
        found: its graph.
        row: shape of one input without the batch axis, for images (C, H, W).
    """

    def run(device: str) -> Sizes:
        copy_, batches = ghost(model, device), BATCHES[device]
        runs = [_run(copy_, found, (b, *row), device, count=b == batches[0]) for b in batches]
        other = _larger(copy_, found, row, device)
        first = runs[0]
        shapes: dict[fx.Node, Shape | None] = {}
        for node, (tensor, _) in first.tensors.items():
            all_ = [tuple(r.tensors[node][0].shape) for r in runs if node in r.tensors]
            same = all(len(shape) == tensor.ndim for shape in all_)
            shapes[node] = _shape(all_, batches, other.get(node)) if same else None
        flops = {node: total // batches[0] for node, total in first.flops.items()}
        return Sizes(shapes, flops, _changed(first))

    return on_ghosts(run)


def changed_in(model: nn.Module, found: Trace, row: tuple[int, ...]) -> set[fx.Node]:
    """Nodes whose value a later node changes in place."""

    def run(device: str) -> set[fx.Node]:
        shape = (BATCHES["cpu"][0], *row)
        return _changed(_run(ghost(model, device), found, shape, device))

    return on_ghosts(run)


def _changed(record: _Record) -> set[fx.Node]:
    return {node for node, (tensor, then) in record.tensors.items() if tensor._version > then}


def _larger(
    copy_: nn.Module, found: Trace, row: tuple[int, ...], device: str
) -> dict[fx.Node, tuple[int, ...]]:
    """The shapes for a larger image; none if the network takes no other size."""
    if len(row) != 3:
        return {}
    shape = (BATCHES["cpu"][0], row[0], row[1] + OTHER[0], row[2] + OTHER[1])
    try:
        record = _run(copy_, found, shape, device)
    except Exception:  # in whatever way its code refuses a size
        return {}
    return {node: tuple(tensor.shape) for node, (tensor, _) in record.tensors.items()}


def _shape(
    shapes: list[tuple[int, ...]], batches: tuple[int, ...], other: tuple[int, ...] | None
) -> Shape | None:
    """The axes of one value from its shapes at some batch sizes."""
    axes = []
    for i, lengths in enumerate(zip(*shapes, strict=True)):
        rows, rest = divmod(lengths[0], batches[0])
        if rest == 0 and all(n == rows * b for n, b in zip(lengths, batches, strict=True)):
            axes.append(Axis(rows, 0, False))
        elif len(set(lengths)) == 1:
            spatial = None if other is None or len(other) <= i else other[i] != lengths[0]
            axes.append(Axis(0, lengths[0], spatial))
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
