"""Where a network may be cut: after modules that a person would name.

The module tree is *opened* from the root down: a Sequential, and whatever holds several blocks of
one kind, is opened; a block (several layers with weights that belong together) is not. What is
left are *units*. A unit that ends where only one value is alive may end a stage. A convolution is
joined with the norm, activation and pooling that follow it, a final norm and the final pooling
are stages of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from torch import fx, nn

from regraft.backbones.sizes import Shape
from regraft.backbones.trace import Trace

TRIVIAL = ("Identity", "Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "DropPath")


def heavy(module: nn.Module) -> int:
    """How many modules in it have a matrix of weights: convolutions, linear layers, tables."""
    return sum(any(p.ndim > 1 for p in m.parameters(recurse=False)) for m in module.modules())


class Units:
    """The module tree, opened."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = dict(model.named_modules())
        self.weight = {path: heavy(module) for path, module in self.modules.items()}
        self.open = {""}
        for path, module in self.modules.items():
            if path and path.rpartition(".")[0] in self.open and self._opens(module):
                self.open.add(path)

    def _opens(self, module: nn.Module) -> bool:
        if heavy(module) < 2:
            return False
        listed = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        return listed or any(_holds_blocks(part) for part in module.modules())

    def named(self, path: str) -> bool:
        """Whether a stage may end where the module at `path` does."""
        return path.rpartition(".")[0] in self.open

    def trivial(self, path: str) -> bool:
        """Whether the module does nothing when the network is used."""
        return type(self.modules[path]).__name__ in TRIVIAL


def _holds_blocks(module: nn.Module) -> bool:
    kinds = Counter(type(child) for child in module.children() if heavy(child) > 1)
    return any(count > 1 for count in kinds.values())


@dataclass(frozen=True)
class Piece:
    """The nodes between two candidates.

    Attributes:
        key: (path, occurrence) of the unit that it ends with; the same in every mode and version.
        end: position of its last node.
        flow: the one value alive after it.
        weight: layers with a matrix of weights in it.
        tensors: it has parameters or buffers at all.
        vector: one vector per row comes out: no space, no tokens.
        paths: the units that end here, candidates for a name.
    """

    key: tuple[str, int]
    end: int
    flow: fx.Node | None
    weight: int
    tensors: bool
    vector: bool
    paths: tuple[str, ...]


def pieces(
    found: Trace,
    flows: dict[fx.Node, int],
    shapes: dict[fx.Node, Shape | None] | None,
    units: Units,
) -> list[Piece]:
    """Split the nodes at every candidate; the last piece reaches to the output.

    Args:
        found: the graph of one mode.
        flows: where only one value is alive, and which.
        shapes: of the values; None if those of another mode decide.
        units: the network's modules, opened.
    """
    result: list[Piece] = []
    seen: Counter[str] = Counter()
    start = 1
    ends = [
        (i, n)
        for n, i in flows.items()
        if n is not found.input and (shapes is None or _batch_first(shapes.get(n)))
    ]
    shapes = shapes or {}
    for end, node in sorted(ends, key=lambda pair: pair[0]):
        paths = [p for p in found.ends.get(node, []) if units.named(p)]
        if paths and not _returned(found, node):
            seen[paths[0]] += 1
            key = (paths[0], seen[paths[0]])
            weight, tensors = _load(found.nodes[start : end + 1], units)
            vector = _vector(shapes.get(node))
            result.append(Piece(key, end, node, weight, tensors, vector, tuple(paths)))
            start = end + 1
    weight, tensors = _load(found.nodes[start:-1], units)
    out = found.output.args[0]
    top = out if isinstance(out, fx.Node) else None
    paths = [p for p in found.ends.get(top, []) if units.named(p)] if top else []
    vector = top is not None and _vector(shapes.get(top))
    last = len(found.nodes) - 1
    return [*result, Piece(("", 0), last, top, weight, tensors, vector, tuple(paths))]


def _returned(found: Trace, node: fx.Node) -> bool:
    return found.output.args[0] is node


def _batch_first(shape: Shape | None) -> bool:
    return bool(shape) and shape[0].rows == 1 and not any(a.rows for a in shape[1:])  # type: ignore[index]


def _vector(shape: Shape | None) -> bool:
    """One vector per row, at whatever image size."""
    if shape is None or any(a.spatial for a in shape):
        return False
    return prod(a.size for a in shape[1:]) == max(a.size for a in shape[1:])


def _load(nodes: Sequence[fx.Node], units: Units) -> tuple[int, bool]:
    """Layers with a matrix of weights, and whether there is any parameter or buffer."""
    called = {str(n.target) for n in nodes if n.op == "call_module"}
    weight = sum(units.weight[path] for path in called)
    tensors = any(n.op == "get_attr" for n in nodes) or any(
        units.modules[p].state_dict() for p in called
    )
    return weight, tensors


def groups(parts: list[Piece]) -> list[list[Piece]]:
    """Join pieces into stages."""
    result: list[list[Piece]] = []
    for piece in parts:
        if result and not _starts(result[-1], piece, first=len(result) == 1):
            result[-1].append(piece)
        else:
            result.append([piece])
    return result


def _starts(before: list[Piece], piece: Piece, first: bool) -> bool:
    weight = sum(p.weight for p in before)
    if piece.vector and not before[-1].vector:
        return True
    if piece.weight:
        return weight > 0 or not first  # a norm of the input goes with the first convolution
    return piece.tensors and weight > 1


def join(parts: list[Piece]) -> Piece:
    """Several neighbours as one piece that ends like the last of them."""
    last = parts[-1]
    weight, tensors = sum(p.weight for p in parts), any(p.tensors for p in parts)
    return replace(last, weight=weight, tensors=tensors)


def in_all_modes(parts: list[Piece], others: list[Piece]) -> list[Piece]:
    """`parts`, joined where the other mode's graph cannot be cut."""
    kept = {piece.key for piece in others}
    result: list[Piece] = []
    waiting: list[Piece] = []
    for piece in parts:
        waiting.append(piece)
        if piece.key in kept:
            result.append(join(waiting))
            waiting = []
    return result


def kind_of(group: list[Piece], units: Units, name: str) -> str:
    """The class of the first module in the group with a matrix of weights, else of the last."""
    layers = [p.paths[0] for p in group if p.weight and p.paths]
    path = layers[0] if layers else name
    return type(units.modules[path]).__name__ if path in units.modules else name


def name_of(group: list[Piece], units: Units, used: set[str]) -> str:
    """The path of the last module in the group that does something; 'pool' if none does."""
    paths = [path for piece in group for path in piece.paths[:1]]
    real = [path for path in paths if not units.trivial(path)]
    name = real[-1] if real else ("pool" if group[-1].vector else (paths or ["out"])[-1])
    while name in used:
        name += "_"
    used.add(name)
    return name
