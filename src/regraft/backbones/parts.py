"""From the graph of a whole network to one small graph, and one module, per stage.

What a stage needs of the context it computes itself, from its own parameters and from the flow
that it is given. Sizes of values below the cut come from the trace, except the batch, which is
read from the flow. A buffer that several stages read (rotary tables) belongs to one of them; the
others hold what they need of it as a constant that is not saved.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import fx, nn

from regraft.backbones.sizes import Axis, Shape, Sizes, changed_in, sizes_of
from regraft.backbones.trace import Trace, is_size
from regraft.errors import BackboneError


def axes_of(flow: torch.Tensor, axes: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """The shape of a value below the cut: `rows * batch + size` per axis."""
    return tuple(flow.shape[0] * rows + size if rows else size for rows, size in axes)


def axis_of(flow: torch.Tensor, rows: int) -> int:
    """An axis of a value below the cut that is a multiple of the batch."""
    return flow.shape[0] * rows if rows > 1 else flow.shape[0]


@dataclass(frozen=True)
class Segment:
    """Positions start..end of a graph; `below` is the value that comes in, `above` the one out."""

    start: int
    end: int
    below: fx.Node
    above: fx.Node | None


class Traced(nn.Module):
    """The body of a stage: modules and tensors under their original names, one function a mode.

    Attributes:
        modes: what runs, by whether it is training.
        network: the digest of what it computes in eval mode.
    """

    def __init__(self) -> None:
        super().__init__()
        self.modes: dict[bool, Callable[..., Any]] = {}
        self.network = ""

    def forward(self, flow: torch.Tensor) -> Any:
        return self.modes[self.training](self, flow)

    def hold(self, model: nn.Module, path: str) -> None:
        """Take the module, parameter or buffer at `path` of `model` under the same name."""
        parents, _, last = path.rpartition(".")
        there: Any = model
        holder: nn.Module = self
        for part in parents.split(".") if parents else []:
            there = getattr(there, part)
            if part not in holder._modules:
                holder.add_module(part, nn.Module())
            if holder._modules[part] is there:
                return  # the whole module is held already
            holder = getattr(holder, part)
        item = getattr(there, last)
        if isinstance(item, nn.Module):
            holder.add_module(last, item)
        elif isinstance(item, nn.Parameter):
            holder.register_parameter(last, item)
        elif isinstance(item, torch.Tensor):
            persistent = last not in there._non_persistent_buffers_set
            holder.register_buffer(last, item, persistent=persistent)
        else:
            object.__setattr__(holder, last, item)

    def constant(self, value: torch.Tensor) -> str:
        """The name under which a tensor that is not saved is held; equal ones are held once."""
        held = {k: v for k, v in self.named_buffers(recurse=False) if k.startswith("context_")}
        for name, known in held.items():
            same = known.dtype == value.dtype and known.shape == value.shape
            if same and not value.is_meta and torch.equal(known, value):
                return name
        name = f"context_{len(held)}"
        self.register_buffer(name, value, persistent=False)
        return name


class Mode:
    """One mode's graph, and which tensors of the network its segments read."""

    def __init__(self, model: nn.Module, found: Trace, row: tuple[int, ...]) -> None:
        self.model = model
        self.found = found
        self.row = row
        self.values: dict[fx.Node, Any] = {}

    @cached_property
    def sizes(self) -> Sizes:
        """The shapes of all values, and what they cost."""
        return sizes_of(self.model, self.found, self.row)

    @cached_property
    def changed(self) -> set[fx.Node]:
        """Nodes whose value a later node changes in place."""
        return changed_in(self.model, self.found, self.row)

    def wanted(self, segment: Segment) -> list[fx.Node]:
        """The nodes of a segment that must run in any case, in order."""
        nodes = self.found.nodes[segment.start : segment.end + 1]
        return [n for n in nodes if n in self.found.alive and n.op != "output"]

    def constant(self, node: fx.Node) -> bool:
        """Whether the node is a tensor that the network's own code made while it was traced."""
        return node.op == "get_attr" and node.target in self.found.constants

    def read(self, segment: Segment) -> tuple[set[str], set[str]]:
        """Paths of the modules and tensors that a segment's values, and its context, read."""
        direct: set[str] = set()
        context: set[str] = set()
        seen: set[fx.Node] = set()
        waiting = self.wanted(segment)
        if segment.above is None or self.found.nodes[segment.end].op == "output":
            waiting = [*waiting, *self.found.output.all_input_nodes]
        inside = set(waiting)
        while waiting:
            node = waiting.pop()
            if node in seen or (node in self.found.alive and node not in inside):
                continue
            seen.add(node)
            if node.op in ("call_module", "get_attr") and not self.constant(node):
                (direct if node in self.found.alive else context).add(str(node.target))
            if not is_size(node):
                waiting.extend(node.all_input_nodes)
        return direct, context


