"""Weights in a file on this machine: safetensors, or a PyTorch file that holds only tensors."""

from __future__ import annotations

import hashlib
from pathlib import Path

from regraft.backbones.request import Loaded, Request
from regraft.files import DIGEST_BYTES


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
    from regraft.backbones.build import create
    from regraft.backbones.names import full_name
    from regraft.backbones.weights import read_weights

    path = _path(request)
    read_weights(path)  # says what is wrong with the file in our words, before timm reads it
    name = full_name(request.name)
    overlay = {"file": str(path), "custom_load": False}
    options = {"pretrained": True, "pretrained_cfg_overlay": overlay}
    made = create(name, request.size, options=options)
    made.licence, made.mark = "", _mark(path)
    return made


def _path(request: Request) -> Path:
    return Path(str(request.weights)).expanduser()
