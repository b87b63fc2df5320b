"""What a network's BatchNorm layers see of some pictures, and what its classifier makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.backbones import Backbone
from regraft.data import Example, Skipped
from regraft.inputs import Row
from regraft.loading import Loader
from regraft.similarity.answer import Similarity
from regraft.similarity.distance import Layer, by_stage
from regraft.similarity.saying import Classified, by_classifier, by_statistics, unknown

BATCH = 8
#: Of a map, about so many places are looked at.
MOST_PLACES = 1024


def look(
    net: Backbone, examples: Sequence[Example], end: NDArray[np.float32], threads: int
) -> Similarity:
    """The answer for these pictures, (n, D) being their pooled features of the last stage."""
    own = _untrained_stages(net)
    remembering = {m: s for m, s in _remembering(net).items() if s < own}
    classified = None if net.info.base else _classified(net, end)
    if remembering:
        layers = _watched(net, remembering, examples, threads)
        if not layers:
            return unknown("None of the pictures could be read again.", 0)
        names = [stage.name for stage in net.info.stages]
        n = len(layers[0].moments)
        return by_statistics(names, by_stage(layers), len(layers), n, own, classified)
    if classified is not None:
        return by_classifier(classified, len(end))
    if net.info.base:
        reason = (
            "The backbone was trained further from its first stages on, so nothing in it still "
            "tells of its source: ask with the backbone that it was made from."
        )
    else:
        reason = (
            "The backbone has no BatchNorm layer with statistics of its source and no classifier "
            "of its source: compare with a folder of the source's pictures instead."
        )
    return unknown(reason, len(end))


def _untrained_stages(net: Backbone) -> int:
    """How many stages from below are as the source left them."""
    if not net.info.base:
        return len(net)
    changed = net.tuning.stages if net.tuning else ()
    return min((net.index(name) for name in changed), default=0)


def _remembering(net: Backbone) -> dict[nn.Module, int]:
    """The layers that hold statistics of the source, and the stage of each.

    One whose mean is 0 and variance 1 throughout has never been trained. InstanceNorm's are of
    single pictures, which is something else.
    """
    stage_of = {
        id(tensor): stage.info.index for stage in net.stages for tensor in stage.tensors().values()
    }
    found = {}
    for module in net.network().modules():
        mean, variance = (getattr(module, name, None) for name in ("running_mean", "running_var"))
        if mean is None or variance is None or id(mean) not in stage_of:
            continue
        single = isinstance(module, nn.modules.instancenorm._InstanceNorm)
        if not single and bool((mean != 0).any() or (variance != 1).any()):
            found[module] = stage_of[id(mean)]
    return found


def _watched(
    net: Backbone, remembering: dict[nn.Module, int], examples: Sequence[Example], threads: int
) -> list[Layer]:
    """What those layers are given when the network looks at the pictures."""
    network, preamble = net.network(), net.input.preamble()
    names = {module: name for name, module in network.named_modules()}
    loaded = Loader(net.input, threads).each(examples)
    rows = (one.rows[0][1] for one in loaded if not isinstance(one, Skipped))
    seen: dict[nn.Module, list[NDArray[np.float64]]] = {}
    with _as_answering(network), torch.inference_mode():
        for batch in _batches(rows):
            with _watching(remembering, len(batch)) as given:
                network(
                    preamble(*(torch.from_numpy(np.stack(p)) for p in zip(*batch, strict=True)))
                )
            for module, calls in given.items():
                seen.setdefault(module, []).append(np.mean(calls, axis=0))
    return [
        Layer(
            names[module],
            remembering[module],
            _numbers(module.running_mean),
            _numbers(module.running_var),
            np.concatenate(parts),
        )
        for module, parts in seen.items()
    ]


def _numbers(tensor: Any) -> NDArray[np.float64]:
    found: NDArray[np.float64] = tensor.detach().double().cpu().numpy()
    return found


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, BATCH)):
        yield batch


@contextmanager
def _as_answering(network: nn.Module) -> Iterator[None]:
    """The network in eval mode, and afterwards every module in the mode that it was in."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _watching(
    modules: dict[nn.Module, int], rows: int
) -> Iterator[dict[nn.Module, list[NDArray[np.float64]]]]:
    """For each module (rows, 2, C) of every call: each picture's mean and mean square."""
    seen: dict[nn.Module, list[NDArray[np.float64]]] = {}

    def note(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        x = _few_places(given[0])
        # (B, C, ...) to (B, C, positions); tokens may come joined to the batch
        x = x.flatten(2) if x.ndim > 2 else x.reshape(rows, -1, x.shape[1]).mT
        # torch.var_mean takes ten times as long as these two
        mean = _numbers(x.mean(2))
        square = _numbers(torch.linalg.vector_norm(x, dim=2)) ** 2 / x.shape[2]
        seen.setdefault(module, []).append(np.stack([mean, square], axis=1))

    hooks = [module.register_forward_pre_hook(note) for module in modules]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _few_places(x: torch.Tensor) -> torch.Tensor:
    """Large maps (B, C, H, W) on a grid: reading all of them takes longer than the convolutions."""
    if x.ndim != 4:
        return x
    step = math.ceil(math.sqrt(x.shape[2] * x.shape[3] / MOST_PLACES))
    return x[:, :, ::step, ::step]


def _classified(net: Backbone, end: NDArray[np.float32]) -> Classified | None:
    """What the source's classifier makes of pooled features (n, D); None if there is none."""
    head = net.classifier()
    if head is None:
        return None
    with torch.inference_mode():
        logits = head.eval()(torch.from_numpy(end)).double().numpy()
    return Classified.of(logits)
