"""What one ships: a folder of fixed files, plain data and tensors, nothing that can run.

    config.json            what the model is: classes, backbone by digest, stages, head (strict)
    head.safetensors       the head's arrays
    metrics.json           how good it was, on what
    README.md              a card for people
    backbone.safetensors   the backbone's weights, in a stand-alone bundle only
    checksums.json         blake2b-256 of every file above

No clock, host or path is in it, so that equal runs give equal bytes. Only the files above are
opened, each a plain file of a bounded size, and nothing in them is used before its checksum has
been compared. Whoever made a bundle could write its checksums too, so what they cover is believed
no further: strict tables (`schema.py`), tensors that add up (`tensors.py`), and then the arrays one
by one (`heads/`, `backbones/`).
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from regraft.errors import BundleError
from regraft.files import digest, digest_file, put_folder, refusal, visible, whole_folder
from regraft.schema import BundleConfig, MetricsConfig, check
from regraft.tensors import listed, strict_json

FORMAT = 1
CONFIG, HEAD, METRICS, CARD = "config.json", "head.safetensors", "metrics.json", "README.md"
BACKBONE, CHECKSUMS = "backbone.safetensors", "checksums.json"
NEEDED = {CONFIG, HEAD, METRICS, CARD}
MOST_WEIGHT_BYTES = 64 * 2**30
#: The most bytes a file may have and still be read into memory; weights are streamed. JSON grows
#: up to thirty times when it is read.
MOST_BYTES = {CONFIG: 10 * 2**20, METRICS: 10 * 2**20, CARD: 2**20, HEAD: 2**30, CHECKSUMS: 2**16}
#: The most bytes of the header of a tensor file, and the most tensors.
HEAD_HEADER, WEIGHTS_HEADER = (2**16, 256), (2**22, 20_000)


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
    from safetensors import SafetensorError
    from safetensors.numpy import save

    check(BundleConfig, bundle.config, CONFIG)
    check(MetricsConfig, bundle.metrics, METRICS)
    if folder.exists():
        raise BundleError(f"{folder} exists; name a folder that does not, or remove it.")
    arrays = {name: np.ascontiguousarray(array) for name, array in bundle.arrays.items()}
    files = {
        CONFIG: pretty(bundle.config),
        HEAD: save(arrays),
        METRICS: small(bundle.metrics),
        CARD: bundle.card.encode(),
    }
    for name, data in files.items():
        if len(data) > MOST_BYTES[name]:
            raise BundleError(
                f"the {name} of this model would have {len(data)} bytes, more than the "
                f"{MOST_BYTES[name]} that a bundle may hold; use fewer classes or shorter names."
            )
    needed = sum(map(len, files.values()))
    if save_weights:
        needed += sum(4 * stage["parameters"] for stage in bundle.config["backbone"]["stages"])
    try:
        with whole_folder(folder.absolute().parent) as part:
            fill(part, files, save_weights)
            put_folder(part, folder.absolute())
    except (OSError, SafetensorError) as problem:
        raise BundleError(f"{folder} cannot be written {refusal(problem, needed)}.") from problem


def fill(
    folder: Path, files: dict[str, bytes], save_weights: Callable[[Path], None] | None
) -> None:
    """Write a bundle's files and their checksums into an empty folder."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    if save_weights:
        save_weights(folder / BACKBONE)
    sums = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            sums[path.name] = digest_file(file)
    (folder / CHECKSUMS).write_bytes(pretty(sums))


def small(metrics: dict[str, Any]) -> bytes:
    """The scores as JSON, without the confusion matrix where thousands of classes make it huge."""
    data = pretty(metrics)
    if len(data) > MOST_BYTES[METRICS] and isinstance(metrics.get("test"), dict):
        data = pretty(metrics | {"test": metrics["test"] | {"confusion": []}})
    return data


