"""Examples in, activations out: read, look up, decode, run the frozen stages, keep.

    bytes ─► digest ─► cached? ─► decode ─► engine ─► cache ─► rows
                          └─────────── hit ───────────────┘

Reading and decoding run in a pool of threads (the decoder releases the interpreter lock) while the
engine runs; only a window of rows is ever in memory.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from regraft.cache import SEGMENT_BYTES, Rows, Shelf, free_bytes, trim
from regraft.data import Example, Skipped
from regraft.data.views import View
from regraft.engine import Session
from regraft.errors import DataError
from regraft.files import digest_of, visible
from regraft.inputs import InputSpec, Row
from regraft.loading import Loader
from regraft.pipeline import ROW, Pipeline, decided, look_key

log = logging.getLogger("regraft")

#: The name of the looks among the rows of `Features`.
LOOK = "look"
#: Segments' worth of activations that may wait in memory while several views are computed.
MOST_PENDING = 4
NO_NUMBER = "the backbone's output for it is not a finite number"
Progress = Callable[[int, int], None]


@dataclass
class Counts:
    """What a pass cost.

    Attributes:
        state: 'warm' (nothing to compute), 'compiled' (the trunk was at hand) or 'cold'.
        hits: examples whose activations were cached.
        misses: examples that were computed.
        seconds: of the whole pass.
    """

    state: str = "warm"
    hits: int = 0
    misses: int = 0
    seconds: float = 0.0

    def plus(self, later: Counts) -> Counts:
        """What two passes cost; the state is that of the one that had more to make."""
        states = ("warm", "compiled", "cold")
        state = max(self.state, later.state, key=states.index)
        hits, misses = self.hits + later.hits, self.misses + later.misses
        return Counts(state, hits, misses, self.seconds + later.seconds)

    def json(self) -> dict[str, Any]:
        """What the reports tell of the cache."""
        return {"state": self.state, "hits": self.hits, "misses": self.misses}


@dataclass(frozen=True)
class Features:
    """The activations of the examples that could be read.

    Attributes:
        examples: in the order they were given, without the unreadable ones.
        digests: of each example's bytes.
        rows: for each name of the pipeline the activations, (N, …) float32, or rows, uint8, read
            lazily from the cache; and under `LOOK` the looks, if the modality has any.
        skipped: unreadable examples and the reasons.
        counts: what the pass cost.
        precision: the one that was used.
        half: whether flows are kept in half precision.
    """

    examples: tuple[Example, ...]
    digests: tuple[str, ...]
    rows: dict[str, Rows]
    skipped: tuple[Skipped, ...] = ()
    counts: Counts = field(default_factory=Counts)
    precision: str = ""
    half: bool = False

    def take(self, index: np.ndarray) -> Features:
        """The same for some rows, nothing computed or read."""
        return replace(
            self,
            examples=tuple(self.examples[i] for i in index),
            digests=tuple(self.digests[i] for i in index),
            rows={name: rows.take(index) for name, rows in self.rows.items()},
        )


def refuse_nothing(found: Features, skipped: Sequence[Skipped], root: str) -> None:
    """Raise a DataError that names the first reason if not one example could be read."""
    if not found.examples:
        first = f" ({visible(skipped[0].file)}: {skipped[0].reason})" if skipped else ""
        raise DataError(f"none of the {len(skipped)} files in {root} could be read{first}.")


def compute(
    examples: Sequence[Example], pipe: Pipeline, progress: Progress | None = None
) -> Features:
    """The activations of `examples`, computed where they are not cached.

    What was computed is kept also when the pass is interrupted. Flows that half precision cannot
    hold are kept in float32 after all, and a warning says so; see `Features.half`.
    """
    try:
        return compute_views(examples, pipe, (pipe.view,), progress)[0]
    except TooLarge as problem:
        log.warning("%s: flows are kept in float32", problem)
    return compute_views(examples, replace(pipe, half=False), (pipe.view,), progress)[0]


def compute_views(
    examples: Sequence[Example],
    pipe: Pipeline,
    views: Sequence[View | None],
    progress: Progress | None = None,
) -> list[Features]:
    """`compute` for several views of the examples, each file read and decoded once.

    Raises:
        TooLarge: flows are to be halved and one is beyond what half precision holds.
    """
    start = time.perf_counter()
    pipe, built = decided(pipe) if pipe.taps else (pipe, False)
    shelves = [Shelf(digest_of(replace(pipe, view=view).key())) for view in views]
    load = Loader(pipe.info.input, pipe.threads, shelves, views)
    work = _Pass(examples, load, shelves, _Columns.of(pipe, load.looks), progress)
    work.make_room(pipe.row_bytes)
    work.run((lambda: pipe.open(pipe.precision)) if pipe.taps else None, built)
    work.finish()
    found = [work.found(number, start) for number in range(len(views))]
    return [replace(one, precision=pipe.precision, half=bool(pipe.halved)) for one in found]


def compute_looks(
    examples: Sequence[Example], spec: InputSpec, threads: int, progress: Progress | None = None
) -> Features:
    """The looks of `examples` without a backbone, made where they are not cached.

    Features without a tap: `rows` holds the looks, or nothing if the modality has none; what
    cannot be decoded is skipped in both cases.
    """
    start = time.perf_counter()
    shelves = [Shelf(digest_of(look_key(spec)))]
    load = Loader(spec, threads, shelves)
    work = _Pass(examples, load, shelves, _Columns((), False, load.looks), progress)
    work.run(None)
    work.finish()
    return work.found(0, start)


class TooLarge(Exception):
    """An activation is beyond what half precision holds."""


@dataclass(frozen=True)
class _Columns:
    """What is kept of each row.

    Attributes:
        taps: the names of the session's outputs, in order.
        row: whether the decoded row is kept.
        look: whether its look is kept.
        halved: the outputs that are kept in half precision.
    """

    taps: tuple[str, ...]
    row: bool
    look: bool
    halved: frozenset[str] = frozenset()

    @classmethod
    def of(cls, pipe: Pipeline, look: bool) -> _Columns:
        return cls(pipe.trunk().wanted, pipe.keep_row, look, pipe.halved)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all columns, in the order of `arrays`."""
        return (*self.taps, *([ROW] if self.row else []), *([LOOK] if self.look else []))

    def arrays(
        self, outputs: Sequence[np.ndarray], row: Row, look: np.ndarray | None
    ) -> tuple[np.ndarray, ...]:
        """One array per name.

        Raises:
            TooLarge: an output that is to be halved cannot be.
        """
        pairs = zip(self.taps, outputs, strict=True)
        kept = [halved(o, name) if name in self.halved else o for name, o in pairs]
        kept += [row[0]] if self.row else []
        return (*kept, *([] if look is None else [look]))


