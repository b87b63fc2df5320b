"""The layers of a network, as tutorials count them, and the stages that hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from regraft.backbones import Backbone


def leaves(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules without parts of their own, in the order in which they were declared."""
    return [
        (path, module)
        for path, module in network.named_modules()
        if path and not any(True for _ in module.children())
    ]


def layers_of(backbone: Backbone) -> list[int | None]:
    """Per layer of `leaves`, in order, the index of the stage that holds its tensors.

    None where it has none. Loads the network.
    """
    homes: dict[str, int] = {}
    for index, stage in enumerate(backbone.stages):
        for name in stage.tensors():
            homes.setdefault(name.rpartition(".")[0], index)
    return [homes.get(path) for path, _ in leaves(backbone.network())]
