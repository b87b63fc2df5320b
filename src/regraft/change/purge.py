"""Files that are to leave no trace: their activations purged, and a search that proves it.

The run that was changed carries `purge.json`, the contents that must go, until they are gone. So a
crash in between is made good by the next command that changes the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regraft.cache import entries, purge
from regraft.errors import BundleError, CacheError
from regraft.files import sweep, sync
from regraft.segments import KEYS, Segment

PENDING = "purge.json"
PIECE = 1 << 24  # bytes that are searched at a time
ANCHOR = 8  # bytes of what is searched for, looked up before all of it is compared
MOST_TRIED = 4096  # places of a row that are compared for it
LEAST_BYTES = 32  # of a row of activations that is searched for
_DIGEST = re.compile(r"[0-9a-f]{64}")
Hit = tuple[int, bytes]  # where, and what


@dataclass(frozen=True)
class Proof:
    """What a search for traces found.

    Attributes:
        files: how many files were searched: all of the run and of the cache.
        bytes: how many bytes they have.
        patterns: how many digests, names and rows of activations were searched for.
        found: where one of them was, a text per place.
    """

    files: int
    bytes: int
    patterns: int
    found: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "files_searched": self.files,
            "bytes_searched": self.bytes,
            "patterns": self.patterns,
            "found": len(self.found),
        }


def pending(digests: Collection[str]) -> dict[str, bytes]:
    """The file that says what must still go, by its name."""
    return {PENDING: (json.dumps(sorted(digests)) + "\n").encode()}


def finish(folder: Path) -> None:
    """Purge what a change that was cut short has left.

    Raises:
        BundleError: the list of it is not what was written.
        CacheError: the cache cannot be changed.
    """
    sweep(folder.absolute().parent)  # the old run, if a crash left it
    path = folder / PENDING
    if not path.exists():
        return
    try:
        digests = json.loads(path.read_bytes())
        if not isinstance(digests, list) or not all(
            isinstance(one, str) and _DIGEST.fullmatch(one) for one in digests
        ):
            raise ValueError("it is no list of digests")
    except (OSError, ValueError, RecursionError) as problem:
        raise BundleError(f"{path} is not what was written ({problem}); remove it.") from problem
    purge(digests)
    settle(folder)


def settle(folder: Path) -> None:
    """Nothing is pending any more."""
    (folder / PENDING).unlink(missing_ok=True)
    sync(folder)


def rows_of(digests: Collection[str]) -> list[bytes]:
    """The cached activations of some contents, each output's row as its bytes.

    Rows that are short or say next to nothing, all zeros perhaps, would be found anywhere.
    """
    wanted = {bytes.fromhex(one) for one in digests}
    found = set()
    for path, _, _ in entries():
        if path.suffix != ".safetensors" or path.parent.parent.name != "activations":
            continue
        try:
            segment = Segment(path)
        except (ValueError, KeyError, TypeError, OSError):
            continue  # rotten: it is not read again either, and `prove` searches its bytes
        places = [n for n, key in enumerate(segment.digests) if key.tobytes() in wanted]
        for name in segment.names:
            if name != KEYS and places:
                array = segment.array(name)
                found |= {np.ascontiguousarray(array[n]).tobytes() for n in places}
    return sorted(row for row in found if len(row) >= LEAST_BYTES and len(set(row)) >= ANCHOR)


def prove(
    folder: Path, digests: Collection[str], names: Collection[str], rows: Sequence[bytes]
) -> Proof:
    """Search the run folder and the whole cache for what was removed.

    Args:
        folder: of the run.
        digests: of the files, in hex; they are searched for so and as their 32 bytes.
        names: ids of the files that no other file has, searched for in the run's texts.
        rows: their activations, see `rows_of`. Where another file has the very same activations,
            as a copy in another format may, its row is no trace.

    Raises:
        CacheError: something was found.
    """
    raw = [bytes.fromhex(one) for one in digests]
    patterns = [*raw, *(one.encode() for one in digests), *rows]
    search = Patterns(patterns)
    own = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != PENDING]
    cached = [path for path, _, _ in entries() if path.is_file()]
    found: list[str] = []
    size = 0
    for path in (*own, *cached):
        try:
            size += path.stat().st_size
            hits = list(_search(path, search))
        except OSError:  # cleared by another process just now
            continue
        twins = _twins(path, hits, set(rows)) if hits else set()
        found += [f"{path} at byte {at}" for at, pattern in hits if (at, pattern) not in twins]
    for path in own:
        if path.suffix in (".json", ".txt", ".toml", ".md"):
            found += [f"{path} names {name}" for name in _named(path, names)]
    if found:
        raise CacheError(
            f"{len(found)} traces of removed files are left, the first in {found[0]}; another "
            "process may have written them just now: run 'regraft cache clear', then add or "
            "remove once more."
        )
    return Proof(len(own) + len(cached), size, len(patterns) + len(names), ())


def _search(path: Path, patterns: Patterns) -> Iterator[Hit]:
    """Every place of every pattern in a file, piece by piece."""
    if path.stat().st_size < ANCHOR or not patterns.by_anchor:
        return
    data = np.memmap(path, np.uint8, "r")
    for start in range(0, data.size, PIECE):
        first = max(0, start - patterns.longest)
        piece = np.asarray(data[first : start + PIECE + patterns.longest])
        for at in patterns.candidates(piece):
            for pattern, inside in patterns.by_anchor[piece[at : at + ANCHOR].tobytes()]:
                begin = int(at) - inside
                here = start <= first + begin < start + PIECE
                if here and piece[begin : begin + len(pattern)].tobytes() == pattern:
                    yield first + begin, pattern


class Patterns:
    """What is searched for, all at once.

    Of each pattern the eight bytes that differ most from each other are looked up first: a row of
    activations may begin with zeros, which are everywhere.
    """

    def __init__(self, patterns: Sequence[bytes]) -> None:
        self.longest = max(map(len, patterns), default=0)
        self.by_anchor: dict[bytes, list[tuple[bytes, int]]] = {}
        for pattern in patterns:
            inside = _telling(pattern)
            anchor = pattern[inside : inside + ANCHOR]
            self.by_anchor.setdefault(anchor, []).append((pattern, inside))
        self._anchors = np.frombuffer(b"".join(self.by_anchor), "<u8")
        words = self._anchors.view("<u2").reshape(-1, ANCHOR // 2)
        self._tables = np.zeros((ANCHOR // 2, 1 << 16), bool)
        for table, column in zip(self._tables, words.T, strict=True):
            table[column] = True

    def candidates(self, piece: np.ndarray) -> np.ndarray:
        """Places in `piece` (n,) uint8 where an anchor stands, sorted."""
        found = []
        for shift in (0, 1):
            whole = (len(piece) - shift) // 2
            words = np.frombuffer(piece[shift : shift + 2 * whole].tobytes(), "<u2")
            at = np.flatnonzero(self._tables[0][words])
            at = at[at + ANCHOR // 2 <= whole]
            for step in range(1, ANCHOR // 2):
                at = at[self._tables[step][words[at + step]]]
            found.append(2 * at + shift)
        places = np.sort(np.concatenate(found))
        eight = piece[places[:, None] + np.arange(ANCHOR)]
        return places[np.isin(np.ascontiguousarray(eight).view("<u8")[:, 0], self._anchors)]


def _telling(pattern: bytes) -> int:
    """Where eight bytes begin that differ most from each other, of so many places of the row."""
    starts = range(0, len(pattern) - ANCHOR + 1, max(4, len(pattern) // MOST_TRIED // 4 * 4))
    return max(starts, key=lambda at: len(set(pattern[at : at + ANCHOR])))


def _twins(path: Path, hits: Sequence[Hit], rows: set[bytes]) -> set[Hit]:
    """Those hits that are the whole row of another file, in a sound segment of the cache."""
    if path.parent.parent.name != "activations":
        return set()
    try:
        segment = Segment(path)
    except (ValueError, KeyError, TypeError, OSError):
        return set()
    spans = [segment.place(name) for name in segment.names if name != KEYS]

    def is_row(at: int, size: int) -> bool:
        return any(a <= at < b and step == size and (at - a) % step == 0 for a, b, step in spans)

    return {(at, one) for at, one in hits if one in rows and is_row(at, len(one))}


def _named(path: Path, names: Collection[str]) -> list[str]:
    """The names that a text holds as a word of its own, or as a value of its JSON."""
    if path.suffix == ".json":
        values = set(_strings(json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))))
        return sorted(values & set(names))
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    return [
        name
        for name in names
        if not name.isdigit() and re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w/-])", text)
    ]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _strings(one)