def halved(array: np.ndarray, name: str) -> np.ndarray:
    """`array` in float16, rounded to nearest.

    Raises:
        TooLarge: a number of it is beyond 65504.
    """
    with np.errstate(over="ignore"):
        small = array.astype(np.float16)
    if not np.isfinite(small).all():
        most = float(np.abs(array).max())
        raise TooLarge(f"the output {name} reaches {most:.3g}, half precision ends at 65504")
    return small


class _Pass:
    """One pass over the examples: what is found, computed and left out, one shelf per view."""

    def __init__(
        self,
        examples: Sequence[Example],
        load: Loader,
        shelves: Sequence[Shelf],
        columns: _Columns,
        progress: Progress | None,
    ) -> None:
        self.examples = examples
        self.load = load
        self.shelves = shelves
        self.columns = columns
        self.progress = progress
        self.counts = Counts()
        self.digests: list[str | None] = [None] * len(examples)
        self.skipped: list[Skipped] = []
        self._running: deque[tuple[int, str, Row, np.ndarray | None]] = deque()
        self._kept: list[list[tuple[str, tuple[np.ndarray, ...]]]] = [[] for _ in shelves]
        self._bytes = 0
        self._most_bytes = SEGMENT_BYTES * min(len(shelves), MOST_PENDING)
        self._odd: set[tuple[int, str]] = set()

    def run(self, engine: Callable[[], Session] | None, built: bool = False) -> None:
        """Compute what is not cached. Without an engine there must be no taps.

        Args:
            engine: opens a session.
            built: whether the trunk was compiled just before.
        """
        misses = self._misses()
        first = next(misses, None)
        if first is None:
            return
        session = engine() if engine else None
        self.counts.state = "cold" if session and (session.built or built) else "compiled"
        rows = _chain(first, misses)
        try:
            for outputs in session.run(rows) if session else (() for _ in rows):
                self._keep(outputs)
        finally:
            self._flush()

    def make_room(self, row_bytes: int) -> None:
        """Let the activations used longest ago go if the disk is too full for this pass."""
        folders = [shelf.folder for shelf in self.shelves]
        held = sum(shelf.bytes for shelf in self.shelves)
        needed = len(self.examples) * len(folders) * row_bytes - held
        if needed > free_bytes():
            trim(folders, needed=needed)

    def finish(self) -> None:
        """Leave the cache tidy and within its limit."""
        if self.counts.misses:
            for shelf in self.shelves:
                shelf.tidy()
            trim([shelf.folder for shelf in self.shelves])

    def found(self, view: int, start: float) -> Features:
        """What the pass came to for one view. `start` is when it began, in seconds."""
        shelf, kept, skipped = self.shelves[view], [], list(self.skipped)
        for number, key in enumerate(self.digests):
            if key is None:
                continue
            if (view, key) in self._odd:  # nothing of it was kept
                skipped.append(Skipped(self.examples[number].id, NO_NUMBER))
            else:
                kept.append(number)
        digests = tuple(self.digests[number] or "" for number in kept)
        self.counts.seconds = time.perf_counter() - start
        return Features(
            tuple(self.examples[number] for number in kept),
            digests,
            {name: shelf.rows(digests, name) for name in self.columns.names},
            tuple(skipped),
            replace(self.counts),
        )

    def _misses(self) -> Iterator[Row]:
        """The decoded rows that are not cached, each content once."""
        seen: set[str] = set()
        for number, loaded in enumerate(self.load.each(self.examples)):
            if isinstance(loaded, Skipped):
                self.skipped.append(loaded)
            else:
                self.digests[number] = loaded.digest
                if not loaded.rows or loaded.digest in seen:
                    self.counts.hits += 1
                else:
                    self.counts.misses += 1
                    seen.add(loaded.digest)
                    for view, row in loaded.rows:
                        self._running.append((view, loaded.digest, row, loaded.look))
                        yield row
            if self.progress:
                self.progress(number + 1, len(self.examples))

    def _keep(self, outputs: tuple[np.ndarray, ...]) -> None:
        view, key, row, look = self._running[0]
        if all(np.isfinite(output).all() for output in outputs):
            arrays = self.columns.arrays(outputs, row, look)
            self._kept[view].append((key, arrays))  # in one step: Ctrl-C may come after any
            self._bytes += sum(array.nbytes for array in arrays)
        else:
            self._odd.add((view, key))
        self._running.popleft()
        if self._bytes >= self._most_bytes:
            self._flush()

    def _flush(self) -> None:
        self._bytes = 0
        for view, shelf in enumerate(self.shelves):
            kept, self._kept[view] = self._kept[view], []
            if kept and self.columns.names:
                columns = zip(*(arrays for _, arrays in kept), strict=True)
                pairs = zip(self.columns.names, columns, strict=True)
                shelf.add([key for key, _ in kept], {n: np.stack(c) for n, c in pairs})


def _chain(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest
