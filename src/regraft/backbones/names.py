"""Names: the tutorials' spelling, timm's, and what was probably meant."""

from __future__ import annotations

from regraft.errors import BackboneError, OptionError, did_you_mean
from regraft.inputs import MOST_PIXELS_A_SIDE

LEAST_PIXELS_A_SIDE = 16

# How the tutorials of other libraries write it, in lower case without separators -> timm's name.
# Plain names ('VGG16', 'ResNet50') need no entry: separators and case do not count anyway.
ALIASES = {
    "inceptionv3": "inception_v3",
    "inceptionv4": "inception_v4",
    "inceptionresnetv2": "inception_resnet_v2",
    "mobilenetv2": "mobilenetv2_100",
    "mobilenetv3large": "mobilenetv3_large_100",
    "mobilenetv3small": "mobilenetv3_small_100",
    "xception": "xception41",
    "dinov2": "vit_small_patch14_dinov2",
    "efficientnetlite0": "tf_efficientnet_lite0",
}


def squeezed(name: str) -> str:
    """Lower case without separators."""
    return "".join(c for c in name.lower() if c.isalnum())


def plain_name(name: str) -> str:
    """The tutorials' spelling as timm's, where the table has it; else as it is. Needs no timm."""
    return ALIASES.get(squeezed(name), name)


def full_name(name: str) -> str:
    """The one name of timm that is meant, with the tag of its weights where it has any.

    Raises:
        BackboneError: there is no such name; the close ones are given.
    """
    import timm

    architecture, _, tag = plain_name(name).partition(".")
    known = timm.list_models()
    if architecture not in known:
        same = [other for other in known if squeezed(other) == squeezed(architecture)]
        if len(same) != 1:
            tagged = timm.list_models(pretrained=True) if tag else []
            raise BackboneError(
                f"there is no backbone '{name}'.{did_you_mean(name.lower(), [*known, *tagged])} "
                "See `regraft backbones`, with a pattern such as 'resnet*'."
            )
        architecture = same[0]
    config = timm.get_pretrained_cfg(architecture)
    if not tag:
        return f"{architecture}.{config.tag}" if config is not None and config.tag else architecture
    tags = timm.list_pretrained(f"{architecture}.*")
    full = f"{architecture}.{tag}"
    if full not in tags:
        shown = ", ".join(tags) or "none"
        raise BackboneError(
            f"there are no weights '{tag}' for '{architecture}'.{did_you_mean(full, tags)} "
            f"Known: {shown}."
        )
    return full


def size_of(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) from one side or both, in pixels.

    Raises:
        OptionError: not one or two whole numbers within the limits.
    """
    pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
    least, most = LEAST_PIXELS_A_SIDE, MOST_PIXELS_A_SIDE
    fits = len(pair) == 2 and all(type(s) is int and least <= s <= most for s in pair)
    if not fits:
        raise OptionError(
            f"--size must be one side in pixels, or height and width, from {least} to {most}, "
            f"got {size!r}."
        )
    return pair  # type: ignore[return-value]
