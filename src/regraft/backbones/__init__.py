"""A name becomes a backbone: stages, input, digests, licence.

backbone(name) ─► source (package, hub, file, random) ─► network ─► stages ─► Backbone
                     └► record of the facts: the next time needs no torch until `.stages`
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from regraft.backbones import hub, local, packaged, random
from regraft.backbones.core import Backbone
from regraft.backbones.info import BackboneInfo, StageInfo, Tap
from regraft.backbones.names import plain_name, size_of
from regraft.backbones.request import (
    Loaded,
    Request,
    Source,
    read_record,
    record_path,
    write_record,
)
from regraft.errors import BackboneError
from regraft.inputs import LARGEST_MEAN, ImageSpec

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from regraft.inputs import InputSpec
    from regraft.stages import Stages

log = logging.getLogger("regraft")

__all__ = ["DEFAULT", "SOURCES", "Backbone", "BackboneInfo", "StageInfo", "Tap", "backbone"]
__all__ += ["at_hand", "from_module", "list_backbones"]

DEFAULT = packaged.NAME

# The first that accepts a request serves it. A new source: one module, one line.
SOURCES: dict[str, Source] = {
    "random": random,
    "file": local,
    "package": packaged,
    "hub": hub,
}


def backbone(
    name: str | None = None,
    *,
    weights: str | Path | None = None,
    revision: str | None = None,
    size: int | tuple[int, int] | None = None,
    cache: bool = True,
) -> Backbone:
    """The backbone of that name.

    Args:
        name: any of timm's classification networks, as timm or the tutorials spell it, with or
            without the tag of its weights; 'hf-hub:owner/repository' for others on the hub. By
            default the EfficientNet-Lite0 that comes with regraft.
        weights: None for the package's or the hub's, 'random', or the path of a file.
        revision: commit, tag or branch of the hub's repository.
        size: image size in pixels, one side or (height, width); by default as it was trained.
        cache: keep the facts for the next time, and use those that are kept.

    Raises:
        BackboneError: the name is not known or the weights cannot be had.
    """
    request = _request(name, weights, revision, size)
    kind, source = _source(request)
    known = read_record(request, source) if cache else None
    if known is not None:
        return _made(known, partial(_again, known, request), request)
    info, stages, loaded = _load(kind, request)
    if cache:
        write_record(request, loaded.mark, info)
    return _made(info, _given(stages, loaded), request)


def at_hand(name: str | None = None, *, size: int | tuple[int, int] | None = None) -> bool:
    """Whether the backbone's own weights are on this machine, as far as is known without asking."""
    request = _request(name, None, None, size)
    kind, source = _source(request)
    return kind != "hub" or read_record(request, source) is not None


def _request(
    name: str | None,
    weights: str | Path | None,
    revision: str | None,
    size: int | tuple[int, int] | None,
) -> Request:
    given = None if weights is None else str(weights)
    pixels = None if size is None else size_of(size)
    return Request(plain_name(name or DEFAULT), given, revision, pixels)


def _source(request: Request) -> tuple[str, Source]:
    """The first source that serves the request."""
    return next((kind, source) for kind, source in SOURCES.items() if source.accepts(request))


def _again(info: BackboneInfo, request: Request) -> tuple[Stages, Loaded]:
    """Load what the record is about: the same commit, weights to the bit, and network."""
    pinned = replace(request, revision=info.revision) if info.source == "hub" else request
    found, stages, loaded = _load(info.source, pinned)
    same = (found.digest == info.digest, found.network == info.network)
    if not all(same):
        record_path(request).unlink(missing_ok=True)
        what = "layers" if same[0] else "weights"
        raise BackboneError(
            f"the {what} of '{info.name}' are not the ones that were recorded before; the record "
            "has been removed: load the backbone again."
        )
    return stages, loaded


def _made(
    info: BackboneInfo, open_: Callable[[], tuple[Stages, Loaded]], request: Request
) -> Backbone:
    def resize(size: tuple[int, int]) -> Backbone:
        return backbone(request.name, weights=request.weights, revision=request.revision, size=size)

    return Backbone(info, open_, resize)


def _given(stages: Stages, loaded: Loaded) -> Callable[[], tuple[Stages, Loaded]]:
    return lambda: (stages, loaded)


def _load(kind: str, request: Request) -> tuple[BackboneInfo, Stages, Loaded]:
    return _cut(SOURCES[kind].load(request), kind)


def _cut(loaded: Loaded, source: str) -> tuple[BackboneInfo, Stages, Loaded]:
    from regraft.backbones.graph import network_of, stages_of
    from regraft.backbones.weights import digest_of_model, refuse_non_finite

    refuse_non_finite(loaded.model, loaded.name)
    (example,) = loaded.input.example()
    height, width, channels = example.shape
    stages = stages_of(loaded.model, (channels, height, width))
    info = BackboneInfo(
        name=loaded.name,
        source=source,
        revision=loaded.revision,
        digest=digest_of_model(loaded.model),
        network=network_of(stages),
        licence=loaded.licence,
        input=loaded.input,
        stages=tuple(stage.info for stage in stages),
    )
    return info, stages, loaded


def from_loaded(loaded: Loaded, source: str) -> Backbone:
    """The backbone of a network that was loaded at one size; it has no other."""
    info, stages, _ = _cut(loaded, source)

    def resize(size: tuple[int, int]) -> Backbone:
        raise BackboneError(
            f"'{loaded.name}' comes with its weights for one size, not {size[0]} x {size[1]}."
        )

    return Backbone(info, _given(stages, loaded), resize)


def from_module(module: nn.Module, *, input: InputSpec, name: str = "") -> Backbone:
    """Your own network as a backbone: (B, 3, H, W) in; the last output is its feature.

    Args:
        module: is not copied; training the stages trains it.
        input: size and normalisation, an `ImageSpec`.
        name: for reports; by default the class's.

    Raises:
        BackboneError: its own `forward` cannot be traced.
        OptionError: `input` has a value that it cannot have.
    """
    if isinstance(input, ImageSpec):
        input = input.checked()
        if max(input.mean) > LARGEST_MEAN:
            log.warning(
                "the input's mean %s is of values scaled to 0..1, and looks like one of values "
                "0..255: divide mean and std by 255",
                input.mean,
            )
    loaded = Loaded(module, input, name or type(module).__name__)
    info, stages, _ = _cut(loaded, "module")

    def resize(size: tuple[int, int]) -> Backbone:
        return from_module(module, input=replace(input, size=size), name=name)  # type: ignore[type-var]

    return Backbone(info, _given(stages, loaded), resize)


def list_backbones(pattern: str = "") -> list[dict[str, object]]:
    """What is known of the backbones whose names match, each fact with its source."""
    from regraft.backbones.listing import facts

    return facts(pattern)
