"""Networks and their input as timm describes them."""

from __future__ import annotations

import logging
import re
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
) -> Loaded:
    """The network `name` of timm, by default with random weights that are always the same.

    Args:
        name: architecture, with or without the tag of its weights.
        size: (height, width) in pixels, or None for its own.
        classes: with the source's classifier instead of none.
        options: for `timm.create_model`.
        seed: of random weights.

    Raises:
        BackboneError: the family cannot be had at this size, or is not for colour images.
    """
    options = dict(options or {})
    config = timm.get_pretrained_cfg(name)
    if not classes:
        options["num_classes"] = 0
    if size is not None and config is not None and config.fixed_input_size:
        options["img_size"] = size
    with torch.random.fork_rng(devices=[]), _nothing_missing(name, options):
        torch.manual_seed(seed)
        try:
            model = timm.create_model(name, **options)
        except (TypeError, ValueError, AssertionError) as problem:
            if size is None:
                raise
            raise BackboneError(
                f"the backbone '{name}' cannot be made for {size[0]} x {size[1]} pixels "
                f"({problem}); leave out size to have its own."
            ) from problem
    spec = input_of(model.pretrained_cfg, size)
    plain = {key: value for key, value in options.items() if key not in ("num_classes", "img_size")}
    whole = partial(_whole, name, size, plain)
    return Loaded(model.eval(), spec, name, licence=licence_of(model.pretrained_cfg), whole=whole)


class _Said(logging.Handler):
    """Keeps what timm's loader says about tensors that were not in a file of weights."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.missing = ""

    def emit(self, record: logging.LogRecord) -> None:
        found = re.match(r"Missing keys \((.*?)\) discovered", record.getMessage())
        self.missing = found[1] if found else self.missing


@contextmanager
def _nothing_missing(name: str, options: dict[str, Any]) -> Iterator[None]:
    """Refuse a file of weights that leaves a part of the network random.

    timm loads with gaps when the classifier is left out, and only logs what was not found.
    """
    if not options.get("pretrained"):
        yield
        return
    log, said = logging.getLogger("timm.models._builder"), _Said()
    level = log.level
    log.addHandler(said)
    log.setLevel(logging.INFO)
    where = options.get("pretrained_cfg_overlay", {}).get("file", "the file of weights")
    plain = name.partition(".")[0]
    try:
        yield
    except (RuntimeError, KeyError) as problem:
        first = " ".join(str(problem).split())[:200]
        raise BackboneError(
            f"{where} must hold the weights of '{plain}' and does not fit it ({first})."
        ) from problem
    finally:
        log.removeHandler(said)
        log.setLevel(level)
    if said.missing:
        keys = said.missing.split(", ")
        raise BackboneError(
            f"{where} must hold the weights of '{plain}' and lacks {len(keys)} of its tensors, "
            f"the first '{keys[0]}': it is for another network, or cut short."
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
