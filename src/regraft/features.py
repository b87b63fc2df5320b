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
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from regraft.cache import SEGMENT_BYTES, Rows, Shelf, trim
from regraft.data import Example, Skipped, decoder
from regraft.data.decoders import Decoder, looker
from regraft.engine import Session, precision
from regraft.errors import BadFile, DataError
from regraft.files import digest, digest_of, visible
from regraft.inputs import InputSpec, Row
from regraft.pipeline import Pipeline, look_key, precision_record

log = logging.getLogger("regraft")

#: The name of the looks among the rows of `Features`.
LOOK = "look"
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
        rows: for each tap's name the activations, (N, …) float32, read lazily from the cache; and
            under `LOOK` the looks, if the modality has any.
        skipped: unreadable examples and the reasons.
        counts: what the pass cost.
        precision: the one that was used.
    """

    examples: tuple[Example, ...]
    digests: tuple[str, ...]
    rows: dict[str, Rows]
    skipped: tuple[Skipped, ...] = ()
    counts: Counts = field(default_factory=Counts)
    precision: str = ""

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

    What was computed is kept also when the pass is interrupted.
    """
    start = time.perf_counter()
    if not pipe.precision:
        pipe = replace(pipe, precision=_decide(examples, pipe))
    shelf = Shelf(digest_of(pipe.key()))
    work = _Pass(examples, Loader(pipe.info.input, pipe.threads, shelf), shelf, progress)
    work.run(pipe.names, lambda: pipe.open(pipe.precision))
    return _found(work, pipe.names, pipe.precision, start)


def compute_looks(
    examples: Sequence[Example], spec: InputSpec, threads: int, progress: Progress | None = None
) -> Features:
    """The looks of `examples` without a backbone, made where they are not cached.

    Features without a tap: `rows` holds the looks, or nothing if the modality has none; what
    cannot be decoded is skipped in both cases.
    """
    start = time.perf_counter()
    shelf = Shelf(digest_of(look_key(spec)))
    work = _Pass(examples, Loader(spec, threads, shelf), shelf, progress)
    work.run((), None)
    return _found(work, (), "", start)


def _found(work: _Pass, names: tuple[str, ...], precision: str, start: float) -> Features:
    """What a pass over the examples came to. `start` is when it began, in seconds."""
    shelf, examples = work.shelf, work.examples
    kept = [i for i, d in enumerate(work.digests) if d is not None]
    digests = tuple(d for d in work.digests if d is not None)
    if work.counts.misses:
        shelf.tidy()
        trim(shelf.folder)
    work.counts.seconds = time.perf_counter() - start
    every = (*names, LOOK) if work.load.looks else names
    return Features(
        tuple(examples[i] for i in kept),
        digests,
        {name: shelf.rows(digests, name) for name in every},
        tuple(work.skipped),
        work.counts,
        precision,
    )


