"""Mixing the rows of a batch in pairs: MixUp and CutMix, on whatever flows at the cut."""

from __future__ import annotations

import random

import torch
from torch.nn.functional import one_hot

from regraft.errors import OptionError
from regraft.stages import Flow

#: Which axes of a layout are height and width.
SPATIAL = {"NCHW": (2, 3), "NHWC": (1, 2)}


def mix(
    flow: Flow,
    labels: torch.Tensor,
    n_classes: int,
    generator: torch.Generator,
    layout: str,
    mixup: float = 0.0,
    cutmix: float = 0.0,
) -> tuple[Flow, torch.Tensor]:
    """Each row mixed with another row of the batch, and its classes in the same shares.

    MixUp (Zhang et al. 2018, arXiv:1710.09412) averages two rows, at a cut above 0 two hidden
    representations of them (Verma et al. 2019, arXiv:1806.05236); CutMix (Yun et al. 2019,
    arXiv:1905.04899) puts a rectangle of one into the other. With both, a batch gets either with
    the same chance.

    Args:
        flow: (B, …) floats, or (x, mask) where the layout is 'NLC+mask'; it is not changed.
        labels: (B,) int64.
        n_classes: K.
        generator: on the CPU; the only source of chance.
        layout: of the flow, see `regraft.backbones.info.StageInfo`.
        mixup: alpha of the Beta distribution of MixUp's shares; 0 is none.
        cutmix: the same for CutMix.

    Returns:
        The mixed flow in the same layout, type and memory format, and (B, K) float32 shares.

    Raises:
        OptionError: the flow is not of floats, or CutMix is asked for where nothing is spatial.
    """
    x = flow[0] if isinstance(flow, tuple | list) else flow
    if not x.is_floating_point():
        raise OptionError(
            f"mixup and cutmix need numbers that can be averaged, and what flows at this cut is "
            f"{x.dtype}: choose a cut above 0."
        )
    if cutmix and layout not in SPATIAL:
        raise OptionError(
            f"cutmix needs height and width, and what flows at this cut is '{layout}': use mixup, "
            "or another cut."
        )
    targets = one_hot(labels, n_classes).float()
    if not mixup and not cutmix:
        return flow, targets
    chance = random.Random(int(torch.randint(2**62, (), generator=generator)))
    partner = torch.randperm(len(labels), generator=generator).to(labels.device)
    cutting = bool(cutmix) and (not mixup or chance.random() < 0.5)
    alpha = cutmix if cutting else mixup
    share = chance.betavariate(alpha, alpha)
    if cutting:
        mixed, share = _cut(x, partner, share, SPATIAL[layout], chance)
    elif layout == "NLC+mask":
        mixed = _average_masked(flow, partner, share)
    else:
        mixed = _average(x, partner, share)
    return mixed, torch.lerp(targets[partner], targets, share)


def _average(x: torch.Tensor, partner: torch.Tensor, share: float) -> torch.Tensor:
    """`share` of each row, and the rest of its partner."""
    return x.mul(share).add_(x[partner], alpha=1.0 - share)


def _average_masked(flow: Flow, partner: torch.Tensor, share: float) -> Flow:
    """The same for tokens: what is masked counts as 0, and a place of either row is a place."""
    x, mask = flow[0], flow[1].bool()
    x = x * mask.unsqueeze(-1)
    return _average(x, partner, share), (mask | mask[partner]).to(flow[1].dtype)


def _cut(
    x: torch.Tensor,
    partner: torch.Tensor,
    share: float,
    axes: tuple[int, int],
    chance: random.Random,
) -> tuple[torch.Tensor, float]:
    """A rectangle of about `1 - share` of the area from the partner; the share that was kept."""
    spans: list[slice] = [slice(None)] * x.ndim
    area = 1
    for axis in axes:
        size = x.shape[axis]
        side = size * (1.0 - share) ** 0.5
        centre = chance.uniform(0, size)
        low, high = round(max(centre - side / 2, 0)), round(min(centre + side / 2, size))
        spans[axis] = slice(low, high)
        area *= high - low
    mixed = x.clone()
    box = tuple(spans)
    mixed[box] = x[box][partner]
    return mixed, 1.0 - area / (x.shape[axes[0]] * x.shape[axes[1]])
