"""A backbone with other numbers in some of its tensors: what training above a cut leaves.

backbone ─► tuned(tensors) ─► the same stages, other weights, another digest
                 └─ a bundle keeps these tensors alone and names the backbone by its digest
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.backbones.core import Backbone
from regraft.backbones.info import BackboneInfo, Tuning
from regraft.errors import BackboneError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import torch

    from regraft.backbones.request import Loaded
    from regraft.stages import Stages

#: What normalisation counts while it trains; other buffers follow from the network's own code.
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
CONSTANT = "context_"  # tensors that tracing made out of others, see `regraft.backbones.parts`


def tuned(net: Backbone, tensors: Mapping[str, torch.Tensor | np.ndarray]) -> Backbone:
    """See `Backbone.tuned`."""
    whole = net._whole()
    known = tensors_of(whole[0], net.info.name)
    changed = {}
    for name, value in tensors.items():
        if _is_constant(name):
            continue
        new = _fitting(net.info.name, name, value, known)
        if not _same(new, known[name]):
            changed[name] = new
    if not changed:
        return net
    _must_be_free(net.info.name, whole[0], changed)
    stages, loaded = _replaced(whole, changed)
    from regraft.backbones.weights import digest_of_model

    digest = digest_of_model(loaded.model)
    base = net.info.base or net.info.digest
    before = net.tuning.tensors if net.tuning else ()
    back = digest == base  # to what it was made from
    names = {*before, *changed}
    return Backbone(
        replace(net.info, digest=digest, base="" if back else base),
        lambda: (stages, loaded),
        lambda size: at_size(net, size, changed),
        None if back else tuning_of(stages, names),
    )


def from_file(
    base: Backbone, path: Path, info: BackboneInfo, tuning: Tuning, *, whole: bool = False
) -> Backbone:
    """The backbone `info`: `base` with the tensors that a bundle keeps.

    Nothing is opened before the network is touched; then names, types, shapes and values have to
    fit `base`, and the digest of all weights has to be that of `info`.

    Args:
        base: what it was made from; its digest is `info.base`.
        path: a safetensors file with the tensors of `tuning` and no other.
        info: of the tuned backbone.
        tuning: what it says of them.
        whole: the file has every tensor of the network, those that did not change too.

    Raises:
        BackboneError: when the network is touched: the file does not fit.
    """

    def read(stages: Stages) -> dict[str, torch.Tensor]:
        known = tensors_of(stages, info.name)
        held = _read(path, known if whole else tuning.tensors, known, info.name)
        return {name: new for name, new in held.items() if not _same(new, known[name])}

    def opened() -> tuple[Stages, Loaded]:
        from regraft.backbones.weights import digest_of_model

        made = base._whole()
        changed = read(made[0])
        _must_be_free(info.name, made[0], changed)
        stages, loaded = _replaced(made, changed)
        if tuning_of(stages, tuning.tensors) != tuning:
            raise BackboneError(
                f"{path} holds tensors of other stages, or others in number, than the bundle says; "
                "get the bundle again."
            )
        if digest_of_model(loaded.model) != info.digest:
            raise BackboneError(
                f"'{info.name}' with the tensors in {path} does not have the digest "
                f"{info.digest[:12]}… that the model was made on; get the bundle again."
            )
        return stages, loaded

    def resize(size: tuple[int, int]) -> Backbone:
        return at_size(base, size, read(base.stages))

    return Backbone(info, opened, resize, tuning)


def save_changed(net: Backbone, path: Path) -> None:
    """Write the tensors of `net.tuning` to a safetensors file, by name."""
    from safetensors.torch import save_file

    held = net.changed()
    save_file({name: t.detach().cpu().contiguous().clone() for name, t in held.items()}, path)


def tensors_of(stages: Stages, name: str) -> dict[str, torch.Tensor]:
    """`stages.tensors()` without what tracing made; `name` is the backbone's, for messages."""
    known: dict[str, torch.Tensor] = {}
    for stage in stages:
        for key, tensor in stage.tensors().items():
            if not _is_constant(key) and known.setdefault(key, tensor) is not tensor:
                raise BackboneError(
                    f"two stages of '{name}' call a tensor '{key}', so it cannot be told which is "
                    "meant; give every stage names of its own."
                )
    return known


def tuning_of(stages: Stages, names: Collection[str]) -> Tuning:
    """What is to be said of stages in which the tensors called `names` changed."""
    wanted = set(names)
    touched, numbers = [], 0
    for stage in stages:
        if wanted & stage.tensors().keys():
            touched.append(stage.info.name)
        own = stage.body.named_parameters()
        numbers += sum(tensor.numel() for name, tensor in own if name in wanted)
    return Tuning(tuple(sorted(wanted)), tuple(touched), numbers)


