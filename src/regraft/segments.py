"""One file of cached rows: a safetensors file, named by its contents, checked when it is opened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from regraft.files import DIGEST_BYTES, cache_full, whole_file

KEYS = "digests"
#: What an array may hold, the widest first: stored in this order, each begins aligned.
KINDS: dict[str, type[Any]] = {"F32": np.float32, "F16": np.float16, "U8": np.uint8}


class Segment:
    """One file of activations, mapped into memory.

    Raises:
        ValueError: the file is not what was written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        raw = np.memmap(path, np.uint8, "r")
        header_bytes = int.from_bytes(raw[:8].tobytes(), "little")
        if header_bytes > raw.size - 8:
            raise ValueError("the header is longer than the file")
        header = json.loads(raw[8 : 8 + header_bytes].tobytes())
        self._start = 8 + header_bytes
        self._body = raw[self._start :]
        seal = header.pop("__metadata__")["seal"]
        if seal != checksum(header, self._body):
            raise ValueError("the checksum does not match")
        self._header = header
        self.names = tuple(header)
        self.bytes = int(self._body.size)
        self.digests = self.array(KEYS).reshape(-1, DIGEST_BYTES)

    def array(self, name: str) -> np.ndarray:
        """The stored array `name`, first axis rows, mapped and read-only."""
        entry = self._header[name]
        start, stop = entry["data_offsets"]
        array = self._body[start:stop].view(KINDS[entry["dtype"]])
        return np.asarray(array.reshape(entry["shape"]))

    def place(self, name: str) -> tuple[int, int, int]:
        """Where `name` begins and ends in the file, and how many bytes a row has."""
        entry = self._header[name]
        start, stop = (self._start + offset for offset in entry["data_offsets"])
        return start, stop, (stop - start) // max(len(self.digests), 1)


def checksum(header: dict[str, Any], body: np.ndarray) -> str:
    """xxh3-128 over what the header says of the arrays and over their bytes."""
    state = xxhash.xxh3_128(json.dumps(header, sort_keys=True).encode())
    state.update(body.data)
    return str(state.hexdigest())


def write_segment(folder: Path, digests: Sequence[bytes], arrays: dict[str, np.ndarray]) -> Path:
    """Write rows as one safetensors file, named by its contents.

    Arrays of float16 and uint8 are stored as they are, all others as float32.

    The layout is written here and not by the safetensors package because the header must hold
    the checksum of a body that is streamed, not joined in memory first.
    """
    keys = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)
    for name, array in arrays.items():
        if len(array) != len(keys):
            raise ValueError(f"output '{name}' has {len(array)} rows for {len(keys)} digests")
    stored = {name: np.ascontiguousarray(a, KINDS[kind_of(a)]) for name, a in arrays.items()}
    order = sorted(stored, key=lambda name: (list(KINDS).index(kind_of(stored[name])), name))
    parts: dict[str, np.ndarray] = {name: stored[name] for name in order} | {KEYS: keys}
    header, offset = {}, 0
    for name, array in parts.items():
        span = [offset, offset + array.nbytes]
        header[name] = {"dtype": kind_of(array), "shape": list(array.shape), "data_offsets": span}
        offset = span[1]
    state = xxhash.xxh3_128(json.dumps(header, sort_keys=True).encode())
    for array in parts.values():
        state.update(array.data)
    seal = state.hexdigest()
    text = json.dumps({**header, "__metadata__": {"seal": seal}}).encode()
    text += b" " * (-len(text) % 8)
    path = folder / f"{seal}.safetensors"
    try:
        with whole_file(path) as part, part.open("wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            for array in parts.values():
                out.write(array.data)
    except OSError as problem:
        raise cache_full(folder, len(text) + offset, problem) from problem
    return path


def kind_of(array: np.ndarray) -> str:
    """How an array's numbers are stored: one of `KINDS`."""
    return next((name for name, kind in KINDS.items() if array.dtype == kind), "F32")
