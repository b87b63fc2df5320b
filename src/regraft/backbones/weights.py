"""Files of weights, read without running code, and the digest of a network."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import nn

from regraft.errors import BackboneError
from regraft.files import DIGEST_BYTES

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name.

    Raises:
        BackboneError: it is no such file, it is damaged, or it would run code when loaded.
    """
    if path.suffix not in SUFFIXES:
        raise BackboneError(
            f"{path} must be a file of weights that ends in {', '.join(SUFFIXES)}, not "
            f"'{path.suffix}'."
        )
    if not path.is_file():
        raise BackboneError(f"there is no file of weights at {path}.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():  # about the pickle's version; whether it loads is enough
            warnings.simplefilter("ignore")
            data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        raise BackboneError(
            f"{path} holds more than tensors and could run code when loaded; ask its author for a "
            ".safetensors file, or convert it where you trust it."
        ) from problem
    except Exception as problem:
        reason = str(problem).strip().splitlines() or [type(problem).__name__]
        raise BackboneError(
            f"{path} cannot be read as weights ({reason[0]}); it may be cut short: fetch it again."
        ) from problem
    return _tensors(data, path)


def _tensors(data: object, path: Path) -> dict[str, torch.Tensor]:
    for key in WRAPPERS:
        if isinstance(data, dict) and isinstance(data.get(key), dict):
            data = data[key]
            break
    if not isinstance(data, dict) or not all(isinstance(v, torch.Tensor) for v in data.values()):
        raise BackboneError(f"{path} must hold a dictionary of tensors by name.")
    return {str(name): tensor for name, tensor in data.items()}


def without_prefix(
    tensors: Mapping[str, torch.Tensor], names: Collection[str]
) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors of a network that a training tool put below a prefix, and that prefix.

    Tools wrap what they train: 'module.' (DistributedDataParallel), '_orig_mod.' (torch.compile),
    'model.' (Lightning), 'module.encoder_q.' (MoCo), 'backbone.' (OpenMMLab), 'timm_model.'
    (transformers). The prefix is read off the names: the one under which most of `names` are
    found. What lies beside it (other heads, a momentum encoder) is left out.

    Args:
        tensors: by their names in the file.
        names: of the network's own tensors.
    """
    own = set(names)
    counts: Counter[str] = Counter({"": sum(name in own for name in tensors)})
    for name in tensors:
        parts = name.split(".")
        counts.update(
            ".".join(parts[:depth]) + "."
            for depth in range(1, len(parts))
            if ".".join(parts[depth:]) in own
        )
    prefix = max(counts, key=lambda one: (counts[one], one == ""))
    inside = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    return inside, prefix


def digest_of_model(model: nn.Module) -> str:
    """blake2b-256 of name, type, shape and bytes of every parameter and buffer, by name."""
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    for name in sorted(tensors):
        tensor = tensors[name]
        hasher.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        hasher.update(bytes_of(tensor))
    return hasher.hexdigest()


def refuse_non_finite(model: nn.Module, name: str) -> None:
    """Refuse weights that an engine might hide: the largest of NaN and 0 is 0 to some of them.

    Buffers are not looked at: masks hold minus infinity on purpose.

    Raises:
        BackboneError: a parameter of `model`, which messages call `name`, is not finite.
    """
    for key, tensor in model.named_parameters():
        if not bool(torch.isfinite(tensor).all()):
            raise BackboneError(
                f"the weights of '{name}' hold values that are not finite numbers ({key}); they "
                "are damaged or their training diverged: use others."
            )


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """The numbers of a tensor as they lie in memory, row by row."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
