"""What a user or a bundle names, as a backbone whose weights are the ones that were meant."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from regraft import backbones
from regraft.backbones.core import Backbone
from regraft.backbones.info import BackboneInfo, Tuning
from regraft.errors import BackboneError

if TYPE_CHECKING:
    from regraft.backbones.request import Loaded
    from regraft.stages import Stages


def resolve(
    wanted: str | Backbone | None,
    *,
    size: int | tuple[int, int] | list[int] | None = None,
    weights: str | Path | None = None,
    revision: str | None = None,
    digest: str | None = None,
) -> Backbone:
    """The backbone that is meant, at the size that is wanted.

    Raises:
        BackboneError: it cannot be had, or its weights do not have the `digest`.
    """
    side = tuple(size) if isinstance(size, list) else size
    if isinstance(wanted, Backbone):
        made = wanted if side is None else wanted.resized(side)  # type: ignore[arg-type]
    else:
        made = backbones.backbone(
            wanted,
            weights=weights,
            revision=revision,
            size=side,  # type: ignore[arg-type]
        )
    if digest is not None:
        must_have(made, digest)
    return made


def must_have(made: Backbone, digest: str) -> None:
    """Raise a BackboneError if the weights of `made` are not those with this digest."""
    if made.info.digest != digest:
        raise BackboneError(
            f"the weights of '{made.info.name}' have the digest {made.info.digest[:12]}…, not the "
            f"{digest[:12]}… that were used before; name the old 'revision' or fit again."
        )


def from_info(
    info: BackboneInfo, weights: Path | None = None, tuning: Tuning | None = None
) -> Backbone:
    """The backbone that `info` describes; its network is looked up when it is first touched.

    Args:
        info: as a bundle holds it.
        weights: the file to take them from; by default where they came from.
        tuning: what training changed of those in the file.
    """

    def again(size: tuple[int, int] | None) -> Backbone:
        own = size or tuple(info.input.json()["size"])
        source: str | Path | None = weights
        if source is None and info.source == "random":
            source = "random"
        revision = info.revision if info.source == "hub" and info.revision else None
        made = resolve(info.name, size=own, weights=source, revision=revision, digest=info.digest)
        if tuning is None:
            return made
        return Backbone(replace(made.info, base=info.base), made._whole, again, tuning)

    def opened() -> tuple[Stages, Loaded]:
        if info.source == "file" and weights is None:
            raise BackboneError(
                f"the bundle was made on a local weight file for '{info.name}', which it does not "
                "hold; make it again with --standalone."
            )
        made = again(None) if weights is None else _shipped(info, weights)
        whole = made._whole()
        if made.info.network != info.network:
            logging.getLogger("regraft").warning(
                "'%s' has the weights that the model was made on and computes something else with "
                "them (network %s…, not %s…), since timm or PyTorch changed: evaluate it again.",
                info.name,
                made.info.network[:12],
                info.network[:12],
            )
        return whole

    return Backbone(info, opened, again, tuning)


def _shipped(info: BackboneInfo, weights: Path) -> Backbone:
    """The backbone of a stand-alone bundle, its weights to the bit those that it was made on."""
    from regraft.backbones import shipped

    loaded = shipped.load(info.name, weights, tuple(info.input.json()["size"]))
    made = backbones.from_loaded(loaded, info.source)
    must_have(made, info.digest)
    return made


def save_weights(net: Backbone, path: Path) -> None:
    """Write every parameter and buffer of the stages to a safetensors file, by name."""
    from safetensors.torch import save_file

    from regraft.backbones.tuned import tensors_of

    held = tensors_of(net.stages, net.info.name)
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in held.items()}
    save_file(tensors, path)