def _is_constant(name: str) -> bool:
    return name.startswith(CONSTANT) and name.removeprefix(CONSTANT).isdigit()


def _fitting(net: str, name: str, value: Any, known: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """`value` as the tensor `name` of the backbone `net` holds it, its own copy.

    Raises:
        BackboneError: there is no such tensor, or it has another shape, or holds other things.
    """
    import torch

    if name not in known:
        raise BackboneError(
            f"'{name:.80}' is no tensor of the backbone '{net}'; name them as "
            f"backbone.stages.tensors() does.{did_you_mean(name, known)}"
        )
    old = known[name]
    try:
        given = torch.as_tensor(value).detach()
    except (TypeError, ValueError, RuntimeError) as problem:
        raise BackboneError(
            f"'{name}' must be a tensor or an array of numbers, got {type(value).__name__}."
        ) from problem
    if given.shape != old.shape:
        raise BackboneError(
            f"the tensor '{name}' of the backbone '{net}' must have the shape "
            f"{tuple(old.shape)}, got {tuple(given.shape)}."
        )
    if given.dtype != old.dtype and not (given.is_floating_point() and old.is_floating_point()):
        raise BackboneError(
            f"the tensor '{name}' of the backbone '{net}' must hold {_kind(old)}, got "
            f"{_kind(given)}."
        )
    new = given.to(old.device, old.dtype, copy=True).contiguous()
    # a mask may hold infinity by design
    if not bool(torch.isfinite(new).all()) and bool(torch.isfinite(old).all()):
        raise BackboneError(
            f"the tensor '{name}' for the backbone '{net}' holds values that are not finite "
            "numbers: its training diverged; take weights from before, or a smaller rate."
        )
    return new


def _kind(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors of one type and shape are equal to the bit."""
    import torch

    a, b = (tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other))
    return torch.equal(a, b)


def _must_be_free(net: str, stages: Stages, names: Collection[str]) -> None:
    """Refuse other numbers in a buffer that a stage may have read while it was traced."""
    constants = any(_is_constant(key) for stage in stages for key in stage.tensors())
    if not constants:
        return
    free = {key for key, _ in stages.named_parameters()}
    learned = {key.split(".body.", 1)[1] for key in free}
    for name in names:
        if name not in learned and name.rpartition(".")[2] not in STATISTICS:
            raise BackboneError(
                f"the tensor '{name}' of the backbone '{net}' is a table that its stages share, "
                "and cannot be replaced: leave it as it is."
            )


def _replaced(
    whole: tuple[Stages, Loaded], changed: Mapping[str, torch.Tensor]
) -> tuple[Stages, Loaded]:
    """The same stages and network with `changed` in them; stages without a change are shared."""
    from torch import nn

    stages, loaded = whole
    memo: dict[int, Any] = {}
    for stage in stages:
        own = stage.tensors()
        touched = own.keys() & changed.keys()
        for name, tensor in own.items():
            if name in touched:
                new: torch.Tensor = changed[name]
                if isinstance(tensor, nn.Parameter):
                    new = nn.Parameter(new, requires_grad=tensor.requires_grad)
                memo[id(tensor)] = new
            elif not touched:
                memo[id(tensor)] = tensor
    made, model = copy.deepcopy((stages, loaded.model), memo)
    return made, replace(loaded, model=model)


def at_size(net: Backbone, size: tuple[int, int], changed: Mapping[str, torch.Tensor]) -> Backbone:
    """`net` for images of another size, with the tensors that were changed, if they still fit."""
    made = net.resized(size)
    known = tensors_of(made.stages, made.info.name)
    for name, tensor in changed.items():
        if name not in known or known[name].shape != tensor.shape:
            raise BackboneError(
                f"'{net.info.name}' was trained at its size and cannot be had at {size[0]} x "
                f"{size[1]} pixels, since '{name}' has another shape there: train it at that size."
            )
    return made.tuned(changed)


def _read(
    path: Path, names: Collection[str], known: Mapping[str, torch.Tensor], net: str
) -> dict[str, torch.Tensor]:
    """The tensors called `names`, each of the type and shape that it has in `known`, and finite."""
    from safetensors import SafetensorError, safe_open

    from regraft.backbones.shipped import must_list

    for name in names:
        if name not in known:
            raise BackboneError(f"{path}: {name!r:.80} is no tensor of the backbone '{net}'.")
    must_list(path, {name: known[name] for name in names})
    try:
        with safe_open(path, framework="pt") as file:
            held = {name: file.get_tensor(name) for name in names}
    except (OSError, ValueError, SafetensorError) as problem:
        raise BackboneError(f"{path} cannot be read as weights ({problem!s:.200}).") from problem
    try:
        return {name: _fitting(net, name, value, known) for name, value in held.items()}
    except BackboneError as problem:
        raise BackboneError(f"{path}: {problem}") from problem
