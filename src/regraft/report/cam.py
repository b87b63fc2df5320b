"""Which places of a picture spoke for the answer: Grad-CAM on the last stage that has places.

The gradient of the predicted class's score with respect to a stage's output is averaged over the
places, and weighs the channels; what is left above zero is the map (Selvaraju et al. 2017,
arXiv:1610.02391). Where the head is linear and reads the mean over these places, that is the class
activation map of Zhou et al. (2016, arXiv:1512.04150), exactly. Unlike some other maps it depends
on the weights (Adebayo et al. 2018, arXiv:1810.03292), which a test holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regraft.backbones import Backbone
from regraft.backbones.info import StageInfo
from regraft.engine.process import settle
from regraft.heads.fitted import FittedHead
from regraft.heads.modules import chain_module
from regraft.model import Model
from regraft.pipeline import default_threads
from regraft.stages import Flow, pool

BATCH = 16


def heats(
    model: Model, rows: Sequence[NDArray[np.uint8]], answers: Sequence[int]
) -> list[NDArray[np.float32] | None] | None:
    """Maps of what spoke for the answers; None if no stage has places.

    Args:
        model: any whose backbone takes images.
        rows: (H, W, 3) uint8 each, as the decoder gives them.
        answers: for each the number of the class.

    Returns:
        One (h, w) map per row, its largest value 1, of the last stage that the head's score
        depends on place by place; None for a row of which nothing speaks for its answer.
    """
    settle(default_threads())
    at = sorted(model.backbone.index(name) for name in model.at)
    places = spatial(model.backbone, at)
    found: list[NDArray[np.float32] | None] = []
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        made = _batch(model.backbone, model.head, at, places, rows[part], answers[part])
        if made is None:
            return None
        found += made
    return found


def spatial(backbone: Backbone, at: Sequence[int]) -> list[StageInfo]:
    """The stages with places through which all that the head reads must go, the highest first."""
    side = getattr(backbone.input, "size", (1, 1))
    stages = backbone.info.stages[: min(at) + 1]
    return [stage for stage in reversed(stages) if grid(stage, side)]


def grid(stage: StageInfo, size: Sequence[int]) -> tuple[int, int] | None:
    """(h, w) of a stage's output, None if it has no places, or a single one.

    Tokens are taken for patches of a picture of `size` in reading order.
    """
    if stage.layout == "NCHW":
        found = stage.shape[-2], stage.shape[-1]
    elif stage.layout == "NHWC":
        found = stage.shape[0], stage.shape[1]
    elif stage.layout == "NLC":
        tokens = stage.shape[0] - stage.prefix_tokens
        high = round(math.sqrt(tokens * size[0] / size[1])) if tokens > 0 else 0
        if not high or tokens % high:
            return None
        found = high, tokens // high
    else:
        return None
    return found if found[0] * found[1] > 1 else None


def _batch(
    backbone: Backbone,
    head: FittedHead,
    at: Sequence[int],
    places: Sequence[StageInfo],
    rows: Sequence[NDArray[np.uint8]],
    answers: Sequence[int],
) -> list[NDArray[np.float32] | None] | None:
    pixels = torch.from_numpy(np.stack(list(rows)))
    with torch.no_grad():
        start = backbone.input.preamble()(pixels)
    chosen = torch.tensor(list(answers))
    for stage in places:
        with torch.no_grad():
            flow = backbone[: stage.index + 1].eval()(start)
        heat = _heat(backbone, head, at, stage, flow, chosen)
        if heat is not None:
            return [_scaled(one) for one in heat]
    return None


def _heat(
    backbone: Backbone,
    head: FittedHead,
    at: Sequence[int],
    stage: StageInfo,
    flow: torch.Tensor,
    answers: torch.Tensor,
) -> NDArray[np.float32] | None:
    """(B, h, w) of one stage; None if no place of it is ever looked at.

    That is so of a last stage of which only the class token is read.
    """
    flow = flow.detach().requires_grad_()
    with torch.enable_grad():
        scores = chain_module(head.layers)(_read(backbone, at, stage.index, flow))
        picked = scores.gather(1, answers[:, None]).sum()
        (slope,) = torch.autograd.grad(picked, flow)
    size = grid(stage, backbone.input.size)  # type: ignore[attr-defined]
    assert size is not None  # `spatial` left the others out
    values, slopes = (_channels(one.detach().float(), stage) for one in (flow, slope))
    if not bool(slopes.any()):
        return None
    weight = slopes.mean(dim=1, keepdim=True)
    heat = (values * weight).sum(dim=2).clamp(min=0.0)
    return np.asarray(heat.reshape(-1, *size).numpy(), np.float32)


def _read(backbone: Backbone, at: Sequence[int], place: int, flow: Flow) -> torch.Tensor:
    """(B, D) what the head reads, from the flow that leaves stage `place`."""
    features = []
    for stage in range(place, max(at) + 1):
        if stage > place:
            flow = backbone[stage].eval()(flow)
        if stage in at:
            features.append(pool(flow, backbone.info.stages[stage]))
    return torch.cat(features, dim=1)


def _channels(flow: torch.Tensor, stage: StageInfo) -> torch.Tensor:
    """A flow as (B, places, C)."""
    if stage.layout == "NCHW":
        return flow.flatten(2).transpose(1, 2)
    if stage.layout == "NHWC":
        return flow.flatten(1, 2)
    return flow[:, stage.prefix_tokens :]


def _scaled(heat: NDArray[Any]) -> NDArray[np.float32] | None:
    top = float(heat.max())
    return np.asarray(heat / top, np.float32) if np.isfinite(top) and top > 0 else None
