"""remove: rows out of a run as if they had never been there, and every trace of them too."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regraft.backbones import Backbone
from regraft.bundle import pretty
from regraft.cache import purge
from regraft.change.done import Change, with_more, written
from regraft.change.opened import Opened, alone, folder_of, open_run
from regraft.change.purge import pending, prove, rows_of, settle
from regraft.change.rebuild import fresh_sums, rebuild
from regraft.data import Example
from regraft.data.sources import again
from regraft.errors import DataError, EngineError, HeadError, OptionError, did_you_mean
from regraft.features import Features, Progress, compute
from regraft.files import visible, write_whole
from regraft.heads.rows import Rows
from regraft.heads.sums import Sums
from regraft.ledger import Ledger, Row
from regraft.record import REPORT
from regraft.run import Run

#: Lists of file names that a change tells of.
NAMES = ("already", "tested_on", "skipped")


def remove(
    run: str | Path | Run,
    ids: str | Path | Iterable[str],
    *,
    tune: bool = False,
    backbone: Backbone | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Run:
    """Remove files from a run, in place, and return the run as it is then.

    The head is, to float64 rounding, that of a fit without them at the same settings. Files of
    equal bytes under other names go too. Their activations are removed from the whole cache, their
    names and digests from the run, and the calibration is made anew; then the run and the cache
    are searched for what is left of them, and the report's last change tells of it (`proof`).

    Args:
        run: a run folder, or a saved `Run`.
        ids: a file with one id or digest per line, or these themselves.
        tune: choose the penalty again, which needs all other rows in the cache.
        backbone: needed only for a run on your own network.
        threads: for decoding and the engine, where activations have to be computed again.
        progress: called with (images done, images in all).

    Raises:
        RegraftError: in one sentence, if it cannot be done; the run is as it was.
    """
    start = time.perf_counter()
    wanted = _read(ids)
    with alone(folder_of(run)):
        held = open_run(run, backbone, to="remove")
        digests = _digests(held, wanted)
        out = [row for row in held.ledger.rows if row.digest in digests]
        rows = held.ledger.without(digests)
        if not rows.learned:
            raise DataError(
                f"these are all {len(held.ledger.learned)} files that {held.folder} learned from, "
                "so nothing would be left: remove the folder and run 'regraft cache clear' instead."
            )
        sums = _without(held, rows, [row for row in held.ledger.learned if row.digest in digests],
                        threads, progress)  # fmt: skip
        built = rebuild(held, rows, sums, None, tune=tune)
        change = Change(
            "remove",
            len(held.ledger.learned) - len(rows.learned),
            len([row for row in out if row.part == "test"]),
            (),
            tuple(sorted(set(held.model.classes) - set(rows.classes))),
            built.recalibrated,
            time.perf_counter() - start,
            built.notes,
            {"copies": max(0, len(out) - len(wanted))},
        )
        traces = rows_of(digests)
        done = written(held, built, rows, change, None, pending(digests), _nameless(held))
        purge(digests)
        still = {*(row.id for row in rows.rows), *rows.classes, *rows.sources, str(held.folder)}
        names = {row.id for row in out} - still
        proof = prove(held.folder, digests, names, traces)
        settle(held.folder)
        done = with_more(done, {"proof": proof.json()})
        write_whole(held.folder / REPORT, pretty(done.report))
        return done


def _read(ids: str | Path | Iterable[str]) -> list[str]:
    """The ids, without empty lines and doubles.

    Raises:
        OptionError: the file cannot be read, or there is none in it.
    """
    where = "ids"
    if isinstance(ids, str | Path):
        where = f"--ids {ids}"
        try:
            lines = Path(ids).read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
        except OSError as problem:
            raise OptionError(f"{where} cannot be read: {problem.strerror}.") from problem
    else:
        lines = list(ids)
    found = list(dict.fromkeys(line.strip("\r") for line in lines if line.strip()))
    if not found:
        raise OptionError(f"{where} names no file; it must hold one id or digest per line.")
    return found


def _digests(run: Opened, wanted: Sequence[str]) -> frozenset[str]:
    """The contents that are meant.

    Raises:
        DataError: there is no such file in the run, or an id means several.
    """
    by_id: dict[str, set[str]] = defaultdict(set)
    for row in run.ledger.rows:
        by_id[row.id].add(row.digest)
        by_id[f"{run.ledger.sources[row.source]}/{row.id}"].add(row.digest)
    every = {row.digest for row in run.ledger.rows}
    found = set()
    for name in wanted:
        if name in every:
            found.add(name)
        elif name not in by_id:
            raise DataError(
                f"{run.folder} has no file '{visible(name)}', so nothing was changed."
                + did_you_mean(name, by_id, 1)
            )
        elif len(by_id[name]) > 1:
            rows = [row for row in run.ledger.rows if row.id == name]
            names = sorted({f"{run.ledger.sources[row.source]}/{row.id}" for row in rows})
            longer = [visible(one) for one in names if len(by_id[one]) == 1]
            told = longer if len(longer) > 1 else sorted(by_id[name])
            raise DataError(
                f"'{visible(name)}' means {len(by_id[name])} different files of {run.folder}: give "
                f"{' or '.join(told)} instead."
            )
        else:
            found |= by_id[name]
    return frozenset(found)


def _without(
    run: Opened, rows: Ledger, out: Sequence[Row], threads: int | None, progress: Progress | None
) -> Sums | None:
    """The sums of the rows that stay: anew if all are cached, else by taking out those that go."""
    if run.sums is None or not out:
        return run.sums
    anew = fresh_sums(run, rows.learned)
    if anew is not None:
        return anew
    missing = set(run.lacking([row.digest for row in out]))
    cached = [row for row in out if row.digest not in missing]
    gone = [row for row in out if row.digest in missing]
    parts = [_all(run.rows([row.digest for row in cached]))] if cached else []
    if gone:
        found = _compute(run, gone, threads, progress)
        parts.append(_all(run.computed(found, [row.digest for row in gone])))
    labels = [row.label for row in (*cached, *gone)]
    left = run.sums.minus(np.concatenate(parts), labels)
    if left.counts != _counts(rows):
        raise HeadError(f"the sums of {run.folder} are not those of its rows; fit again.")
    return left


def _all(rows: Rows) -> NDArray[np.float32]:
    """(N, D) in memory."""
    return np.asarray(rows[0 : len(rows)], np.float32)


def _counts(rows: Ledger) -> dict[str, int]:
    counts = dict.fromkeys(rows.classes, 0)
    for row in rows.learned:
        counts[row.label] += 1
    return counts


def _compute(
    run: Opened, out: Sequence[Row], threads: int | None, progress: Progress | None
) -> Features:
    """The activations of rows that are not cached, from the user's own files.

    Raises:
        DataError: a file is gone or has changed.
    """
    by_source: dict[int, list[Row]] = defaultdict(list)
    for row in out:
        by_source[row.source].append(row)
    examples: list[Example] = []
    for source, rows in by_source.items():
        examples += _examples(run, run.ledger.sources[source], rows)
    try:
        pipe = run.pipeline(threads)
    except EngineError as problem:
        raise DataError(
            f"the activations of '{visible(out[0].id)}' are no longer cached, and {problem}"
        ) from problem
    found = compute(examples, pipe, progress)
    there = set(found.digests)
    for row in out:
        if row.digest not in there:
            raise DataError(_needed(row.id, "has changed since or cannot be read"))
    return found


def _examples(run: Opened, source: str, rows: Sequence[Row]) -> list[Example]:
    modality = run.model.backbone.input.modality
    try:
        found = again(source, modality, run.settings)
    except DataError as problem:
        raise DataError(_needed(rows[0].id, f"is not found ({problem})")) from problem
    by_id = {example.id: example for example in found.examples}
    for row in rows:
        if row.id not in by_id:
            raise DataError(_needed(row.id, f"is no longer in {source}"))
    return [by_id[row.id] for row in rows]


def _needed(name: str, why: str) -> str:
    return (
        f"the activations of '{visible(name)}' are no longer cached and the file {why}: to take it "
        "out of the sums put it back where it was, or fit again without it."
    )


def _nameless(run: Opened) -> list[dict[str, object]]:
    """The earlier changes of the run without the names of files, some of which may go now."""
    changes = run.report.get("changes", [])
    return [
        {key: [] if key in NAMES else value for key, value in change.items()} for change in changes
    ]
