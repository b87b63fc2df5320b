"""The facts about stages: shape, layout, parameters, work; found by running them on shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isqrt, prod
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from regraft.backbones.info import StageInfo
from regraft.backbones.sizes import Shape, quiet
from regraft.errors import BackboneError
from regraft.stages import Flow, Stage, Stages

FLOAT_BYTES = 4


def blank(index: int, name: str) -> StageInfo:
    """A stage's facts before it was run."""
    return StageInfo(index=index, name=name, kind="", parameters=0, shape=(), layout="")


def complete(
    stages: Sequence[Stage],
    kinds: Sequence[str],
    flow: Flow,
    *,
    layout: str | None = None,
    axes: Sequence[Shape | None] | None = None,
    prefix: int = 0,
    fixed: Sequence[bool] | None = None,
) -> Stages:
    """Run the stages on shapes and write down what is found.

    Args:
        stages: in order, with blank facts.
        kinds: what a person calls each.
        flow: an example of the first stage's input, a batch of 2.
        layout: of every flow, if it is known.
        axes: per stage the shape of its output, with which axes are space.
        prefix: tokens that are no patches, once they are there.
        fixed: per stage whether sizes of its input are constants inside.
    """
    images = _first(flow).shape[-2:] if _first(flow).ndim == 4 else None
    before: list[tuple[int, ...]] = []
    infos: list[StageInfo] = []
    with quiet(), torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True) as fake:
        flow = _faked(fake, flow)
        for stage in stages:
            before.append(tuple(_first(flow).shape[1:]))
            stage.keeps_input = _changes_input(stage, flow)
            with FlopCounterMode(display=False) as counter:
                flow = stage.eval()(flow)
            if not isinstance(_first(flow), torch.Tensor):
                raise BackboneError(f"stage '{stage.info.name}' returns no tensor.")
            shape = tuple(_first(flow).shape)
            numbers = sum(p.numel() for p in stage.parameters())
            info = replace(stage.info, kind=kinds[stage.info.index], parameters=numbers)
            known = axes[stage.info.index] if axes else None
            infos.append(
                replace(
                    info,
                    shape=shape[1:],
                    layout=layout or _layout(flow, known, images),
                    flops=counter.get_total_flops() // shape[0],
                    activation_bytes=prod(shape[1:]) * FLOAT_BYTES,
                )
            )
    for i, info in enumerate(_agreed(infos)):
        tokens = _prefix(info, images, prefix)
        stages[i].info = replace(info, prefix_tokens=tokens)
        stages[i].fixed = before[i] if fixed and fixed[i] else None
    return Stages(stages)


def _first(flow: Flow) -> Any:
    while isinstance(flow, tuple | list) and flow:
        flow = flow[0]
    if isinstance(flow, dict):
        return _first(next(iter(flow.values())))
    return flow


def _faked(fake: FakeTensorMode, flow: Flow) -> Flow:
    if isinstance(flow, tuple | list):
        return tuple(_faked(fake, part) for part in flow)
    return fake.from_tensor(flow)


def _changes_input(stage: Stage, flow: Flow) -> bool:
    """Whether the stage's body works in place on what it is given, in either mode."""
    if isinstance(flow, tuple | list):
        return False
    for training in (False, True):
        given = flow.clone()
        before = given._version
        stage.train(training).body(given)
        if given._version != before:
            return True
    return False


def _layout(flow: Flow, axes: Shape | None, images: Any) -> str:
    """'NC', 'NLC', 'NCHW', 'NHWC', 'NLC+mask', or '?' where the shape leaves it open."""
    shape = tuple(_first(flow).shape)
    if isinstance(flow, tuple | list) and len(flow) == 2 and len(shape) == 3:
        return "NLC+mask"
    if len(shape) < 4:
        return "NC" if len(shape) == 2 else "NLC"
    spatial = tuple(bool(a.spatial) for a in axes[1:]) if axes else ()
    if spatial in ((False, True, True), (True, True, False)):
        return "NCHW" if spatial[-1] else "NHWC"
    _, a, b, c = shape
    height, width = images or (1, 1)
    first, last = abs(b * width - c * height), abs(a * width - b * height)
    if (a, b) == (b, c) or first == last:
        return "?"
    return "NCHW" if first < last else "NHWC"


def _agreed(infos: list[StageInfo]) -> list[StageInfo]:
    """Open layouts are those of the nearest stage below, else above, else NCHW."""
    known = [info.layout for info in infos]
    for order in (range(1, len(known)), range(len(known) - 2, -1, -1)):
        for i in order:
            near = known[i - 1 if order.step > 0 else i + 1]
            if known[i] == "?" and near in ("NCHW", "NHWC"):
                known[i] = near
    names = [layout if layout != "?" else "NCHW" for layout in known]
    return [replace(info, layout=name) for info, name in zip(infos, names, strict=True)]


def _prefix(info: StageInfo, images: Any, prefix: int) -> int:
    """How many of the tokens stand for no place: those beyond a whole grid of patches."""
    if info.layout != "NLC" or not prefix or images is None:
        return 0
    height, width = images
    for tokens in (prefix, 0):
        patches = info.shape[0] - tokens
        stride = isqrt(height * width // patches) if patches > 0 else 0
        if stride and (height // stride) * (width // stride) == patches:
            return tokens
    return prefix