def read(folder: Path) -> Bundle:
    """The bundle in `folder`, every byte of it compared with its checksum first.

    Raises:
        BundleError: it is no bundle, was changed, or comes from a newer regraft.
    """
    _must_be_folder(folder)
    sums = _json(folder, CHECKSUMS, _read(folder, CHECKSUMS))
    if not (isinstance(sums, dict) and CONFIG in sums):
        raise BundleError(f"{folder / CHECKSUMS} must list {', '.join(sorted(NEEDED))}.")
    config = _json(folder, CONFIG, _checked(folder, CONFIG, sums))
    _must_be_known(folder, config)
    if not NEEDED <= set(sums) <= NEEDED | {BACKBONE}:
        raise BundleError(f"{folder / CHECKSUMS} must list {', '.join(sorted(NEEDED))}.")
    check(BundleConfig, config, str(folder / CONFIG))
    metrics = _json(folder, METRICS, _checked(folder, METRICS, sums))
    check(MetricsConfig, metrics, str(folder / METRICS))
    card = _text(folder, CARD, _checked(folder, CARD, sums))
    arrays = _arrays(folder, _checked(folder, HEAD, sums, header=HEAD_HEADER))
    weights = None
    if BACKBONE in sums:
        weights = folder / BACKBONE
        with _opened(folder, BACKBONE, MOST_WEIGHT_BYTES) as (file, size):
            _must_add_up(folder, BACKBONE, file, size, WEIGHTS_HEADER)
            _compare(folder, BACKBONE, digest_file(file), sums)
    return Bundle(config, arrays, metrics, card, weights)


def _must_be_folder(folder: Path) -> None:
    try:
        mode = folder.stat().st_mode
    except (OSError, ValueError) as problem:
        told = "does not exist" if isinstance(problem, OSError) else "is no path"
        raise BundleError(f"{visible(str(folder))} {told}.") from problem
    if not stat.S_ISDIR(mode):
        raise BundleError(
            f"{folder} is not a regraft bundle: a bundle is a folder; if this is an archive, "
            "unpack it and name the folder."
        )


def _must_be_known(folder: Path, config: Any) -> None:
    """Refuse a newer format by the name of the version that reads it."""
    made = config.get("format") if isinstance(config, dict) else None
    if isinstance(made, int) and made > FORMAT:
        by = config.get("regraft")
        version = visible(f"{by:.40}") if isinstance(by, str) else "of its release"
        raise BundleError(
            f"{folder} has bundle format {made:.6g} and this regraft reads up to {FORMAT}; install "
            f"regraft {version} or newer."
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
        raise BundleError(
            f"{folder} is not a regraft bundle: its {name} cannot be read ({problem.strerror})."
        ) from problem
    state = os.fstat(handle)
    if not stat.S_ISREG(state.st_mode):
        os.close(handle)
        raise BundleError(f"{path} must be a plain file.")
    with os.fdopen(handle, "rb") as file:
        if state.st_size > most:
            raise BundleError(f"{path} has {state.st_size} bytes, more than the {most} allowed.")
        yield file, state.st_size


def _read(folder: Path, name: str) -> bytes:
    """The bytes of such a file."""
    with _opened(folder, name, MOST_BYTES[name]) as (file, size):
        return file.read(size)


def _checked(
    folder: Path, name: str, sums: dict[str, Any], header: tuple[int, int] | None = None
) -> bytes:
    """The bytes of a file once they were compared with its checksum.

    With `header`, (most bytes, most tensors), the header of a tensor file is looked at first, so
    that one that lies is not even read.
    """
    with _opened(folder, name, MOST_BYTES[name]) as (file, size):
        if header:
            _must_add_up(folder, name, file, size, header)
        data = file.read(size)
    _compare(folder, name, digest(data), sums)
    return data


def _must_add_up(
    folder: Path, name: str, file: BufferedReader, size: int, limits: tuple[int, int]
) -> None:
    try:
        listed(file, size, most_bytes=limits[0], most_tensors=limits[1])
    except ValueError as problem:
        raise BundleError(f"{folder / name} is not a safetensors file ({problem}).") from problem
    file.seek(0)


def _arrays(folder: Path, data: bytes) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, AttributeError) as problem:
        said = visible(f"{problem!s:.200}")
        raise BundleError(f"{folder / HEAD} is not a safetensors file ({said}).") from problem


def _compare(folder: Path, name: str, found: str, sums: dict[str, Any]) -> None:
    if found != sums.get(name):
        raise BundleError(
            f"{folder / name} is not what was written (its checksum differs); get the bundle again."
        )


def _json(folder: Path, name: str, data: bytes) -> Any:
    try:
        return strict_json(data)
    except ValueError as problem:
        said = visible(f"{problem!s:.200}")
        raise BundleError(f"{folder / name} is not JSON ({said}).") from problem


def _text(folder: Path, name: str, data: bytes) -> str:
    try:
        return data.decode()
    except ValueError as problem:
        raise BundleError(f"{folder / name} is not UTF-8.") from problem
