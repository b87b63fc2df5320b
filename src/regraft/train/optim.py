"""The optimizer of a phase: rates per depth, a schedule, and a state that goes to disk by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from regraft.errors import OptionError, TrainingError
from regraft.plans import Phase, Recipe

Tensors = dict[str, torch.Tensor]


def optimizer(
    parameters: Mapping[str, nn.Parameter],
    rates: Mapping[str, float],
    recipe: Recipe,
    phase: Phase,
) -> torch.optim.Optimizer:
    """AdamW or SGD over the parameters, one group for each rate and kind of decay.

    Weights of one axis, which are norms and biases, are not decayed.

    Args:
        parameters: what is trained, by name.
        rates: for each name its largest learning rate, see `regraft.train.rates`.
        recipe: optimizer, momentum and weight decay.
        phase: for messages.

    Raises:
        OptionError: nothing is trained, or there is no such optimizer.
    """
    if not parameters:
        raise OptionError(f"the phase with cut '{phase.cut}' trains nothing: widen its 'only'.")
    groups = _groups(parameters, rates, recipe.weight_decay)
    # One kernel per parameter that reads every moment once: measured fastest on CPU and GPU.
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters.values())
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=fused)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=phase.lr, momentum=recipe.momentum, fused=fused)
    raise OptionError(f"optimizer must be adamw or sgd, got '{recipe.optimizer}'.")


def _groups(
    parameters: Mapping[str, nn.Parameter], rates: Mapping[str, float], decay: float
) -> list[dict[str, Any]]:
    groups: dict[tuple[float, float], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in parameters.items():
        held = decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rates[name], held), []).append((name, parameter))
    return [
        {"params": members, "lr": rate, "weight_decay": held}
        for (rate, held), members in groups.items()
    ]


def schedule(step: int, steps: int, phase: Phase) -> float:
    """The share of its largest rate that a step takes: a linear rise, then cosine or constant.

    It depends on the step alone, so nothing of it has to be kept for going on after a stop.

    Args:
        step: from 0.
        steps: of the whole phase.
        phase: `warmup` and `schedule`; the cosine is that of Loshchilov & Hutter 2017,
            arXiv:1608.03983, without restarts, and reaches 0 one step after the last.
    """
    rise = min(round(phase.warmup * steps), steps - 1)
    if step < rise:
        return (step + 1) / (rise + 1)
    if phase.schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / (steps - rise)))


def clip(parameters: Iterable[nn.Parameter], most: float) -> float:
    """The norm of all gradients together, which are scaled down to `most` if they exceed it.

    Args:
        parameters: those without a gradient do not count.
        most: the largest norm allowed; 0 scales nothing.
    """
    held = [p for p in parameters if p.grad is not None]
    total = get_total_norm([p.grad for p in held if p.grad is not None])
    norm = float(total)
    if most and norm > most:
        clip_grads_with_norm_(held, most, total)
    return norm


def state_of(optimizer: torch.optim.Optimizer) -> Tensors:
    """A copy of all that the optimizer remembers: `exp_avg/layer4.0.conv1.weight`, ….

    The tensors are contiguous, on the CPU, and share no memory: fit for safetensors.
    """
    names = _names(optimizer)
    return {
        f"{kind}/{names[parameter]}": _plain(value)
        for parameter, held in optimizer.state.items()
        for kind, value in held.items()
        if isinstance(value, torch.Tensor)
    }


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def restore(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Have the optimizer remember what `state_of` gave; the next steps are the same to the bit.

    Args:
        optimizer: over parameters of the same names and shapes, at any point of its life.
        tensors: as `state_of` gives them.

    Raises:
        TrainingError: they belong to other parameters.
    """
    by_name = {name: parameter for parameter, name in _names(optimizer).items()}
    held: dict[torch.Tensor, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        parameter = by_name.get(name)
        if parameter is None or (tensor.ndim and tensor.shape != parameter.shape):
            raise TrainingError(
                f"the checkpoint's '{key}' of shape {tuple(tensor.shape)} fits no parameter that "
                "is trained: it belongs to another plan, so start this one in another folder."
            )
        # The order of numbers in memory decides how they are added up, so it must come back too.
        like = torch.empty_like(parameter, dtype=tensor.dtype) if tensor.ndim else tensor.clone()
        held.setdefault(parameter, {})[kind] = like.copy_(tensor)
    whole = optimizer.state_dict()
    flat = [p for group in optimizer.param_groups for p in group["params"]]
    whole["state"] = {i: held[p] for i, p in enumerate(flat) if p in held}
    optimizer.load_state_dict(whole)


def _names(optimizer: torch.optim.Optimizer) -> dict[torch.Tensor, str]:
    return {
        parameter: name
        for group in optimizer.param_groups
        for name, parameter in zip(group["param_names"], group["params"], strict=True)
    }
