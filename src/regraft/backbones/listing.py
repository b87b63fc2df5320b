"""What is known of the backbones that timm offers, each fact with where it is from.

Nothing here is from memory: a fact is in timm's own configuration of the weights, in torchvision's
(for weights that are torchvision's), counted on the network, or derived by a rule that is said.
"""

from __future__ import annotations

import re
from fnmatch import fnmatch
from functools import lru_cache
from typing import Any

from regraft.backbones.names import plain_name, squeezed
from regraft.backbones.packaged import LICENCE, PACKAGE
from regraft.backbones.packaged import NAME as PACKAGED
from regraft.errors import BackboneError, did_you_mean

MOST_COUNTED = 24  # more networks than this are not built just to count them
TORCHVISION_TAGS = {"tv_in1k": "IMAGENET1K_V1", "tv2_in1k": "IMAGENET1K_V2"}
DATA_TOKEN = re.compile(
    r"in1k|in12k|in21k|in22k|jft|laion\w*|webli|lvd\w+|datacomp\w*|merged\w*|yfcc\w+|ig\d\w*|cc12m"
    r"|metaclip|dfn\w+|sa1b|inat\d*"
)
SIZES = ((10_000_000, "small device"), (50_000_000, "laptop"))
RULE = "rule: under 10 million parameters a small device, under 50 a laptop, else a GPU"

Fact = dict[str, Any]


def fact(value: Any = None, source: str = "") -> Fact:
    """A value with where it is from; both empty where nothing is known."""
    return {"value": value, "source": source if value not in (None, "") else ""}


def facts(pattern: str = "") -> list[dict[str, Any]]:
    """One entry per set of weights whose name matches.

    Args:
        pattern: with * and ? as a shell has them, or a part of the name; '' for all.

    Raises:
        BackboneError: nothing matches; the close names are given.
    """
    import timm

    names = timm.list_models(pretrained=True)
    found = [name for name in names if _matches(name, pattern)]
    if not found:
        raise BackboneError(f"no backbone matches '{pattern}'.{did_you_mean(pattern, names)}")
    published = _published()
    few = len({name.partition(".")[0] for name in found}) <= MOST_COUNTED
    return [_entry(name, published, count=few) for name in found]


def _matches(name: str, pattern: str) -> bool:
    if any(sign in pattern for sign in "*?["):
        return fnmatch(name, pattern.lower())
    return squeezed(plain_name(pattern)) in squeezed(name)


def _entry(name: str, published: dict[str, Any], *, count: bool) -> dict[str, Any]:
    import timm

    config = timm.get_pretrained_cfg(name)
    weights, matched = _torchvision(config, published)
    metrics: dict[str, dict[str, float]] = weights.meta["_metrics"] if weights else {}
    data, scores = next(iter(metrics.items()), (None, {}))
    counted = _count(name.partition(".")[0]) if count else None
    parameters = fact(counted, "counted, with its classifier")
    if weights and counted is None:
        parameters = fact(weights.meta["num_params"], matched)
    packaged = name == PACKAGED
    trained = fact(data, matched) if data else _data(config.tag)
    return {
        "name": name,
        "weights": fact(*(("package", PACKAGE) if packaged else ("hub", "timm config"))),
        "parameters": parameters,
        "input": fact(list(config.input_size[1:]), "timm config"),
        "top1": fact(scores.get("acc@1"), matched),
        "top5": fact(scores.get("acc@5"), matched),
        "licence": fact(*((LICENCE, PACKAGE) if packaged else (config.license, "timm config"))),
        "data": fact() if packaged else trained,  # its package does not say
        "suits": _suits(parameters["value"]),
    }


def _published() -> dict[str, Any]:
    """torchvision's weights by file name and by 'architecture/entry'."""
    from torchvision import models

    found: dict[str, Any] = {}
    for architecture in models.list_models(module=models):
        for weights in models.get_model_weights(architecture):
            found[weights.url.rpartition("/")[2]] = weights
            found[f"{architecture}/{weights.name}"] = weights
    return found


def _torchvision(config: Any, published: dict[str, Any]) -> tuple[Any, str]:
    """torchvision's entry for the same weights, and how it was matched."""
    file = (config.url or "").rpartition("/")[2] if isinstance(config.url, str) else ""
    if file in published:
        return published[file], f"torchvision, the file {file}"
    entry = f"{config.architecture}/{TORCHVISION_TAGS.get(config.tag or '', '')}"
    if entry in published:
        return published[entry], f"torchvision, the same name and timm's tag {config.tag}"
    return None, ""


@lru_cache(maxsize=256)
def _count(architecture: str) -> int | None:
    """Parameters of a network that is built without numbers; None if that does not work."""
    import timm
    import torch

    try:
        with torch.device("meta"):
            model = timm.create_model(architecture)
    except Exception:  # whatever its code does with numbers that are not there
        return None
    total: int = sum(p.numel() for p in model.parameters())
    return total


def _data(tag: str | None) -> Fact:
    """The data sets that the tag of the weights names, as it spells them, in its order."""
    words = (tag or "").split("_")
    named = [word for word in words if DATA_TOKEN.fullmatch(word)]
    if "ft" in words and len(named) < 2:  # trained twice, and one of the two is not named
        return fact()
    return fact(" then ".join(named) or None, f"timm's tag {tag}")


def _suits(parameters: int | None) -> Fact:
    if parameters is None:
        return fact()
    place = next((name for limit, name in SIZES if parameters < limit), "GPU")
    return fact(place, RULE)
