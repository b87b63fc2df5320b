"""The facts about stages: shape, layout, parameters, work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt, prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from regraft.backbones.info import StageInfo
from regraft.backbones.sizes import Shape, ghost, on_ghosts
from regraft.errors import BackboneError
from regraft.stages import Flow, Stage, Stages

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Seen:
    """What a run showed of one stage.

    Attributes:
        given: shape of its input for one row.
        shape: shape of its output for one row.
        flops: multiply-adds times two for one row.
        changes_input: it works in place on what it is given.
        spatial: per axis of `shape` whether it follows the image size, if that is known.
        masked: the flow is a pair (x, mask).
    """

    given: tuple[int, ...]
    shape: tuple[int, ...]
    flops: int
    changes_input: bool
    spatial: tuple[bool, ...] | None = None
    masked: bool = False


def blank(index: int, name: str, kind: str) -> StageInfo:
    """A stage's facts before it was run."""
    return StageInfo(index=index, name=name, kind=kind, parameters=0, shape=(), layout="")


def spatial_axes(shape: Shape | None) -> tuple[bool, ...] | None:
    """Per axis but the batch whether it is space; None where that is not known."""
    if shape is None or any(axis.spatial is None for axis in shape):
        return None
    return tuple(bool(axis.spatial) for axis in shape[1:])


def complete(
    stages: Sequence[Stage], seen: Sequence[Seen], *, layout: str | None = None, prefix: int = 0
) -> Stages:
    """Write down what was seen.

    Args:
        stages: in order, with blank facts.
        seen: one per stage.
        layout: of every flow, if it is known.
        prefix: tokens that stand for no place, once they are there.
    """
    image = seen[0].given[-2:] if len(seen[0].given) == 3 else None
    layouts = [layout or _layout(one, image) for one in seen]
    for stage, one, found in zip(stages, seen, _agreed(layouts), strict=True):
        stage.keeps_input = one.changes_input
        stage.info = replace(
            stage.info,
            parameters=sum(p.numel() for p in stage.parameters()),
            shape=one.shape,
            layout=found,
            prefix_tokens=_prefix(one.shape, image, prefix) if found == "NLC" else 0,
            flops=one.flops,
            activation_bytes=prod(one.shape) * FLOAT_BYTES,
        )
    return Stages(stages)


def watch(stages: Sequence[Stage], flow: Flow) -> list[Seen]:
    """Run stages that were cut by hand, on ghosts, and tell what each does."""

    def run(device: str) -> list[Seen]:
        here, result = _moved(flow, device), []
        for stage in stages:
            body = ghost(stage.body, device)
            changes = any(_changes(body.train(mode), here) for mode in (True, False))
            given = tuple(first(here).shape[1:])
            with FlopCounterMode(display=False) as counter:
                here = body(_copied(here))
            top = first(here)
            if not isinstance(top, torch.Tensor) or top.ndim < 2:
                raise BackboneError(f"stage '{stage.info.name}' returns no tensor with a batch.")
            masked = isinstance(here, tuple | list) and len(here) == 2 and top.ndim == 3
            flops = counter.get_total_flops() // top.shape[0]
            result.append(Seen(given, tuple(top.shape[1:]), flops, changes, masked=masked))
        return result

    return on_ghosts(run)


def first(flow: Flow) -> Any:
    """The tensor that a flow begins with."""
    while isinstance(flow, tuple | list | dict) and flow:
        flow = next(iter(flow.values())) if isinstance(flow, dict) else flow[0]
    return flow


def _moved(flow: Flow, device: str) -> Flow:
    if isinstance(flow, tuple | list):
        return tuple(_moved(part, device) for part in flow)
    return flow.to(device) if isinstance(flow, torch.Tensor) else flow


def _copied(flow: Flow) -> Flow:
    if isinstance(flow, tuple | list):
        return tuple(_copied(part) for part in flow)
    return flow.clone() if isinstance(flow, torch.Tensor) else flow


def _changes(body: torch.nn.Module, flow: Flow) -> bool:
    given = _copied(flow)
    before = first(given)._version
    body(given)
    return bool(first(given)._version > before)


def _layout(seen: Seen, image: tuple[int, ...] | None) -> str:
    """'NC', 'NLC', 'NCHW', 'NHWC', 'NLC+mask', or '?' where the shape leaves it open."""
    if seen.masked:
        return "NLC+mask"
    if len(seen.shape) < 3:
        return "NC" if len(seen.shape) == 1 else "NLC"
    if seen.spatial in ((False, True, True), (True, True, False)):
        return "NCHW" if seen.spatial[-1] else "NHWC"
    a, b, c = seen.shape[:3]
    height, width = image or (1, 1)
    as_nchw, as_nhwc = abs(b * width - c * height), abs(a * width - b * height)
    if as_nchw == as_nhwc:
        return "?"
    return "NCHW" if as_nchw < as_nhwc else "NHWC"


def _agreed(layouts: list[str]) -> list[str]:
    """Open layouts are those of the nearest stage below, else above, else NCHW."""
    known = list(layouts)
    for step in (-1, 1):
        for i in range(len(known))[::-step]:
            near = known[i + step] if 0 <= i + step < len(known) else ""
            if known[i] == "?" and near in ("NCHW", "NHWC"):
                known[i] = near
    return [layout if layout != "?" else "NCHW" for layout in known]


def _prefix(shape: tuple[int, ...], image: tuple[int, ...] | None, prefix: int) -> int:
    """How many of the tokens stand for no place: those beyond a whole grid of patches."""
    if not prefix or image is None:
        return 0
    height, width = image
    for tokens in (prefix, 0):
        patches = shape[0] - tokens
        stride = isqrt(height * width // patches) if patches > 0 else 0
        if stride and (height // stride) * (width // stride) == patches:
            return tokens
    return prefix
