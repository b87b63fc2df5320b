"""A network's graph, and which of its values depend on the input.

`torch.fx` (Reed et al., 2022, arXiv:2112.08429) records the calls. Modules without children are
leaves, and so is what timm declares not traceable; every leaf follows `train()` by itself. What
is written as a function (attention dropout, an auxiliary head behind `if self.training`) does
not, so a network is traced twice, once in each mode.

A value is *alive* only if its content depends on the input's content. Sizes, buffers, parameters
and what is computed from these alone is *context*: each stage computes what it needs of it.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx, nn

SIZE_ATTRIBUTES = {"shape", "ndim", "dtype", "device", "is_cuda", "requires_grad", "layout"}
SIZE_METHODS = {"size", "dim", "ndimension", "numel", "nelement", "get_device", "stride"} | {
    "is_floating_point",
    "is_contiguous",
    "is_complex",
}
INNER = "inner"
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class _OneInput(nn.Module):
    """Calls the network with its input alone: optional arguments of `forward` keep defaults.

    Traced as placeholders they would bridge every block and hide all cuts.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x)


class _Tracer(fx.Tracer):
    """Records for every node which modules returned it, the innermost first."""

    def __init__(self, leaves: set[str]) -> None:
        self.leaves = leaves
        self.opaque: str | None = None
        self.leaf_types: tuple[type[nn.Module], ...] = ()
        functions: tuple[Callable[..., Any], ...] = ()
        if "timm" in sys.modules:  # its registries matter only to networks that come from it
            from timm.layers import get_notrace_functions, get_notrace_modules

            self.leaf_types = tuple(get_notrace_modules())
            functions = tuple(f for f in get_notrace_functions() if callable(f))
        super().__init__(autowrap_functions=functions, param_shapes_constant=True)
        self.ends: dict[fx.Node, list[str]] = {}
        self.order: dict[fx.Node, int] = {}

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        self.order[node] = len(self.order)
        return node

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name != INNER and (
            module_qualified_name in self.leaves
            or type(m) in self.leaf_types
            or not any(True for _ in m.children())
            or super().is_leaf_module(m, module_qualified_name)
        )

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        before = len(self.order)
        path = self.path_of_module(m)
        try:
            out = super().call_module(m, forward, args, kwargs)
        except Exception:
            if self.opaque is None and path.startswith(INNER + "."):
                self.opaque = path  # the innermost one that cannot be traced through
            raise
        if path.startswith(INNER + "."):
            made = [p.node for p in _proxies(out) if self.order[p.node] >= before]
            for node in made:
                self.ends.setdefault(node, []).append(path[len(INNER) + 1 :])
        return out


def _proxies(out: Any) -> list[fx.Proxy]:
    if isinstance(out, fx.Proxy):
        return [out]
    return [p for p in out if isinstance(p, fx.Proxy)] if isinstance(out, tuple | list) else []


@dataclass
class Trace:
    """The graph of one mode.

    Attributes:
        nodes: in order; targets are paths in the original network.
        ends: per node the paths of the modules that returned it, the innermost first.
        constants: tensors that the network's own code made on the way, by target.
        alive: the nodes whose content depends on the input's content.
    """

    graph: fx.Graph
    nodes: list[fx.Node]
    ends: dict[fx.Node, list[str]]
    constants: dict[str, torch.Tensor]
    alive: set[fx.Node] = field(default_factory=set)

    @property
    def input(self) -> fx.Node:
        return self.nodes[0]

    def on(self, device: str) -> Trace:
        """The same trace with its constants on another device."""
        return replace(self, constants={k: v.to(device) for k, v in self.constants.items()})

    @property
    def output(self) -> fx.Node:
        return self.nodes[-1]


def _traced(root: nn.Module) -> tuple[_Tracer, fx.Graph]:
    """Trace; a module that cannot be traced through becomes a leaf, with all of its class."""
    leaves: set[str] = set()
    while True:
        tracer = _Tracer(leaves)
        try:
            return tracer, tracer.trace(root)
        except Exception:  # whatever its code does to a symbol
            if tracer.opaque is None or tracer.opaque in leaves:
                raise
            kind = type(root.get_submodule(tracer.opaque))
            same = {path for path, module in root.named_modules() if type(module) is kind}
            leaves |= {tracer.opaque} | (set() if kind in CONTAINERS else same)


def trace(model: nn.Module, training: bool) -> Trace:
    """Trace `model` as it stands in one mode, and leave it in the mode it was in.

    Raises:
        Exception: whatever the network's own code raises when it is run on symbols.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        root = _OneInput(model.train(training))
        tracer, graph = _traced(root)
    finally:
        for module, mode in modes.items():
            module.training = mode
    constants: dict[str, torch.Tensor] = {}
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            if not node.target.startswith(INNER):
                constants[node.target] = getattr(root, node.target)
            node.target = node.target.removeprefix(INNER).removeprefix(".")
    found = Trace(graph, list(graph.nodes), tracer.ends, constants)
    for node in found.nodes:
        if depends(node, found.alive):
            found.alive.add(node)
    return found


def is_size(node: fx.Node) -> bool:
    """Whether the node reads of a tensor only what does not depend on its content."""
    if node.op == "call_method":
        return node.target in SIZE_METHODS
    if node.op != "call_function":
        return False
    if node.target is getattr:
        return node.args[1] in SIZE_ATTRIBUTES
    return node.target in (len, torch.numel, torch.is_floating_point, operator.index)


def depends(node: fx.Node, alive: set[fx.Node]) -> bool:
    """Whether the node's content depends on the input's, given which earlier ones do."""
    if node.op == "placeholder":
        return True
    if node.op == "get_attr" or is_size(node):
        return False
    return any(source in alive for source in node.all_input_nodes)


def single_flow(found: Trace) -> dict[fx.Node, int]:
    """Per value that is at some point the only one alive: the first such position in `nodes`.

    Everything up to and including that position lies below, everything after it above.
    """
    place = {node: i for i, node in enumerate(found.nodes)}
    last: dict[fx.Node, int] = {}
    for node in found.alive:
        uses = [place[user] for user in node.users if not is_size(user)]
        if uses:
            last[node] = max(uses)
    result: dict[fx.Node, int] = {}
    live: set[fx.Node] = set()
    for i, node in enumerate(found.nodes[:-1]):
        if node in last:
            live.add(node)
        live = {n for n in live if last[n] > i}
        if len(live) == 1:
            result.setdefault(next(iter(live)), i)
    return result
