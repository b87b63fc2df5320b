"""What a shell may complete after an option: names that are known without loading anything."""

from __future__ import annotations

from collections.abc import Callable


def plans(start: str) -> list[str]:
    """Names of plans."""
    from regraft.plans import AUTO, PLANS

    return _beginning(start, (AUTO, *PLANS))


def backbones(start: str) -> list[str]:
    """The packaged network, and those that tutorials name; timm knows many more."""
    from regraft.backbones.names import ALIASES
    from regraft.backbones.packaged import NAME

    return _beginning(start, (NAME, *KNOWN, *ALIASES.values()))


#: Networks that people ask for by name.
KNOWN = (
    "resnet18", "resnet50", "convnext_tiny", "mobilenetv3_small_100", "efficientnet_b0",
    "regnety_004", "vit_tiny_patch16_224", "vit_base_patch16_224", "swin_tiny_patch4_window7_224",
    "vgg16",
)  # fmt: skip


def heads(start: str) -> list[str]:
    """Names of heads."""
    from regraft.heads import HEADS

    return _beginning(start, ("auto", *HEADS))


def geometries(start: str) -> list[str]:
    """What may become of a picture's proportions."""
    return _beginning(start, ("auto", "crop", "squash", "pad"))


def devices(start: str) -> list[str]:
    """Kinds of devices."""
    return _beginning(start, ("auto", "cpu", "cuda", "mps"))


def listed(names: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """The same for the last of several with commas between them."""

    def last(start: str) -> list[str]:
        before, comma, word = start.rpartition(",")
        return [before + comma + name for name in names(word)]

    return last


def _beginning(start: str, names: tuple[str, ...]) -> list[str]:
    return sorted({name for name in names if name.startswith(start)})
