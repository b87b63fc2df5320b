"""Activations on disk, keyed by content.

    <cache>/activations/<pipeline>/<segment>.safetensors

A pipeline is the digest of everything between a file's bytes and its activations; a segment is an
immutable file with the digests of some rows and, for each output, their activations. Segments are
written beside their place and renamed, so they are there whole or not at all and need no lock; two
processes that compute the same rows write two segments. Each segment carries a checksum of its
contents that is checked when it is opened; a rotten one is named, removed and computed again.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regraft.cachedir import FOLDERS, cache_dir
from regraft.errors import CacheError
from regraft.files import (
    is_part,
    is_sealed,
    reason,
    sweep,
    sync,
    touch,
    unsealed,
)
from regraft.segments import KEYS, Segment, write_segment

log = logging.getLogger("regraft")

DEFAULT_LIMIT_BYTES = 20 * 1024**3
MANY_SEGMENTS = 64
#: Segments are written, and joined, up to about this size.
SEGMENT_BYTES = 32 * 1024**2
#: Of what the disk has left, what activations may take.
SHARE_OF_DISK = 0.9
#: Rows of this size and more are copied one by one, smaller ones together.
LARGE_ROW_BYTES = 16 * 1024
RECORDS = ("backbones", "precision", "rates", "similarity")


class Shelf:
    """The cached rows of one pipeline."""

    def __init__(self, pipeline: str, root: Path | None = None) -> None:
        self.folder = (root or cache_dir()) / "activations" / pipeline
        self._segments: list[Segment] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            segment = Segment(path)
        except OSError as problem:  # cleared by another process just now, or not ours to read
            log.debug("cache entry %s is not used: %s", path, problem)
            return
        except (ValueError, KeyError, TypeError) as problem:
            log.warning("cache entry %s is damaged (%s): computing it again", path, problem)
            with suppress(OSError):  # a cache that is only readable keeps it
                path.unlink(missing_ok=True)
            return
        touch(path)
        number = len(self._segments)
        self._segments.append(segment)
        for row, key in enumerate(segment.digests):
            self._places.setdefault(key.tobytes(), (number, row))

    @property
    def bytes(self) -> int:
        """Of all its rows."""
        return sum(segment.bytes for segment in self._segments)

    def __contains__(self, digest: str) -> bool:
        return bytes.fromhex(digest) in self._places

    def add(self, digests: Sequence[str], arrays: dict[str, np.ndarray]) -> None:
        """Store rows: arrays of shape (N, …), one per output, in the order of `digests`."""
        if digests:
            keys = [bytes.fromhex(d) for d in digests]
            self._open(write_segment(self.folder, keys, arrays))

    def rows(self, digests: Sequence[str], name: str) -> Rows:
        """The activations of output `name`, one row per digest, all of which must be stored."""
        places = np.array([self._places[bytes.fromhex(d)] for d in digests], np.int64)
        return Rows([s.array(name) for s in self._segments], places.reshape(-1, 2))

    def tidy(self) -> None:
        """Join many small segments into few, so that a thousand small additions stay quick.

        Segments of half the usual size and more stay as they are; never more than about
        SEGMENT_BYTES are in memory.
        """
        small = [s for s in self._segments if s.bytes < SEGMENT_BYTES // 2]
        if len(small) <= MANY_SEGMENTS:
            return
        batch: list[Segment] = []
        for segment in small:
            if sum(s.bytes for s in batch) + segment.bytes > SEGMENT_BYTES:
                self._join(batch)
                batch = []
            batch.append(segment)
        self._join(batch)

    def _join(self, batch: list[Segment]) -> None:
        """One segment in the place of several. A row that two of them hold is kept once."""
        rows = {key.tobytes(): (s, i) for s in batch for i, key in enumerate(s.digests)}
        names = [name for name in batch[0].names if name != KEYS]
        arrays = {n: np.stack([s.array(n)[i] for s, i in rows.values()]) for n in names}
        kept = write_segment(self.folder, list(rows), arrays)
        self._open(kept)
        for segment in batch:
            if segment.path != kept:
                with suppress(PermissionError):  # Windows keeps what is open
                    segment.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Rows:
    """Rows that lie in several mapped arrays, read when they are asked for.

    (N, …) float32, also where float16 is stored; uint8 where that is stored.

    Attributes:
        arrays: the mapped arrays.
        places: (N, 2) int64, for each row the array's number and the row's place in it.
    """

    arrays: list[np.ndarray]
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *(self.arrays[0].shape[1:] if self.arrays else ()))

    @property
    def stored(self) -> np.dtype[Any]:
        """What lies on disk: float32, float16 or uint8."""
        return self.arrays[0].dtype if self.arrays else np.dtype(np.float32)

    @property
    def dtype(self) -> np.dtype[Any]:
        """What is given: uint8 or float32."""
        return np.dtype(np.float32) if self.stored.kind == "f" else self.stored

    @property
    def row_bytes(self) -> int:
        """Bytes of a row on disk."""
        return math.prod(self.shape[1:]) * self.stored.itemsize

    def __getitem__(self, which: Any) -> np.ndarray:
        """The rows of a slice or an integer or boolean index, copied into memory."""
        return self.raw(which).astype(self.dtype, copy=False)

    def raw(self, which: Any) -> np.ndarray:
        """The same as they are stored."""
        places = self.places[which]
        out = np.empty((len(places), *self.shape[1:]), self.stored)
        if self.row_bytes >= LARGE_ROW_BYTES:
            for place, (number, row) in enumerate(places.tolist()):
                out[place] = self.arrays[number][row]
            return out
        for number, array in enumerate(self.arrays):
            here = places[:, 0] == number
            if here.any():
                out[here] = array[places[here, 1]]
        return out

    def take(self, index: np.ndarray) -> Rows:
        """A view of some rows, nothing read."""
        return Rows(self.arrays, self.places[index])

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds these rows alone, and needs no cache."""
        places = np.stack([np.zeros(len(self), np.int64), np.arange(len(self))], axis=1)
        return Rows, ([self.raw(slice(None))] if self.arrays else [], places)


