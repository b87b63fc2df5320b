"""add: new labelled files into a run, as if they had been there from the start."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

from regraft.backbones import Backbone
from regraft.change.done import Change, written
from regraft.change.opened import Opened, alone, folder_of, open_run
from regraft.change.rebuild import carried, rebuild
from regraft.data import Dataset
from regraft.data.sources import labelled
from regraft.features import Features, Progress, compute, refuse_nothing
from regraft.files import visible
from regraft.ledger import COPY, TEST, TRAIN, VAL, Ledger, Row
from regraft.record import free
from regraft.run import Run

log = logging.getLogger("regraft")


@dataclass(frozen=True)
class _Sorted:
    """The readable files of new data.

    Attributes:
        rows: what comes in, in order.
        already: ids of files whose content the run has.
        tested: ids of files that the run tests on; they are not learned from.
    """

    rows: Ledger
    already: tuple[str, ...]
    tested: tuple[str, ...]


def add(
    run: str | Path | Run,
    data: str | Path | Dataset,
    *,
    out: str | Path | None = None,
    tune: bool = False,
    backbone: Backbone | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Run:
    """Add labelled data to a run, in place, and return the run as it is then.

    The head is, to float64 rounding, that of a fit on the old and the new rows at the same
    settings; new classes take their sorted place. Files that the run has already, by content, are
    not counted twice; files that it tests on are left out. A test part of `data` joins the run's.

    Args:
        run: a run folder, or a saved `Run`.
        data: a folder of class folders, a table, or a `Dataset`.
        out: a new run folder to write instead; `run` stays as it is.
        tune: choose the penalty again, which needs all rows in the cache.
        backbone: needed only for a run on your own network.
        threads: for decoding and the engine; all processors if None.
        progress: called with (images done, images in all).

    Raises:
        RegraftError: in one sentence, if it cannot be done; the run is as it was.
    """
    start = time.perf_counter()
    place = None if out is None else Path(out)
    if place is not None:
        free(place)
    with alone(folder_of(run)):
        held = open_run(run, backbone)
        group = str(held.settings.get("group", "")) or None
        modality = held.model.backbone.input.modality
        found = labelled(data, modality, least_classes=1, group=group)
        features = compute(found.examples, held.pipeline(threads), progress)
        skipped = (*found.skipped, *features.skipped)
        refuse_nothing(features, skipped, found.root)
        for file in skipped:
            log.warning("left out %s: %s", visible(file.file), file.reason)
        new = _sorted(held, features, found.root)
        held = replace(held)  # the cache has more rows now
        rows = held.ledger.plus(new.rows)
        learned = new.rows.learned
        sums = held.sums
        if sums is not None and learned:
            x = held.rows([row.digest for row in learned])
            sums = sums.plus(x, [row.label for row in learned])
        built = rebuild(held, rows, sums, carried([held], rows), tune=tune)
        change = Change(
            "add",
            len(learned),
            len(new.rows.part(TEST)),
            tuple(sorted(set(rows.classes) - set(held.model.classes))),
            (),
            built.recalibrated,
            time.perf_counter() - start,
            built.notes,
            {
                "data": found.root,
                "already": list(new.already),
                "tested_on": list(new.tested),
                "skipped": [one.json() for one in skipped],
                "ignored": found.ignored,
                "cache": features.counts.json(),
            },
        )
        return written(held, built, rows, change, place, idle=not new.rows.rows and not tune)


def _sorted(run: Opened, features: Features, root: str) -> _Sorted:
    """Which files come in, and which the run has or tests on."""
    learned = {row.digest: row for row in run.ledger.learned}
    tested = run.ledger.digests(TEST)
    examples = list(zip(features.examples, features.digests, strict=True))
    coming = {digest for example, digest in examples if example.split != "test"} - tested
    rows: list[Row] = []
    already: list[str] = []
    left: list[str] = []
    for example, digest in examples:
        label = example.label or ""
        part = {"val": VAL, "test": TEST}.get(example.split or "", TRAIN)
        if digest in learned or (digest in tested and part == TEST):
            already.append(example.id)
            _other_label(learned.get(digest), example.id, label)
            continue
        if digest in tested:
            left.append(example.id)
            continue
        if part == TEST and digest in coming:
            part = COPY
        rows.append(Row(example.id, digest, label, part, example.group))
    if left:
        log.warning(
            "%d files are left out, since the run tests on them (%s, …)",
            len(left),
            visible(left[0]),
        )
    return _Sorted(Ledger((), (root,)).only(rows), tuple(already), tuple(left))


def _other_label(known: Row | None, name: str, label: str) -> None:
    if known is not None and known.label != label:
        log.warning(
            "%s is in the run already as '%s' and stays so, although it is '%s' here; remove it "
            "first to change its class",
            visible(name),
            visible(known.label),
            visible(label),
        )
