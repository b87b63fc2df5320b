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
from regraft.data.labels import as_known
from regraft.data.sources import columns_of, has_columns, kept_columns, labelled
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
        tested: ids of files that the run tests on, or on whose group it does; they are not
            learned from.
    """

    rows: Ledger
    already: tuple[str, ...]
    tested: tuple[str, ...]


def add(
    run: str | Path | Run,
    data: str | Path | Dataset,
    *,
    out: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    tune: bool = False,
    backbone: Backbone | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Run:
    """Add labelled data to a run, in place, and return the run as it is then.

    The head is, to float64 rounding, that of a fit on the old and the new rows at the same
    settings; new classes take their sorted place. Files that the run has already, by content, are
    not counted twice; files that it tests on, and others of their groups, are left out.
    A test part of `data` joins the run's.

    Args:
        run: a run folder, or a saved `Run`.
        data: a folder of class folders, a table, or a `Dataset`.
        out: a new run folder to write instead; `run` stays as it is.
        path_column, label_column: of the table `data`; those that the run was fitted with if None.
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
        held = open_run(run, backbone, to="add")
        group = str(held.settings.get("group", "")) or None
        modality = held.model.backbone.input.modality
        columns = columns_of(path_column, label_column)
        if not columns and has_columns(data):
            columns = kept_columns(held.settings)
        found = labelled(data, modality, least_classes=1, group=group, columns=columns)
        found = as_known(found, held.model.classes)
        features = compute(found.examples, held.pipeline(threads), progress)
        skipped = (*found.skipped, *features.skipped)
        refuse_nothing(features, skipped, found.root)
        for file in skipped:
            log.warning("left out %s: %s", visible(file.file), file.reason)
        new = _sorted(held, features, found.root)
        held = replace(held)  # the cache has more rows now
        rows = held.ledger.plus(new.rows).apart()
        learned = new.rows.learned
        sums = held.sums
        if sums is not None and learned:
            x = held.computed(features, [row.digest for row in learned])
            sums = sums.plus(x, [row.label for row in learned])
        built = rebuild(held, rows, sums, carried([held], rows), tune=tune)
        change = Change(
            "add",
            len(learned),
            sum(row.part == TEST for row in rows.rows[len(held.ledger.rows) :]),
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
    known, copies, tested = run.ledger.labels(), run.ledger.digests(COPY), run.ledger.digests(TEST)
    groups = run.ledger.groups(TEST)
    rows: list[Row] = []
    already: list[str] = []
    left: list[str] = []
    for example, digest in zip(features.examples, features.digests, strict=True):
        label = example.label or ""
        part = {"val": VAL, "test": TEST}.get(example.split or "", TRAIN)
        if digest in known:
            already.append(example.id)
            _other_label(known[digest], example.id, label)
        elif part != TRAIN and digest in copies:  # found to be no witness by the fit
            already.append(example.id)
        elif part != TEST and (digest in tested or example.group in groups):
            left.append(example.id)
        elif digest in tested:
            already.append(example.id)
        else:
            rows.append(Row(example.id, digest, label, part, example.group))
    if left:
        log.warning(
            "%d %s (%s%s)",
            len(left),
            "files are left out, since the run tests on them or their groups"
            if len(left) > 1
            else "file is left out, since the run tests on it or its group",
            visible(left[0]),
            ", …" if len(left) > 1 else "",
        )
    new = Ledger((), (root,)).only(_unseen(run.ledger, rows))
    return _Sorted(new, tuple(already), tuple(left))


def _unseen(old: Ledger, rows: list[Row]) -> list[Row]:
    """The rows; those to choose on that training knows, or a group of theirs, are copies."""
    train = [row for row in rows if row.part == TRAIN]
    digests = {row.digest for row in train}
    groups = old.groups(TRAIN) | {row.group for row in train if row.group}
    return [
        row._replace(part=COPY)
        if row.part == VAL and (row.digest in digests or row.group in groups)
        else row
        for row in rows
    ]


def _other_label(known: set[str], name: str, label: str) -> None:
    if label not in known:
        log.warning(
            "%s is in the run already as '%s' and stays so, although it is '%s' here; remove it "
            "first to change its class",
            visible(name),
            visible(min(known)),
            visible(label),
        )