class _Pass:
    """One pass over the examples: what is found, computed and left out."""

    def __init__(
        self, examples: Sequence[Example], load: Loader, shelf: Shelf, progress: Progress | None
    ) -> None:
        self.examples = examples
        self.load = load
        self.shelf = shelf
        self.progress = progress
        self.counts = Counts()
        self.digests: list[str | None] = [None] * len(examples)
        self.skipped: list[Skipped] = []
        self._running: deque[tuple[str, np.ndarray | None]] = deque()
        self._kept: list[tuple[str, tuple[np.ndarray, ...]]] = []
        self._bytes = 0
        self._done = 0
        self._odd: set[str] = set()

    def run(self, names: tuple[str, ...], engine: Callable[[], Session] | None) -> None:
        """Compute what is not cached. Without an engine only looks are made, and no `names`."""
        every = (*names, LOOK) if self.load.looks else names
        misses = self._misses()
        first = next(misses, None)
        if first is None:
            return
        session = engine() if engine else None
        self.counts.state = "cold" if session and session.built else "compiled"
        rows = _chain(first, misses)
        try:
            for outputs in session.run(rows) if session else (() for _ in rows):
                self._keep(outputs, every)
        finally:
            self._flush(every)
        self._leave_odd_out()

    def _leave_odd_out(self) -> None:
        """Skip every example for which the network gave no numbers; nothing of it was kept."""
        for number, key in enumerate(self.digests):
            if key in self._odd:
                self.digests[number] = None
                self.skipped.append(Skipped(self.examples[number].id, NO_NUMBER))

    def _misses(self) -> Iterator[Row]:
        """The decoded rows of examples that are not cached, each content once."""
        seen: set[str] = set()
        for number, loaded in enumerate(self.load.each(self.examples)):
            if isinstance(loaded, Skipped):
                self.skipped.append(loaded)
            else:
                key, row, look = loaded
                self.digests[number] = key
                if row is None or key in seen:
                    self.counts.hits += 1
                else:
                    self.counts.misses += 1
                    seen.add(key)
                    self._running.append((key, look))
                    yield row
            self._done = number + 1
            if self.progress:
                self.progress(self._done, len(self.examples))

    def _keep(self, outputs: tuple[np.ndarray, ...], names: tuple[str, ...]) -> None:
        key, look = self._running[0]
        arrays = outputs if look is None else (*outputs, look)
        if all(np.isfinite(output).all() for output in outputs):
            self._kept.append((key, arrays))  # in one step: Ctrl-C may come after any
        else:
            self._odd.add(key)
        self._running.popleft()
        self._bytes += sum(array.nbytes for array in arrays)
        if self._bytes >= SEGMENT_BYTES:
            self._flush(names)

    def _flush(self, names: tuple[str, ...]) -> None:
        kept, self._kept, self._bytes = self._kept, [], 0
        if kept and names:
            columns = zip(*(arrays for _, arrays in kept), strict=True)
            arrays = {n: np.stack(c) for n, c in zip(names, columns, strict=True)}
            self.shelf.add([key for key, _ in kept], arrays)


#: What an example became: (digest, row, look), without row and look if they are cached.
Loaded = tuple[str, Row | None, np.ndarray | None]


class Loader:
    """Reads, hashes and (where needed) decodes examples in threads, in order, a window ahead.

    Attributes:
        looks: whether every decoded row comes with its look.
    """

    def __init__(self, spec: InputSpec, threads: int, shelf: Shelf | None) -> None:
        self._spec = spec
        self._decoder: Decoder = decoder(spec.modality)
        self._looker = looker(spec.modality)
        self.looks = self._looker is not None
        self._shelf = shelf
        self._threads = threads

    def each(self, examples: Sequence[Example]) -> Iterator[Skipped | Loaded]:
        """For each example its digest, row and look; or why it cannot be read."""
        stream = iter(examples)
        waiting: deque[Future[Skipped | Loaded]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="decode") as pool:
            try:
                for example in islice(stream, 8 * self._threads):
                    waiting.append(pool.submit(self._one, example))
                while waiting:
                    loaded = waiting.popleft().result()
                    for example in islice(stream, 1):
                        waiting.append(pool.submit(self._one, example))
                    yield loaded
            finally:
                for future in waiting:
                    future.cancel()

    def _one(self, example: Example) -> Skipped | Loaded:
        try:
            raw = example.read()
            key = digest(raw)
            if self._shelf is not None and key in self._shelf:
                return key, None, None
            if self._looker is not None:
                return key, *self._looker.decode_with_look(raw, self._spec)
            return key, self._decoder.decode(raw, self._spec), None
        except BadFile as problem:
            return Skipped(example.id, str(problem))
        except OSError as problem:
            return Skipped(example.id, f"cannot be read: {problem.strerror or problem}")


def _chain(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


def _decide(examples: Sequence[Example], pipe: Pipeline) -> str:
    """Measure on rows spread over the examples, so that no class stands for all."""
    spread = np.linspace(0, len(examples) - 1, min(len(examples), precision.CHECK_ROWS))
    loaded = Loader(pipe.info.input, pipe.threads, None).each(
        [examples[int(place)] for place in spread]
    )
    rows = [pair[1] for pair in loaded if not isinstance(pair, Skipped) and pair[1] is not None]
    return precision.decide(
        precision_record(pipe), pipe.engine.precisions(pipe.device), pipe.open, rows
    )