def entries(root: Path | None = None) -> Iterator[tuple[Path, int, float]]:
    """Every file of the cache with its size in bytes and the time of its last use.

    A file that somebody else put beside the cache's own folders is none of ours, and one that is
    being written is no entry yet.
    """
    base = root or cache_dir()
    for path in sorted(p for name in FOLDERS for p in (base / name).rglob("*")):
        if any(is_part(one) for one in (path, path.parent)):
            continue
        try:
            stat = path.stat()
        except OSError:
            continue
        if path.is_file():
            yield path, stat.st_size, stat.st_mtime


def limit_bytes() -> int:
    """The size that activations may take: REGRAFT_CACHE_LIMIT in GB, 20 if it is not set."""
    text = os.environ.get("REGRAFT_CACHE_LIMIT")
    if not text:
        return DEFAULT_LIMIT_BYTES
    try:
        value = float(text)
        if not (math.isfinite(value) and value >= 0):
            raise ValueError
    except ValueError:
        raise CacheError(f"REGRAFT_CACHE_LIMIT must be a number of GB, got '{text}'.") from None
    return int(value * 1e9)


def trim(keep: Collection[Path], root: Path | None = None, needed: int = 0) -> int:
    """Remove the activations used longest ago until the limit holds. Bytes freed.

    An open map stays readable after its file is gone.

    Args:
        keep: folders whose files go last: what was computed just now.
        root: of the cache.
        needed: bytes more that there is to be room for, below the limit and on the disk.
    """
    held = [e for e in entries(root) if e[0].suffix == ".safetensors"]
    over = sum(size for _, size, _ in held) + needed - limit_bytes()
    if needed:
        over = max(over, needed - free_bytes(root))
    freed = 0
    for path, size, _ in sorted(held, key=lambda entry: (entry[0].parent in keep, entry[2])):
        if freed >= over:
            break
        with suppress(PermissionError):  # Windows keeps what is open
            path.unlink(missing_ok=True)
            freed += size
    return freed


