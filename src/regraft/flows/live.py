"""Flows of which nothing is kept: the frozen stages run for every batch."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from regraft.backbones.info import Tap
from regraft.cache import Rows
from regraft.data import decoder
from regraft.data.views import View
from regraft.engine import Session
from regraft.errors import BadFile, DataError
from regraft.features import Features
from regraft.files import digest
from regraft.flows.contract import ANY_VIEW, PLAIN, Batch, Numbers, numbered
from regraft.flows.kept import KeptFlows
from regraft.inputs import Row
from regraft.loading import viewed
from regraft.pipeline import Pipeline


class LiveFlows:
    """Reads, decodes and changes each picture again and runs the stages below the cut on it.

    The same bits as kept ones from the same engine; plain flows that are kept are read instead.
    """

    def __init__(
        self,
        found: Features,
        pipe: Pipeline,
        cut: int,
        augment: str,
        seed: int,
        plain: Rows | None = None,
    ) -> None:
        """Args:
        found: the examples.
        pipe: what computed them, its precision decided.
        cut: the first stage that is trained; at 0 no stage runs.
        augment: what may happen to a picture, '' for plain ones only.
        seed: of the views.
        plain: the plain flows, if they are kept.
        """
        self.views = ANY_VIEW if augment else 0
        taps = (Tap(cut - 1, False),) if cut else ()
        self._pipe = replace(pipe, taps=taps, keep_row=False, half=False)
        self._found, self._augment, self._seed = found, augment, seed
        self._decoder = decoder(pipe.info.input.modality)
        self._plain = KeptFlows(plain) if plain is not None and cut else None
        self._pool = ThreadPoolExecutor(pipe.threads, thread_name_prefix="decode")
        self._lock = threading.Lock()
        self._session: Session | None = None

    def __len__(self) -> int:
        return len(self._found.examples)

    def read(self, index: Numbers, view: int | Numbers = PLAIN) -> Batch:
        """See `Flows`."""
        wanted = numbered(index, view, self.views)
        if self._plain is not None and (wanted == PLAIN).all():
            return self._plain.read(index)
        rows = self._pool.map(self._row, index.tolist(), wanted.tolist())
        if not self._pipe.taps:
            return tuple(np.stack(part) for part in zip(*rows, strict=True))
        with self._lock:  # a session runs one stream of rows at a time
            if self._session is None:
                self._session = self._pipe.open(self._pipe.precision)
            return (np.stack([flow for (flow,) in self._session.run(rows)]),)

    def _row(self, number: int, view: int) -> Row:
        """A view of an example, decoded anew."""
        example, key = self._found.examples[number], self._found.digests[number]
        seen = None if view == PLAIN else View(self._augment, self._seed, view)
        try:
            raw = example.read()
            if digest(raw) != key:
                raise DataError(
                    f"{example.id} is another file than when training began; begin anew."
                )
            return viewed(seen, self._decoder.decode(raw, self._pipe.info.input), key)
        except BadFile as problem:
            raise DataError(f"{example.id} cannot be read any more: {problem}.") from problem
        except OSError as problem:
            raise DataError(
                f"{example.id} cannot be read any more: {problem.strerror or problem}."
            ) from problem
