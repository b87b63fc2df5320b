"""Networks and their input as timm describes them."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import timm
import torch
from torch import nn

from regraft.backbones.request import Loaded
from regraft.errors import BackboneError
from regraft.inputs import ImageSpec

SEED = 0
INTERPOLATIONS = ("bicubic", "bilinear", "lanczos", "nearest")


def create(
    name: str,
    size: tuple[int, int] | None,
    *,
    classes: bool = False,
    options: dict[str, Any] | None = None,
    seed: int = SEED,
    file: str = "",
) -> Loaded:
    """The network `name` of timm, by default with random weights that are always the same.

    Args:
        name: architecture, with or without the tag of its weights.
        size: (height, width) in pixels, or None for its own.
        classes: with the source's classifier instead of none.
        options: for `timm.create_model`.
        seed: of random weights.
        file: where the weights in `options` come from, for errors; its tensors must all fit.

    Raises:
        BackboneError: the family cannot be had at this size, or is not for colour images; or the
            file's weights are not this network's.
    """
    options = dict(options or {})
    config = timm.get_pretrained_cfg(name)
    if not classes:
        options["num_classes"] = 0
    if size is not None and config is not None and config.fixed_input_size:
        options["img_size"] = size
    with torch.random.fork_rng(devices=[]), _fitting(name, options, file) as said:
        torch.manual_seed(seed)
        try:
            model = timm.create_model(name, **options)
        except (TypeError, ValueError, AssertionError) as problem:
            if size is None or file:
                raise
            raise BackboneError(
                f"the backbone '{name}' cannot be made for {size[0]} x {size[1]} pixels "
                f"({problem}); leave out size to have its own."
            ) from problem
    if file:
        _refuse_over(name, model, said.over, file)
    spec = input_of(model.pretrained_cfg, size)
    plain = {key: value for key, value in options.items() if key not in ("num_classes", "img_size")}
    whole = partial(_whole, name, size, plain)
    return Loaded(model.eval(), spec, name, licence=licence_of(model.pretrained_cfg), whole=whole)


class _Said(logging.Handler):
    """Keeps what timm's loader says about tensors that a file lacks, or has and should not."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.missing: list[str] = []
        self.over: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        for start, keys in (("Missing", self.missing), ("Unexpected", self.over)):
            listed = re.match(rf"{start} keys \((.*?)\) ", record.getMessage())
            keys += listed[1].split(", ") if listed else []


def tensor_names(name: str) -> set[str]:
    """Of the network `name` of timm without its classifier; nothing is computed or kept."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of initial values that are not needed
        return set(timm.create_model(name, num_classes=0).state_dict())


@contextmanager
def _fitting(name: str, options: dict[str, Any], file: str) -> Iterator[_Said]:
    """Refuse weights that leave a part of the network random, or that have parts it lacks.

    timm loads with gaps when the classifier is left out, and only logs what was not found and what
    was left over.
    """
    if not options.get("pretrained"):
        yield _Said()
        return
    log, said = logging.getLogger("timm.models._builder"), _Said()
    level = log.level
    log.addHandler(said)
    log.setLevel(logging.INFO)
    where = file or options.get("pretrained_cfg_overlay", {}).get("file", "the file of weights")
    plain = name.partition(".")[0]
    try:
        yield said
    except BackboneError:
        raise
    except Exception as problem:  # timm's own converters of names raise whatever comes
        if not file and not isinstance(problem, RuntimeError | KeyError):
            raise
        first = " ".join(str(problem).split())[:200]
        raise BackboneError(
            f"{where} must hold the weights of '{plain}' and does not fit it ({first})."
        ) from problem
    finally:
        log.removeHandler(said)
        log.setLevel(level)
    if said.missing:
        raise BackboneError(
            f"{where} must hold the weights of '{plain}' and lacks {len(said.missing)} of its "
            f"tensors, the first '{said.missing[0]}': it is for another network, or cut short."
        )


def _refuse_over(name: str, model: nn.Module, over: list[str], file: str) -> None:
    """Refuse a file that has more inside the network's own parts: it is a richer sibling's.

    A head, a decoder or a token beside these parts is left out.
    """
    own = {key.partition(".")[0] for key in model.state_dict()}
    inside = [key for key in over if key.partition(".")[0] in own]
    if inside:
        raise BackboneError(
            f"{file} must hold the weights of '{name.partition('.')[0]}' and has {len(inside)} "
            f"tensors that it lacks, the first '{inside[0]}': it is for another network, perhaps a "
            "deeper one of the family; name that as the backbone."
        )


def _whole(name: str, size: tuple[int, int] | None, options: dict[str, Any]) -> nn.Module:
    return create(name, size, classes=True, options=options).model


def input_of(config: dict[str, Any], size: tuple[int, int] | None = None) -> ImageSpec:
    """The input that a timm config describes, at another size if one is given."""
    channels, height, width = config["input_size"]
    mean, std = tuple(config["mean"]), tuple(config["std"])
    if channels != 3 or len(mean) != 3:
        raise BackboneError(
            f"{config.get('architecture', 'this backbone')} takes {channels} channels; regraft "
            "feeds images of 3."
        )
    way = config.get("interpolation", "bicubic")
    return ImageSpec(
        size=size or (height, width),
        mean=mean,
        std=std,
        interpolation=way if way in INTERPOLATIONS else "bicubic",
        crop=float(config.get("crop_pct") or 0.875),
        geometry="squash" if config.get("crop_mode") == "squash" else "crop",
    )


SPDX = {"apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-3-clause": "BSD-3-Clause"}


def licence_of(config: dict[str, Any]) -> str:
    """The weights' licence as timm's config states it, SPDX-like; '' if it does not."""
    stated = str(config.get("license") or "")
    return SPDX.get(stated.lower(), stated)
