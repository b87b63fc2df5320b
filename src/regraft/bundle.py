"""What one ships: a folder of fixed files, plain data and tensors, nothing that can run.

    config.json            what the model is: classes, backbone by digest, stages, head (strict)
    head.safetensors       the head's arrays
    metrics.json           how good it was, on what
    README.md              a card for people
    tuned.safetensors      what training changed of the backbone, where it was trained
    backbone.safetensors   the backbone's weights, in a stand-alone bundle only: all of them
    checksums.json         blake2b-256 of every file above

Format 1 is of backbones as they were published, format 2 of trained ones.
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
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from regraft.errors import BundleError
from regraft.files import digest, digest_file, put_folder, refusal, visible, whole_folder
from regraft.locks import BINARY, NO_FOLLOW, NO_WAIT
from regraft.schema import BundleConfig, MetricsConfig, check
from regraft.tensors import Listed, listed, strict_json

FORMAT = 2
PLAIN = 1  # the format of a bundle whose backbone is as it was published
CONFIG, HEAD, METRICS, CARD = "config.json", "head.safetensors", "metrics.json", "README.md"
BACKBONE, TUNED = "backbone.safetensors", "tuned.safetensors"
CHECKSUMS = "checksums.json"
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
        tuned: what training changed of them, None if nothing or if `weights` has it.
    """

    config: dict[str, Any]
    arrays: dict[str, np.ndarray]
    metrics: dict[str, Any]
    card: str = ""
    weights: Path | None = field(default=None, compare=False)
    tuned: Path | None = field(default=None, compare=False)


def write(
    bundle: Bundle, folder: Path, streamed: Mapping[str, Callable[[Path], None]] | None = None
) -> None:
    """Write `bundle` to `folder`, which must not exist; it is there whole or not at all.

    Args:
        bundle: the contents.
        folder: where to.
        streamed: by file name what writes it to the path given: `BACKBONE` for a stand-alone
            bundle, else `TUNED` for a trained backbone.

    Raises:
        BundleError: the folder exists or the disk does not take it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    check(BundleConfig, bundle.config, CONFIG)
    check(MetricsConfig, bundle.metrics, METRICS)
    streamed = streamed or {}
    _must_be_listed(folder, {*NEEDED, *streamed}, bundle.config["format"])
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
    if BACKBONE in streamed:
        needed += sum(4 * stage["parameters"] for stage in bundle.config["backbone"]["stages"])
    elif TUNED in streamed:
        needed += 4 * bundle.config["tuned"]["parameters"]
    try:
        with whole_folder(folder.absolute().parent) as part:
            fill(part, files, streamed)
            put_folder(part, folder.absolute())
    except (OSError, SafetensorError) as problem:
        raise BundleError(f"{folder} cannot be written {refusal(problem, needed)}.") from problem


def fill(
    folder: Path, files: dict[str, bytes], streamed: Mapping[str, Callable[[Path], None]]
) -> None:
    """Write a bundle's files and their checksums into an empty folder."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    for name, write_to in streamed.items():
        write_to(folder / name)
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
    check(BundleConfig, config, str(folder / CONFIG))
    _must_be_listed(folder, sums, config["format"])
    metrics = _json(folder, METRICS, _checked(folder, METRICS, sums))
    check(MetricsConfig, metrics, str(folder / METRICS))
    card = _text(folder, CARD, _checked(folder, CARD, sums))
    arrays = _arrays(folder, _checked(folder, HEAD, sums, header=HEAD_HEADER))
    paths = [_streamed(folder, name, sums, config) for name in (BACKBONE, TUNED)]
    return Bundle(config, arrays, metrics, card, *paths)


def _streamed(folder: Path, name: str, sums: dict[str, Any], config: dict[str, Any]) -> Path | None:
    """The path of a file of weights, checked and not held in memory; None if there is none."""
    if name not in sums:
        return None
    with _opened(folder, name, MOST_WEIGHT_BYTES) as (file, size):
        held = _must_add_up(folder, name, file, size, WEIGHTS_HEADER)
        if name == TUNED and sorted(held) != config["tuned"]["tensors"]:
            raise BundleError(f"{folder / name} has other tensors than {CONFIG} names.")
        _compare(folder, name, digest_file(file), sums)
    return folder / name


def _must_be_listed(folder: Path, names: Collection[str], made: int) -> None:
    """Refuse other files than a bundle of the format `made` has."""
    more = set(names) - NEEDED
    allowed = ({TUNED}, {BACKBONE}) if made > PLAIN else (set(), {BACKBONE})
    if not set(names) >= NEEDED or more not in allowed:
        also = f" and either {TUNED} or {BACKBONE}" if made > PLAIN else ""
        raise BundleError(f"{folder / CHECKSUMS} must list {', '.join(sorted(NEEDED))}{also}.")


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
        handle = os.open(path, os.O_RDONLY | NO_FOLLOW | NO_WAIT | BINARY)
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
) -> Listed:
    try:
        held = listed(file, size, most_bytes=limits[0], most_tensors=limits[1])
    except ValueError as problem:
        raise BundleError(f"{folder / name} is not a safetensors file ({problem}).") from problem
    file.seek(0)
    return held


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
