"""Any network of one input becomes stages: traced, opened, cut, described.

    trace (train, eval) ─► shapes ─► candidate cuts ─► groups ─► a module per stage ─► facts

No code per family. A module that `torch.fx` cannot trace through is taken as a whole, and the
network is cut around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from regraft.backbones import describe
from regraft.backbones.cuts import (
    Piece,
    Units,
    groups,
    in_all_modes,
    join,
    kind_of,
    name_of,
    pieces,
)
from regraft.backbones.parts import Builder, Mode, Segment, Traced, shared_tensors
from regraft.backbones.sizes import ghost, on_ghosts, quiet
from regraft.backbones.spelling import digest_of_graph, digest_of_module, digest_of_network
from regraft.backbones.trace import single_flow, trace
from regraft.errors import BackboneError
from regraft.stages import Stage, Stages

Row = tuple[int, ...]


def stages_of(model: nn.Module, row: Row) -> Stages:
    """Cut `model` into stages that share its parameters.

    Args:
        model: the network; it takes one tensor (B, *row).
        row: shape of one input without the batch axis, for images (C, H, W).

    Raises:
        BackboneError: its own `forward` cannot be traced.
    """
    try:
        with quiet():
            return _cut(model, row)
    except Exception as problem:
        _must_run(model, row)
        reason = str(problem).strip().splitlines() or [type(problem).__name__]
        raise BackboneError(
            f"the network {type(model).__name__} cannot be cut into stages ({reason[0]}); give "
            "its parts as an nn.Sequential, in the order in which they run."
        ) from problem


def _must_run(model: nn.Module, row: Row) -> None:
    """Tell a network that does not take such inputs from one that cannot be traced."""

    def run(device: str) -> None:
        ghost(model, device).eval()(torch.zeros(2, *row))

    try:
        on_ghosts(run)
    except Exception as problem:
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        size = " x ".join(map(str, row[1:] if len(row) == 3 else row))
        raise BackboneError(
            f"the network {type(model).__name__} cannot be used at {size} pixels ({reason}): "
            "choose another size."
        ) from problem


def by_hand(
    parts: dict[str, nn.Module] | Sequence[nn.Module], flow: Any, layout: str | None = None
) -> Stages:
    """Stages from modules that somebody else cut: each takes a flow and returns the next.

    Args:
        parts: the modules in order, with names or numbered.
        flow: an example of the first module's input, a batch of 2: a tensor or a tuple.
        layout: of every flow, if it does not follow from the shape: 'NLC', 'NLC+mask', …
    """
    named = parts if isinstance(parts, dict) else {str(i): p for i, p in enumerate(parts)}
    if not named:
        raise BackboneError("a backbone needs at least one stage: give at least one module.")
    stages = [
        Stage(body, describe.blank(i, name, type(body).__name__))
        for i, (name, body) in enumerate(named.items())
    ]
    return describe.complete(stages, describe.watch(stages, flow), layout=layout)


def network_of(stages: Stages) -> str:
    """The digest of what the stages compute in eval mode, apart from their weights."""
    return digest_of_network(
        [(_network(s.body), s.info.layout, s.info.prefix_tokens) for s in stages]
    )


def _network(body: nn.Module) -> str:
    return body.network if isinstance(body, Traced) else digest_of_module(body)


def _cut(model: nn.Module, row: Row) -> Stages:
    units = Units(model)
    modes, parts = [], []
    for training in (False, True):
        found = trace(model, training)
        mode = Mode(model, found, row)
        modes.append(mode)
        shapes = None if training else mode.sizes.shapes  # the same in both
        parts.append(pieces(found, single_flow(found), shapes, units))
    plain = in_all_modes(parts[0], parts[1])
    grouped = groups(plain)
    ends = [{piece.key: piece for piece in some} for some in parts]
    segments = [_segments(mode, grouped, end) for mode, end in zip(modes, ends, strict=True)]
    grouped = _joined(grouped, _spans(model, modes, segments))
    segments = [_segments(mode, grouped, end) for mode, end in zip(modes, ends, strict=True)]
    return _build(model, units, modes, segments, grouped, row)


def _segments(
    mode: Mode, grouped: list[list[Piece]], ends: dict[tuple[str, int], Piece]
) -> list[Segment]:
    """Where each group starts and ends in the graph of one mode."""
    result = []
    start, below = 1, mode.found.input
    for group in grouped:
        last = ends[group[-1].key]
        result.append(Segment(start, last.end, below, last.flow))
        if last.flow is not None:
            start, below = last.end + 1, last.flow
    return result


def _spans(
    model: nn.Module, modes: list[Mode], segments: list[list[Segment]]
) -> list[tuple[int, int]]:
    """First and last group of every parameter, and of every buffer that a layer works with."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for mode, cut in zip(modes, segments, strict=True):
        for k, segment in enumerate(cut):
            direct, context = mode.read(segment)
            for tensor in _tensors(model, direct, buffers=True) | _tensors(model, context):
                first[tensor] = min(k, first.get(tensor, k))
                last[tensor] = max(k, last.get(tensor, k))
    return [(first[t], last[t]) for t in first if first[t] != last[t]]


