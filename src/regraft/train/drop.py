"""Stochastic depth: in training, whole residual branches are left out at random.

Huang et al. 2016, arXiv:1603.09382. Where a branch ends is found in this order:

1. modules called `drop_path…`: timm puts one at the end of each branch, an `Identity` where the
   network was built without stochastic depth;
2. else the module whose output is added to the block's own input, found in the traced graph
   (ResNet: the last normalisation of each block).

Nothing is replaced: a hook on that module scales or silences what it gives, so tensor names and
both graphs of a stage stay as they are. A rate that a network brings along is replaced.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import fx, nn
from torch.utils.hooks import RemovableHandle

from regraft.errors import OptionError
from regraft.stages import Stage

ADD = {operator.add, operator.iadd, torch.add}
ADD_METHODS = {"add", "add_"}
#: Modules on a projection shortcut: convolution, norm and perhaps a pool.
SHORTCUT = 3


class DropPath:
    """A hook: each row of a branch's output is 0 with probability `rate`, else divided by 1 - rate.

    Attributes:
        rate: 0..1, below 1.
        body: whose mode says whether it is training. Not the hooked module's own: BatchNorm stays
            in eval mode to keep its statistics.
        instead: the hooked module does nothing but this, at a rate of its own: do it instead.
    """

    def __init__(self, rate: float, body: nn.Module, instead: bool) -> None:
        self.rate = rate
        self.body = body
        self.instead = instead

    def __call__(self, module: nn.Module, args: Any, out: torch.Tensor) -> torch.Tensor:
        out = args[0] if self.instead else out
        if not self.body.training:
            return out
        keep = 1.0 - self.rate
        shape = (out.shape[0],) + (1,) * (out.ndim - 1)
        return out * out.new_empty(shape).bernoulli_(keep).div_(keep)


def drop_paths(stages: Iterable[Stage], rate: float) -> list[RemovableHandle]:
    """Give the residual branches of some stages rates that rise linearly with depth up to `rate`.

    It draws from torch's global generator. Adapters go in before, because they replace modules.

    Args:
        stages: those that are trained, in order.
        rate: of the last block, 0 <= rate < 1; 0 does nothing.

    Returns:
        Handles; `.remove()` of each undoes it.

    Raises:
        OptionError: the rate is out of range, or the stages have no residual branches.
    """
    if not 0.0 <= rate < 1.0:
        raise OptionError(f"drop_path must be at least 0 and below 1, not {rate}.")
    if not rate:
        return []
    stages = list(stages)
    blocks = [(stage.body, *block) for stage in stages for block in branches(stage)]
    if not blocks:
        names = f"'{stages[0].info.name}' and above" if stages else "the head alone"
        raise OptionError(
            f"drop_path leaves out residual branches, and what is trained ({names}) has none: "
            "leave it away, use dropout instead, or lower the cut."
        )
    handles = []
    for place, (body, ends, instead) in enumerate(blocks, start=1):
        hook = DropPath(rate * place / len(blocks), body, instead)
        handles += [end.register_forward_hook(hook) for end in ends]
    return handles


def branches(stage: Stage) -> list[tuple[list[nn.Module], bool]]:
    """Per residual block the modules that end its branches, and whether they are there for this."""
    named: dict[str, list[nn.Module]] = {}
    for path, module in stage.body.named_modules():
        parent, _, last = path.rpartition(".")
        if last.startswith("drop_path"):
            named.setdefault(parent, []).append(module)
    if named:
        return [(ends, True) for ends in named.values()]
    return [([end], False) for end in _ends(stage.body)]


class _Tracer(fx.Tracer):
    """Every module that is called is a leaf: a stage's graph calls no others."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _ends(body: nn.Module) -> list[nn.Module]:
    """The modules whose output is added to what their block began with, in order."""
    modes = {module: module.training for module in body.modules()}
    try:
        graph = _Tracer().trace(body.train())
    except Exception:  # whatever a stage's code does to a symbol: no branch is known then
        return []
    finally:
        for module, mode in modes.items():
            module.training = mode
    found = []
    for node in graph.nodes:
        end = _branch_end(node)
        if end is not None and len(end.users) == 1:
            found.append(body.get_submodule(str(end.target)))
    return list(dict.fromkeys(found))


def _branch_end(node: fx.Node) -> fx.Node | None:
    """The call of the module that ends the branch, if `node` is a block's sum."""
    function = node.op == "call_function" and node.target in ADD
    if not function and not (node.op == "call_method" and node.target in ADD_METHODS):
        return None
    sides = [side for side in node.args if isinstance(side, fx.Node)]
    if len(sides) != 2 or sides[0] is sides[1]:
        return None
    above = [_ancestors(side) for side in sides]
    for end, own, other, others in (
        (sides[0], above[0], sides[1], above[1]),
        (sides[1], above[1], sides[0], above[0]),
    ):
        if end.op == "call_module" and (other in own or _projects(other, others, end, own)):
            return end
    return None


def _projects(
    shortcut: fx.Node, above: dict[fx.Node, int], end: fx.Node, own: dict[fx.Node, int]
) -> bool:
    """Whether `shortcut` is a short way from where the branch that ends at `end` began."""
    common = [node for node in above if node in own]
    if not common:
        return False
    start = min(common, key=lambda node: above[node])
    return above[start] <= SHORTCUT and above[start] < own[start]


def _ancestors(node: fx.Node) -> dict[fx.Node, int]:
    """Every node that `node` depends on, with the number of steps to it."""
    steps = {node: 0}
    waiting = [node]
    for here in waiting:
        for source in here.all_input_nodes:
            if source not in steps:
                steps[source] = steps[here] + 1
                waiting.append(source)
    del steps[node]
    return steps