class Builder:
    """Makes the graph of one segment in one mode; `body` gets what the graph needs."""

    def __init__(self, mode: Mode, segment: Segment, body: Traced, shared: set[str]) -> None:
        self.mode = mode
        self.segment = segment
        self.body = body
        self.shared = shared
        self.graph = fx.Graph()
        self.env: dict[fx.Node, Any] = {}
        self.fixed = False

    def build(self) -> Callable[..., Any]:
        """A function `(body, flow) -> flow`."""
        self.flow = self.graph.placeholder("flow")
        self.env[self.segment.below] = self.flow
        for node in self.mode.wanted(self.segment):
            if node is not self.segment.below:
                self.env[node] = self.graph.node_copy(node, self.get)
        if self.mode.found.nodes[self.segment.end].op == "output":
            out = fx.map_arg(self.mode.found.output.args[0], self.get)
        else:
            out = self.env[self.segment.above]  # type: ignore[index]
        self.graph.output(out)
        for node in self.graph.nodes:
            if node.op in ("call_module", "get_attr") and not self._is_constant(node):
                self.body.hold(self.mode.model, str(node.target))
        return _function(self.graph)

    def _is_constant(self, node: fx.Node) -> bool:
        return node.op == "get_attr" and str(node.target).startswith("context_")

    def get(self, node: fx.Node) -> Any:
        """The copy of `node` in the new graph, or its value if it is a constant here."""
        if node not in self.env:
            self.env[node] = self._context(node)
        return self.env[node]

    def _context(self, node: fx.Node) -> Any:
        if node in self.mode.found.alive:
            raise BackboneError(f"the value '{node}' crosses a cut that was thought to be clean.")
        if is_size(node):
            source = node.all_input_nodes[0]
            return self._size(node, source) if source not in self.env else self._copy(node)
        if node.op == "call_function" and node.target is operator.getitem:
            size, index = node.args
            if isinstance(size, fx.Node) and isinstance(index, int) and self._is_shape(size):
                return self._axis(self._axes(size.all_input_nodes[0])[index])
        if self.mode.constant(node):
            return self._constant(self.mode.found.constants[str(node.target)])
        if self._folds(node):
            return self._constant(self._value(node))
        return self._copy(node)

    def _copy(self, node: fx.Node) -> fx.Node:
        return self.graph.node_copy(node, self.get)

    def _is_shape(self, node: fx.Node) -> bool:
        """Whether the node is the whole shape of a value that lies below this stage."""
        if not is_size(node) or node.all_input_nodes[0] in self.env:
            return False
        attribute = node.op == "call_function" and node.args[1:] == ("shape",)
        return attribute or (node.target == "size" and len(node.args) == 1 and not node.kwargs)

    def _axes(self, source: fx.Node) -> Shape:
        shape = self.mode.sizes.shapes.get(source)
        if shape is None:
            raise BackboneError(f"the shape of '{source}' does not follow from the batch alone.")
        return shape

    def _axis(self, axis: Axis) -> Any:
        if axis.rows:
            return self.graph.call_function(axis_of, (self.flow, axis.rows))
        self.fixed = self.fixed or axis.spatial is not False
        return axis.size

    def _size(self, node: fx.Node, source: fx.Node) -> Any:
        """A size, type or place of a value that lies below this stage."""
        if node.op == "call_function" and node.args[1:] in (("dtype",), ("device",)):
            return self.graph.call_function(getattr, (self.flow, node.args[1]))
        axes = self._axes(source)
        if self._is_shape(node):
            self.fixed = self.fixed or any(a.spatial is not False for a in axes)
            pairs = tuple((a.rows, a.size) for a in axes)
            return self.graph.call_function(axes_of, (self.flow, pairs))
        if node.target == "size":
            index = node.args[1] if len(node.args) > 1 else node.kwargs["dim"]
            return self._axis(axes[index])  # type: ignore[index]
        if node.target in ("dim", "ndimension") or node.args[1:] == ("ndim",):
            return len(axes)
        if node.target is len:
            return self._axis(axes[0])
        raise BackboneError(f"'{node.target}' of a value below the cut cannot be known above it.")

    def _folds(self, node: fx.Node) -> bool:
        """Whether the node follows from shared buffers and constant sizes alone."""
        paths: set[str] = set()
        seen: set[fx.Node] = set()
        waiting = [node]
        while waiting:
            here = waiting.pop()
            if here in seen:
                continue
            seen.add(here)
            if is_size(here):
                source = here.all_input_nodes[0]
                if source in self.env or not self._sized_without_batch(here):
                    return False
                continue
            if here.op in ("call_module", "get_attr") and not self.mode.constant(here):
                paths.add(str(here.target))
            if not self._batchless_item(here):
                waiting.extend(here.all_input_nodes)
        learned = any(_has_parameters(self.mode.model, path) for path in paths)
        return bool(paths & self.shared) and not learned

    def _batchless_item(self, node: fx.Node) -> bool:
        """Whether the node is one constant axis of a shape below."""
        if node.target is not operator.getitem or not isinstance(node.args[0], fx.Node):
            return False
        if not (self._is_shape(node.args[0]) and isinstance(node.args[1], int)):
            return False
        return not self._axes(node.args[0].all_input_nodes[0])[node.args[1]].rows

    def _sized_without_batch(self, node: fx.Node) -> bool:
        if node.op == "call_function" and node.args[1:] in (("dtype",), ("device",)):
            return True
        if node.target == "size" and len(node.args) > 1:
            return not self._axes(node.all_input_nodes[0])[node.args[1]].rows  # type: ignore[index]
        return node.target in ("dim", "ndimension") or node.args[1:] == ("ndim",)

    def _value(self, node: fx.Node) -> Any:
        """The value of a node that follows from buffers and constant sizes."""
        known = self.mode.values
        if node not in known:
            if self.mode.constant(node):
                known[node] = self.mode.found.constants[str(node.target)]
            elif is_size(node) or self._batchless_item(node):
                known[node] = self._known_size(node)
            else:
                args = fx.map_arg(node.args, self._value)
                kwargs = fx.map_arg(node.kwargs, self._value)
                run = fx.Interpreter(self.mode.model, graph=self.mode.found.graph)
                with torch.no_grad():
                    known[node] = getattr(run, node.op)(node.target, args, kwargs)
        return known[node]

    def _known_size(self, node: fx.Node) -> Any:
        if node.op == "call_function" and node.args[1:] == ("dtype",):
            return torch.float32
        if node.op == "call_function" and node.args[1:] == ("device",):
            return torch.device("cpu")
        if node.target is operator.getitem:
            shape: fx.Node = node.args[0]  # type: ignore[assignment]
            return self._axis(self._axes(shape.all_input_nodes[0])[node.args[1]])  # type: ignore[index]
        return self._size(node, node.all_input_nodes[0])

    def _constant(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            name = self.body.constant(value.detach())
            return self.graph.create_node("get_attr", name)
        if isinstance(value, tuple | list):
            return type(value)(self._constant(part) for part in value)
        return value


def _has_parameters(model: nn.Module, path: str) -> bool:
    item: Any = model
    for part in path.split("."):
        item = getattr(item, part)
    if isinstance(item, nn.Module):
        return any(True for _ in item.parameters())
    return isinstance(item, nn.Parameter)


def _function(graph: fx.Graph) -> Callable[..., Any]:
    graph.lint()
    code = graph.python_code("self")
    scope = dict(code.globals)
    exec(compile(code.src, "<a stage's graph>", "exec"), scope)  # source that torch.fx wrote
    return scope["forward"]  # type: ignore[no-any-return]


def shared_tensors(modes: Sequence[Mode], segments: Sequence[Sequence[Segment]]) -> set[str]:
    """Paths that the context of several stages reads."""
    count: Counter[str] = Counter()
    for k in range(len(segments[0])):
        paths: set[str] = set()
        for mode, cut in zip(modes, segments, strict=True):
            direct, context = mode.read(cut[k])
            paths |= direct | context
        count.update(paths)
    return {path for path, n in count.items() if n > 1}
