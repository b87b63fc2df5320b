"""Examples in, decoded rows out: read, hashed and, where it is needed, decoded in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from regraft.cache import Shelf
from regraft.data import Example, Skipped, decoder
from regraft.data.decoders import Decoder, looker
from regraft.data.views import View
from regraft.errors import BadFile
from regraft.files import digest
from regraft.inputs import InputSpec, Row

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Loaded:
    """An example that could be read.

    Attributes:
        digest: of its bytes.
        rows: for each view that is not cached its number in `Loader.views`, and the row.
        look: of the plain picture; None if nothing was decoded, or there are no looks.
    """

    digest: str
    rows: tuple[tuple[int, Row], ...] = ()
    look: np.ndarray | None = None


class Loader:
    """Reads, hashes and (where needed) decodes examples in threads, in order, a window ahead.

    Attributes:
        views: what is made of each decoded row; None is the row itself.
        looks: whether every decoded row comes with its look: not where only views are made.
    """

    def __init__(
        self,
        spec: InputSpec,
        threads: int,
        shelves: Sequence[Shelf] = (),
        views: Sequence[View | None] = (None,),
    ) -> None:
        """Args:
        spec: what the network expects to be fed.
        threads: that decode.
        shelves: for each view where its rows may be cached; empty to decode everything.
        views: see the class.
        """
        self.views = tuple(views)
        self._spec = spec
        self._decoder: Decoder = decoder(spec.modality)
        self._looker = looker(spec.modality) if None in self.views else None
        self.looks = self._looker is not None
        self._shelves = shelves
        self._threads = threads

    def each(self, examples: Sequence[Example]) -> Iterator[Skipped | Loaded]:
        """For each example its digest, rows and look; or why it cannot be read."""
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
            missing = [n for n in range(len(self.views)) if not self._cached(n, key)]
            if not missing:
                return Loaded(key)
            look = None
            if self._looker is not None:
                row, look = self._looker.decode_with_look(raw, self._spec)
            else:
                row = self._decoder.decode(raw, self._spec)
            return Loaded(key, tuple((n, viewed(self.views[n], row, key)) for n in missing), look)
        except BadFile as problem:
            return Skipped(example.id, str(problem))
        except OSError as problem:
            return Skipped(example.id, f"cannot be read: {problem.strerror or problem}")

    def _cached(self, number: int, key: str) -> bool:
        return bool(self._shelves) and key in self._shelves[number]


def viewed(view: View | None, row: Row, digest: str) -> Row:
    """What `view` makes of a decoded row; None leaves it as it is."""
    return row if view is None else view.of(row, digest)
