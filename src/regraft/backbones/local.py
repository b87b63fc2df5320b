"""Weights in a file on this machine: safetensors, or a PyTorch file that holds only tensors."""

from __future__ import annotations

import hashlib
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from regraft.backbones.request import Loaded, Request
from regraft.files import DIGEST_BYTES

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("regraft")


def accepts(request: Request) -> bool:
    return request.weights is not None


def holds(request: Request, mark: str) -> bool:
    path = _path(request)
    return path.is_file() and mark == _mark(path)


def _mark(path: Path) -> str:
    with path.open("rb") as file:
        content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES))
    return f"blake2b:{content.hexdigest()}"


def load(request: Request) -> Loaded:
    """The network with the file's weights; a classifier in the file is left out.

    Raises:
        BackboneError: the file is missing, unsafe, damaged, or for another network.
    """
    made = _made(request)
    made.licence, made.mark = "", _mark(_path(request))
    made.whole = partial(_whole, request)
    return made


def _whole(request: Request) -> nn.Module:
    return _made(request, classes=True).model


def _made(request: Request, *, classes: bool = False) -> Loaded:
    from regraft.backbones.build import create, tensor_names
    from regraft.backbones.names import full_name
    from regraft.backbones.weights import read_weights, without_prefix

    path = _path(request)
    name = full_name(request.name)
    tensors, prefix = without_prefix(read_weights(path), tensor_names(name))
    if prefix and not classes:
        log.warning(
            "the tensors of %s are those below '%s'; what lies beside them is left out",
            path,
            prefix.rstrip("."),
        )
    overlay = {"state_dict": tensors, "custom_load": False}
    options = {"pretrained": True, "pretrained_cfg_overlay": overlay}
    return create(name, request.size, classes=classes, options=options, file=str(path))


def _path(request: Request) -> Path:
    return Path(str(request.weights)).expanduser()