def free_bytes(root: Path | None = None) -> int:
    """What the disk of the cache has left, for this user."""
    base = (root or cache_dir()).absolute()
    while not base.exists():
        base = base.parent
    return shutil.disk_usage(base).free


def room_bytes(root: Path | None = None) -> int:
    """What activations may take: the limit, or less if the disk is smaller.

    What the cache holds already counts as room, since the oldest of it makes way; so the answer
    is the same before and after something was kept.
    """
    held = sum(size for path, size, _ in entries(root) if path.suffix == ".safetensors")
    return min(limit_bytes(), int(SHARE_OF_DISK * (free_bytes(root) + held)))


def clear(older_seconds: float = 0.0, root: Path | None = None) -> tuple[int, int]:
    """Remove what was not used for `older_seconds`, and what dead processes left half written.

    Returns:
        How many (files, bytes) were removed.
    """
    before = time.time() - older_seconds
    base = root or cache_dir()
    files = sum(sweep(p) for name in FOLDERS for p in _folders(base / name))
    freed = 0
    for path, size, used in list(entries(root)):
        if used <= before:
            path.unlink(missing_ok=True)
            files, freed = files + 1, freed + size
    for name in FOLDERS:
        for folder in sorted(_folders(base / name), reverse=True):
            with suppress(OSError):  # not empty
                folder.rmdir()
    return files, freed


def _folders(base: Path) -> list[Path]:
    """`base` and every folder below it that is not just being written."""
    return [base, *(p for p in base.rglob("*") if p.is_dir() and not is_part(p))]


def purge(digests: Collection[str], root: Path | None = None) -> int:
    """Remove the rows of these contents from every pipeline; returns how many there were.

    A segment that holds one is written anew without it before the old one goes, so a crash loses
    no other row, and doing it again finishes it. What cannot be opened is rotten and goes whole.

    Raises:
        CacheError: the cache cannot be changed.
    """
    gone = {bytes.fromhex(one) for one in digests}
    count = 0
    for path, _, _ in list(entries(root)):
        if path.suffix != ".safetensors" or path.parent.parent.name != "activations":
            continue
        try:
            segment = Segment(path)
        except OSError:
            continue
        except (ValueError, KeyError, TypeError):
            path.unlink(missing_ok=True)
            continue
        stay = [n for n, key in enumerate(segment.digests) if key.tobytes() not in gone]
        if len(stay) == len(segment.digests):
            continue
        count += len(segment.digests) - len(stay)
        try:
            if stay:
                names = [name for name in segment.names if name != KEYS]
                arrays = {name: segment.array(name)[stay] for name in names}
                write_segment(path.parent, [segment.digests[n].tobytes() for n in stay], arrays)
            path.unlink(missing_ok=True)
            sync(path.parent)
        except OSError as problem:
            raise CacheError(
                f"{path} cannot be removed ({reason(problem)}); it holds rows that were to go."
            ) from problem
    return count


def verify(root: Path | None = None) -> list[Path]:
    """The segments, records and trunks that are not what was written; they stay where they are."""
    bad = []
    for path, _, _ in entries(root):
        if path.suffix == ".safetensors":
            try:
                Segment(path)
            except (ValueError, KeyError, TypeError, OSError):
                bad.append(path)
        elif path.suffix == ".json" and path.parent.name in RECORDS:
            try:
                unsealed(path.read_bytes())
            except (ValueError, OSError):
                bad.append(path)
    trunks = (root or cache_dir()) / "trunks"
    return bad + sorted(p for p in trunks.glob("[!.]*") if p.is_dir() and not is_sealed(p))
