"""Training little of what lies above the cut: LoRA, biases alone, norms alone.

| adapter | trained above the cut | source |
| --- | --- | --- |
| lora | B·A beside each weight W that it makes small, (out, r)·(r, in); W frozen | Hu et al. 2022 |
| bitfit | parameters called bias, norms' too | Ben Zaken et al. 2022, arXiv:2106.10199 |
| norm | scale and shift of normalisation layers | Frankle et al. 2021, arXiv:2003.00152 |

LoRA (arXiv:2106.09685) comes from `peft`, which puts a layer of its own in the place of each that
it adapts; a stage's two graphs look their modules up by name and so both see it. Adding B·A to the
weight itself (`torch.nn.utils.parametrize`) needs no package and was slower: the gradient of the
whole weight is computed and thrown away. One step on one CPU thread, 16 rows: ViT-B blocks 8 to 11
whole 5.6 s, peft 5.1 s, parametrized 7.3 s; ResNet-50 layer4 1.9 s, 0.67 s, 1.2 s.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from regraft.errors import OptionError, did_you_mean, need_extra
from regraft.plans import Phase
from regraft.stages import Stages
from regraft.train.names import HEAD, choose, parameters

#: Exactly these: what a subclass makes of its weight (weight standardisation) a sum cannot follow.
ADAPTED = (nn.Linear, nn.Conv2d)
#: A layer gets LoRA if that has at most this share of the layer's own numbers.
SMALL = 0.5


def apply(stages: Stages, phase: Phase, seed: int) -> list[str]:
    """Put a phase's adapter into stages; the names of the parameters that are to be trained.

    What the stages compute is the same to the bit. Names are those of `stages.tensors()`; with
    lora those change until `merge`. Layers that an earlier phase gave LoRA keep it, and go on with
    it. Who calls this lets only the named ones have gradients.

    Args:
        stages: those that the phase trains, changed in place.
        phase: `adapter`; `only`, which narrows it; `rank`, which is LoRA's alpha too.
        seed: of LoRA's first matrices; torch's global generators stay as they are.

    Raises:
        OptionError: there is no such adapter, or nothing that it can train.
        MissingExtra: lora without the package peft.
    """
    if phase.adapter not in KINDS:
        raise OptionError(
            f"adapter must be one of {', '.join(KINDS)}, got '{phase.adapter}'."
            + did_you_mean(phase.adapter, KINDS)
        )
    chosen = set(choose(stages, phase.only, [HEAD]))
    found = KINDS[phase.adapter](stages, chosen, phase.rank, seed)
    if not found:
        where = f"'{stages.names[0]}' and above" if len(stages) else "the head alone"
        raise OptionError(
            f"the adapter '{phase.adapter}' finds nothing to train in the stages above the cut "
            f"({where}): lower the cut, widen 'only', or train the stages without an adapter."
        )
    return found


def merge(stages: Stages) -> None:
    """Add what LoRA learned to the weights, and take its layers out: names are as before `apply`.

    The outputs are the same up to rounding. Stages without LoRA stay as they are.
    """
    for stage in stages:
        for path, layer in list(stage.body.named_modules()):
            if hasattr(layer, "get_base_layer"):
                layer.merge()
                stage.body.set_submodule(path, layer.get_base_layer())


def _bitfit(stages: Stages, chosen: set[str], rank: int, seed: int) -> list[str]:
    return [name for name in parameters(stages) if name in chosen and name.endswith("bias")]


def _norm(stages: Stages, chosen: set[str], rank: int, seed: int) -> list[str]:
    own = {
        f"{path}.{name}"
        for stage in stages
        for path, module in stage.body.named_modules()
        for name, _ in module.named_parameters(recurse=False)
        if "norm" in type(module).__name__.lower()
    }
    return [name for name in parameters(stages) if name in chosen and name in own]


def _lora(stages: Stages, chosen: set[str], rank: int, seed: int) -> list[str]:
    if rank < 1:
        raise OptionError(f"rank must be a whole number above 0, got {rank}.")
    peft: Any = need_extra("peft", "lora", "the adapter lora")
    count = Counter(
        id(module)
        for stage in stages
        for _, module in stage.body.named_modules(remove_duplicate=False)
    )
    found: list[str] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for stage in stages:
            layers = dict(stage.body.named_modules())
            there = [path for path, layer in layers.items() if hasattr(layer, "get_base_layer")]
            inside = tuple(f"{path}." for path in there)
            new = [
                path
                for path, layer in layers.items()
                if f"{path}.weight" in chosen and count[id(layer)] == 1 and _worth(layer, rank)
            ]
            new = [path for path in new if not path.startswith(inside)]
            if new:
                # A pattern, because a list of names would match the ends of longer names too.
                pattern = "|".join(map(re.escape, new))
                config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=pattern)
                peft.inject_adapter_in_model(config, stage.body)
                del stage.body.peft_config
            found += new + [path for path in there if f"{path}.base_layer.weight" in chosen]
    adapted = tuple(f"{path}.lora_" for path in found)
    return [name for name in parameters(stages) if name.startswith(adapted)]


def _worth(module: nn.Module, rank: int) -> bool:
    """Whether LoRA can adapt the layer, with much fewer numbers than the layer has."""
    if type(module) not in ADAPTED or getattr(module, "groups", 1) != 1:
        return False
    weight: torch.Tensor = module.weight  # type: ignore[assignment]
    rows, columns = weight.shape[0], weight[0].numel()
    return rank * (rows + columns) <= SMALL * rows * columns


KINDS: dict[str, Callable[[Stages, set[str], int, int], list[str]]] = {
    "lora": _lora,
    "bitfit": _bitfit,
    "norm": _norm,
}
