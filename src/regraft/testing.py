"""Public contracts: what every backbone, engine and head, built in or your own, promises.

from regraft.testing import check_backbone
check_backbone("resnet18")
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from regraft.engine.contract import check_engine
from regraft.errors import BackboneError
from regraft.heads.contract import check_head

if TYPE_CHECKING:
    import torch
    from torch import nn

    from regraft.backbones import Backbone
    from regraft.stages import Flow, Stages

__all__ = ["check_backbone", "check_engine", "check_head"]

SEED = 7
OTHER_SIZE = 32  # pixels more than the traced size, on the second try
DROPS = {"drop_rate": 0.2, "attn_drop_rate": 0.2, "proj_drop_rate": 0.2, "drop_path_rate": 0.2}


def check_backbone(
    backbone: str | Backbone,
    *,
    batch: int = 2,
    size: int | tuple[int, int] | None = None,
    modes: Sequence[str] = ("eval", "train"),
) -> None:
    """Check a backbone's promises on noise images.

    1. Every parameter and buffer of the network is in exactly one stage.
    2. Run one after the other, each given only the flow below it, the stages answer like the
       network, bit for bit: in both modes with the same random numbers (so dropout, drop-path
       and auxiliary heads follow `train()`), for another batch, and for another image size where
       the network takes one.
    3. Buffers (BatchNorm's statistics) are the same afterwards.
    4. No stage changes the flow that it is given.

    Args:
        backbone: a name of timm, checked with random weights and with every kind of dropout that
            the family has switched on; or a `Backbone`.
        batch: how many images, at least 2.
        size: image size in pixels; by default as it was trained.
        modes: which of 'eval' and 'train' to check.

    Raises:
        BackboneError: names the first promise that is broken, and the stage.
    """
    model, stages, shape = _opened(backbone, size)
    _each_tensor_once(model, stages)
    noise = _noise(batch, shape)
    for mode in modes:
        _composed(model, stages, noise, training=mode == "train")
        if mode == "eval":
            _composed(model, stages, _noise(batch + 1, shape), training=False)
            _other_size(model, stages, batch, shape)


def _opened(
    backbone: str | Backbone, size: int | tuple[int, int] | None
) -> tuple[nn.Module, Stages, tuple[int, int]]:
    """The network itself, its stages, and its image size."""
    from regraft.backbones.names import size_of

    pixels = None if size is None else size_of(size)
    if isinstance(backbone, str):
        return _restless(backbone, pixels)
    chosen = backbone if pixels is None else backbone.resized(pixels)
    (example,) = chosen.input.example()
    stages = chosen.stages
    return chosen.network(), stages, example.shape[:2]


def _restless(
    name: str, pixels: tuple[int, int] | None
) -> tuple[nn.Module, Stages, tuple[int, int]]:
    """The network of that name with random weights and every dropout that it has."""
    from regraft.backbones.build import create
    from regraft.backbones.graph import stages_of
    from regraft.backbones.names import full_name

    architecture = full_name(name).partition(".")[0]
    plain = create(architecture, pixels)
    takes = inspect.signature(type(plain.model).__init__).parameters
    drops = {key: rate for key, rate in DROPS.items() if key in takes}
    model = create(architecture, pixels, options=drops).model if drops else plain.model
    height, width = plain.input.example()[0].shape[:2]
    return model, stages_of(model, (3, height, width)), (height, width)


def _noise(batch: int, shape: tuple[int, int]) -> torch.Tensor:
    import torch

    return torch.randn(batch, 3, *shape, generator=torch.Generator().manual_seed(SEED))


def _each_tensor_once(model: nn.Module, stages: Stages) -> None:
    owners: dict[int, list[str]] = {}
    for stage in stages:
        for tensor in [*stage.parameters(), *stage.buffers()]:
            owners.setdefault(id(tensor), []).append(stage.info.name)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        found = owners.get(id(tensor), [])
        if len(found) != 1:
            where = "no stage" if not found else "the stages " + ", ".join(found)
            raise BackboneError(f"'{name}' must be in exactly one stage and is in {where}.")


def _composed(model: nn.Module, stages: Stages, images: torch.Tensor, *, training: bool) -> None:
    """Compare the network with its stages, one after the other."""
    import torch

    mode = "train" if training else "eval"
    before = _buffers(model)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        wanted = model.train(training)(images.clone())
        expected = _buffers(model)
        _restore(model, before)
        torch.manual_seed(SEED)
        got = _one_by_one(stages.train(training), images, mode)
        found = _buffers(model)
    _restore(model, before)
    model.eval()
    stages.eval()
    if not _same(wanted, got):
        raise BackboneError(
            f"in {mode} mode the stages must answer like the network, and do not, for "
            f"{tuple(images.shape)}."
        )
    for name, value in expected.items():
        if not torch.equal(value, found[name]):
            where = next(
                (s.info.name for s in stages if name in s.tensors()), "a tensor outside the stages"
            )
            raise BackboneError(
                f"in {mode} mode the buffer '{name}' of stage '{where}' must change as the "
                "network changes it, and does not."
            )


def _one_by_one(stages: Stages, images: torch.Tensor, mode: str) -> Flow:
    """Each stage gets a copy of the flow, as from a disk, and must leave it as it was."""
    flow: Flow = images
    for stage in stages:
        given = _copy(flow)
        after = stage(given)
        if not _same(flow, given):
            raise BackboneError(
                f"in {mode} mode stage '{stage.info.name}' must not change the flow it is given."
            )
        flow = _copy(after)
    return flow


def _other_size(model: nn.Module, stages: Stages, batch: int, shape: tuple[int, int]) -> None:
    """Another image size, where the network takes it and the stages do not refuse it."""
    import torch

    images = _noise(batch, (shape[0] + OTHER_SIZE, shape[1] + 2 * OTHER_SIZE))
    try:
        with torch.no_grad():
            model.eval()(images)
    except Exception:  # in whatever way a network refuses a size
        return
    if all(stage.fixed is None for stage in stages):
        _composed(model, stages, images, training=False)


def _buffers(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def _restore(model: nn.Module, values: dict[str, torch.Tensor]) -> None:
    for name, buffer in model.named_buffers():
        buffer.copy_(values[name])


def _copy(flow: Flow) -> Flow:
    if isinstance(flow, tuple | list):
        return type(flow)(_copy(part) for part in flow)
    return flow.clone() if hasattr(flow, "clone") else flow


def _same(one: Any, other: Any) -> bool:
    """Whether two answers are equal to the bit, whatever they are made of."""
    import torch

    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    return bool(one == other)
