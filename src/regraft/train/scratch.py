"""Random weights in the place of learned ones: what training from scratch begins with."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from regraft.errors import OptionError

if TYPE_CHECKING:
    from regraft.backbones import Backbone


def random_tensors(backbone: Backbone, seed: int) -> dict[str, torch.Tensor]:
    """Every tensor of the stages by name, as the network has them before it learns anything.

    Architectures of timm begin as timm begins them. Layers of a network of one's own begin as
    they were constructed, with `reset_parameters`.

    Args:
        backbone: is not changed.
        seed: another seed, other weights.

    Raises:
        OptionError: a layer with parameters cannot be begun again.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if backbone.info.source == "module":
            return _reset(backbone)
        from regraft.backbones.build import create
        from regraft.backbones.graph import stages_of
        from regraft.backbones.names import full_name

        height, width = backbone.input.json()["size"]
        architecture = full_name(backbone.info.name).partition(".")[0]
        made = create(architecture, (height, width), seed=seed)
        return stages_of(made.model, (3, height, width)).tensors()


def _reset(backbone: Backbone) -> dict[str, torch.Tensor]:
    stages = copy.deepcopy(backbone[:])
    for path, module in stages.named_modules():
        own = list(module.parameters(recurse=False))
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
        elif own:
            raise OptionError(
                f"--plan scratch cannot begin the layer '{path}' ({type(module).__name__}) again: "
                "it has no reset_parameters."
            )
    return stages.tensors()
