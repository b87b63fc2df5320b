"""What one ships: a folder of fixed files, plain data and tensors, nothing that can run.

    config.json            what the model is: classes, backbone by digest, stages, head (strict)
    head.safetensors       the head's arrays
    metrics.json           how good it was, on what
    README.md              a card for people
    backbone.safetensors   the backbone's weights, in a stand-alone bundle only
    checksums.json         blake2b-256 of every file above

No clock, host or path is in it, so that equal runs give equal bytes. Nothing is read before its
checksum has been compared, and only the files above are read at all.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from regraft.errors import BundleError
from regraft.files import digest, digest_file, fresh_folder, sync
from regraft.schema import BundleConfig, check

FORMAT = 1
CONFIG, HEAD, METRICS, CARD = "config.json", "head.safetensors", "metrics.json", "README.md"
BACKBONE, CHECKSUMS = "backbone.safetensors", "checksums.json"
MOST_WEIGHT_BYTES = 64 * 2**30
#: The most bytes a file may have and still be read into memory; weights are streamed.
MOST_BYTES = {CONFIG: 64 * 2**20, METRICS: 64 * 2**20, CARD: 2**20, HEAD: 4 * 2**30}


@dataclass(frozen=True)
class Bundle:
    """The contents of a bundle.

    Attributes:
        config: what `BundleConfig` describes, as plain data.
        arrays: the head's arrays by name.
        metrics: scores as plain data.
        card: the text for people.
        weights: the backbone's weights in a stand-alone bundle, else None.
    """

    config: dict[str, Any]
    arrays: dict[str, np.ndarray]
    metrics: dict[str, Any]
    card: str = ""
    weights: Path | None = field(default=None, compare=False)


def write(bundle: Bundle, folder: Path, save_weights: Callable[[Path], None] | None = None) -> None:
    """Write `bundle` to `folder`, which must not exist; it is there whole or not at all.

    Args:
        bundle: the contents.
        folder: where to.
        save_weights: writes the backbone's weights to the path given, for a stand-alone bundle.

    Raises:
        BundleError: the folder exists or the disk does not take it.
    """
    from safetensors.numpy import save

    check(BundleConfig, bundle.config, CONFIG)
    if folder.exists():
        raise BundleError(f"{folder} exists; name a folder that does not, or remove it.")
    try:
        part = fresh_folder(folder.parent)
    except OSError as problem:
        raise BundleError(f"{folder} cannot be made: {problem.strerror}.") from problem
    try:
        (part / CONFIG).write_bytes(pretty(bundle.config))
        arrays = {name: np.ascontiguousarray(array) for name, array in bundle.arrays.items()}
        (part / HEAD).write_bytes(save(arrays))
        (part / METRICS).write_bytes(pretty(bundle.metrics))
        (part / CARD).write_text(bundle.card, encoding="utf-8")
        if save_weights:
            save_weights(part / BACKBONE)
        sums = {}
        for path in sorted(part.iterdir()):
            with path.open("rb") as file:
                sums[path.name] = digest_file(file)
        (part / CHECKSUMS).write_bytes(pretty(sums))
        for path in part.iterdir():
            sync(path)
        part.rename(folder)
        sync(folder.parent)
    except OSError as problem:
        raise BundleError(f"{folder} cannot be written: {problem.strerror}.") from problem
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read(folder: Path) -> Bundle:
    """The bundle in `folder`, every byte of it compared with its checksum first.

    Raises:
        BundleError: it is no bundle, was changed, or comes from a newer regraft.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    sums = _json(folder, CHECKSUMS, _read(folder, CHECKSUMS, 2**20))
    allowed = {CONFIG, HEAD, METRICS, CARD, BACKBONE}
    needed = allowed - {BACKBONE}
    if not (isinstance(sums, dict) and needed <= set(sums) <= allowed):
        raise BundleError(f"{folder / CHECKSUMS} must list {', '.join(sorted(needed))}.")
    held = {name: _read(folder, name, most) for name, most in MOST_BYTES.items()}
    for name, data in held.items():
        _compare(folder, name, digest(data), sums[name])
    config = _json(folder, CONFIG, held[CONFIG])
    made = config.get("format") if isinstance(config, dict) else None
    if isinstance(made, int) and made > FORMAT:
        raise BundleError(
            f"{folder} has bundle format {made} and this regraft reads up to {FORMAT}; install "
            f"regraft {config.get('regraft', 'of its release')} or newer."
        )
    check(BundleConfig, config, str(folder / CONFIG))
    try:
        arrays = load(held[HEAD])
    except (SafetensorError, ValueError, KeyError) as problem:
        raise BundleError(f"{folder / HEAD} is not a safetensors file ({problem}).") from problem
    weights = None
    if BACKBONE in sums:
        weights = folder / BACKBONE
        with _opened(folder, BACKBONE, MOST_WEIGHT_BYTES) as (file, _):
            _compare(folder, BACKBONE, digest_file(file), sums[BACKBONE])
    return Bundle(
        config, arrays, _json(folder, METRICS, held[METRICS]), held[CARD].decode(), weights
    )


def pretty(value: Any) -> bytes:
    """JSON for people and machines: one spelling, sorted keys, no NaN."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


@contextmanager
def _opened(folder: Path, name: str, most: int) -> Iterator[tuple[BufferedReader, int]]:
    """A plain file of at most `most` bytes and its size; links and devices are refused."""
    path = folder / name
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as problem:
        if not folder.exists():
            raise BundleError(f"{folder} does not exist.") from problem
        raise BundleError(
            f"{folder} is not a regraft bundle: its {name} cannot be read ({problem.strerror})."
        ) from problem
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise BundleError(f"{path} must be a plain file.")
        if state.st_size > most:
            raise BundleError(f"{path} has {state.st_size} bytes, more than the {most} allowed.")
        yield file, state.st_size


def _read(folder: Path, name: str, most: int) -> bytes:
    """The bytes of such a file."""
    with _opened(folder, name, most) as (file, size):
        return file.read(size)


def _compare(folder: Path, name: str, found: str, expected: Any) -> None:
    if found != expected:
        raise BundleError(
            f"{folder / name} is not what was written (its checksum differs); get the bundle again."
        )


def _json(folder: Path, name: str, data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise BundleError(f"{folder / name} is not JSON ({problem}).") from problem