def _tensors(model: nn.Module, paths: set[str], buffers: bool = False) -> set[int]:
    """The identities of the parameters (and buffers) at or below some paths."""
    found: set[int] = set()
    for path in paths:
        item: Any = model
        for part in path.split("."):
            item = getattr(item, part)
        if isinstance(item, nn.Parameter):
            found.add(id(item))
        elif isinstance(item, nn.Module):
            found |= {id(p) for p in item.parameters()}
            if buffers:
                found |= {id(b) for b in item.buffers()}
    return found


def _joined(grouped: list[list[Piece]], spans: list[tuple[int, int]]) -> list[list[Piece]]:
    """Groups that share a tensor become one: it is frozen or trained as a whole."""
    glued = {k for first, last in spans for k in range(first + 1, last + 1)}
    result: list[list[Piece]] = []
    for k, group in enumerate(grouped):
        if k in glued:
            result[-1] = [*result[-1], replace(join(group), weight=sum(p.weight for p in group))]
        else:
            result.append(list(group))
    return result


def _build(
    model: nn.Module,
    units: Units,
    modes: list[Mode],
    segments: list[list[Segment]],
    grouped: list[list[Piece]],
    row: Row,
) -> Stages:
    shared = shared_tensors(modes, segments)
    used: set[str] = set()
    bodies, stages, seen = [], [], []
    below, start = row, 0
    for k, group in enumerate(grouped):
        body = Traced()
        cuts = [cut[k] for cut in segments]
        builders = [Builder(m, cut, body, shared) for m, cut in zip(modes, cuts, strict=True)]
        body.modes = {bool(i): builder.build() for i, builder in enumerate(builders)}
        plain = modes[0].found
        end = cuts[0].end + 1 if k + 1 < len(grouped) else len(plain.nodes)
        body.network = digest_of_graph(model, plain, start, end)
        bodies.append(body)
        name = name_of(group, units, used)
        kind = kind_of(group, units, name)
        fixed = below if any(builder.fixed for builder in builders) else None
        stages.append(Stage(body, describe.blank(k, name, kind), fixed=fixed))
        seen.append(_seen(modes, cuts, below))
        below, start = seen[-1].shape, end
    _hold_the_rest(model, bodies)
    prefix = int(getattr(model, "num_prefix_tokens", 0) or 0)
    return describe.complete(stages, seen, prefix=prefix).train(model.training)


def _seen(modes: list[Mode], cuts: list[Segment], below: Row) -> describe.Seen:
    """What the runs of the whole graph showed of one of its segments."""
    sizes, cut = modes[0].sizes, cuts[0]
    nodes = modes[0].found.nodes[cut.start : cut.end + 1]
    above = cut.above or next(n for n in reversed(nodes) if n in sizes.shapes)
    shape = sizes.shapes[above]
    if shape is None:
        raise BackboneError(f"the shape of the output '{above}' does not follow from the batch")
    return describe.Seen(
        given=below,
        shape=tuple(axis.size for axis in shape[1:]),
        flops=sum(sizes.flops.get(node, 0) for node in nodes),
        changes_input=cut.below in sizes.changed or cuts[1].below in modes[1].changed,
        spatial=describe.spatial_axes(shape),
    )


def _hold_the_rest(model: nn.Module, bodies: list[Traced]) -> None:
    """A tensor that no graph reads travels with its neighbour in the module tree."""
    owner: dict[int, Traced] = {}
    for body in bodies:
        for tensor in [*body.parameters(), *body.buffers()]:
            owner.setdefault(id(tensor), body)
    here = bodies[0]
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if id(tensor) in owner:
            here = owner[id(tensor)]
        else:
            here.hold(model, name)
