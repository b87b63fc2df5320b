"""Weights as a stand-alone bundle ships them: exactly the tensors of the network, and finite.

A bundle may come from anywhere, so nothing of it reaches a loader that adapts what does not fit.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from regraft.errors import BackboneError
from regraft.tensors import listed

if TYPE_CHECKING:
    import torch
    from torch import nn

    from regraft.backbones.request import Loaded

MOST_HEADER_BYTES, MOST_TENSORS = 2**22, 20_000
KINDS = {
    "BOOL": "torch.bool", "U8": "torch.uint8", "I8": "torch.int8", "I16": "torch.int16",
    "I32": "torch.int32", "I64": "torch.int64", "F16": "torch.float16", "BF16": "torch.bfloat16",
    "F32": "torch.float32", "F64": "torch.float64",
}  # fmt: skip


def load(name: str, path: Path, size: tuple[int, int] | None) -> Loaded:
    """The network `name` of timm, for images of (height, width) pixels, with the weights in `path`.

    Raises:
        BackboneError: there is no such network, or the file does not hold its tensors one by one:
            name, type, shape, nothing missing, nothing more, all of them finite.
    """
    from regraft.backbones.build import create
    from regraft.backbones.names import full_name

    made = create(full_name(name), size)
    fill(made.model, path)
    made.licence, made.whole = "", None
    return made


def fill(model: nn.Module, path: Path) -> None:
    """Set every parameter and buffer of `model` to what `path` holds for it."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    wanted = dict(model.named_parameters()) | dict(model.named_buffers())
    must_list(path, wanted)
    try:
        values = load_file(path)
    except (OSError, ValueError, SafetensorError) as problem:
        raise BackboneError(f"{path} cannot be read as weights ({problem!s:.200}).") from problem
    with torch.no_grad():
        for name, tensor in wanted.items():
            # a mask may hold infinity by design
            if not torch.isfinite(values[name]).all() and torch.isfinite(tensor).all():
                raise BackboneError(f"{path}: '{name}' must be finite and is not.")
            tensor.copy_(values[name])


def must_list(path: Path, wanted: dict[str, torch.Tensor]) -> None:
    """Refuse a safetensors file whose header does not list exactly `wanted`, by type and shape.

    Raises:
        BackboneError: it does not, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            held = listed(file, size, most_bytes=MOST_HEADER_BYTES, most_tensors=MOST_TENSORS)
    except (OSError, ValueError) as problem:
        raise BackboneError(f"{path} cannot be read as weights ({problem!s:.200}).") from problem
    _must_match(path, held, wanted)


def _must_match(
    path: Path,
    held: dict[str, tuple[str, tuple[int, ...]]],
    wanted: dict[str, torch.Tensor],
) -> None:
    expected = {name: (str(tensor.dtype), tuple(tensor.shape)) for name, tensor in wanted.items()}
    found = {name: (KINDS.get(kind, kind), shape) for name, (kind, shape) in held.items()}
    if found == expected:
        return
    wrong = min(n for n in found.keys() | expected.keys() if found.get(n) != expected.get(n))
    must = f"be {expected[wrong][0]} {expected[wrong][1]}" if wrong in expected else "not be there"
    is_ = f"{found[wrong][0]} {found[wrong][1]}" if wrong in found else "missing"
    raise BackboneError(f"{path}: the tensor {wrong!r:.80} must {must} and is {is_!s:.100}.")
