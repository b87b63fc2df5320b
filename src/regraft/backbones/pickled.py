"""A backbone in a pickle: for copies in other processes. What is to be shipped is a bundle.

The packaged network and random weights are at hand everywhere and go by their name; all others come
along as the torch module that they are, trained or not. Stages are made anew at the first touch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from regraft.backbones.core import Backbone
from regraft.backbones.info import BackboneInfo, Tuning

if TYPE_CHECKING:
    from torch import nn

    from regraft.backbones.request import Loaded
    from regraft.stages import Stages

AT_HAND = ("package", "random")


def reduced(net: Backbone) -> tuple[Callable[..., Backbone], tuple[Any, ...]]:
    """What `Backbone.__reduce__` gives."""
    if net.info.source in AT_HAND and net.tuning is None:
        return restored, (net.info, None, None)
    return restored, (net.info, net.tuning, net.network())


def restored(info: BackboneInfo, tuning: Tuning | None, model: nn.Module | None) -> Backbone:
    """The backbone `info` by its name, or of its own module."""
    from regraft.backbones.resolve import from_info

    if model is None:
        return from_info(info)

    def opened() -> tuple[Stages, Loaded]:
        from regraft.backbones import from_loaded
        from regraft.backbones.request import Loaded
        from regraft.backbones.resolve import must_have

        loaded = Loaded(model, info.input, info.name, info.revision, info.licence)
        made = from_loaded(loaded, info.source)
        must_have(made, info.digest)
        return made._whole()

    def resized(size: tuple[int, int]) -> Backbone:
        if info.source == "module":
            from regraft.backbones import from_module

            spec: Any = info.input
            made = from_module(model, input=replace(spec, size=size), name=info.name)
            return Backbone(replace(made.info, base=info.base), made._whole, resized, tuning)
        from regraft.backbones.tuned import at_size

        changed = Backbone(info, opened, resized, tuning).changed()
        return at_size(
            from_info(replace(info, digest=info.base or info.digest, base="")), size, changed
        )

    return Backbone(info, opened, resized, tuning)
