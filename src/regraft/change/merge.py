"""merge: several runs as one, as if their data had lain together from the start."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from regraft.backbones import Backbone
from regraft.change.done import Change, written
from regraft.change.opened import Opened, open_run
from regraft.change.rebuild import carried, rebuild
from regraft.errors import DataError, OptionError
from regraft.files import visible
from regraft.heads.sums import Sums, same_layers
from regraft.ledger import TEST, TRAIN, VAL, Ledger, Row
from regraft.record import free
from regraft.run import Run

log = logging.getLogger("regraft")


def merge(
    runs: Sequence[str | Path | Run],
    *,
    out: str | Path,
    tune: bool = False,
    backbone: Backbone | None = None,
) -> Run:
    """Write a new run that learned from the rows of all `runs`, and return it.

    The head is, to float64 rounding, that of a fit on all rows at the settings of the first run.
    Rows that several runs have count once; test parts unite, and what one run learned from and
    another tests on is not tested on.

    Args:
        runs: two or more run folders, or saved `Run`s, on one backbone, stage and kind of head.
        out: the run folder to make.
        tune: choose the penalty again, which needs all rows in the cache.
        backbone: needed only for runs on your own network.

    Raises:
        RegraftError: in one sentence, if they do not fit together; nothing is written.
    """
    start = time.perf_counter()
    if len(runs) < 2:
        raise OptionError("merge needs two runs or more.")
    place = Path(out)
    free(place)
    held = [open_run(run, backbone, to="merge") for run in runs]
    first = held[0]
    for other in held[1:]:
        _fits(first, other)
    rows, sums, twice = first.ledger, first.sums, 0
    for number, other in enumerate(held[1:], 1):
        before = " or ".join(str(one.folder) for one in held[:number])
        own, gone = _new(before, rows, other)
        twice += len(gone)
        rows = rows.plus(own)
        if sums is not None and other.sums is not None and own.learned:
            sums = sums.join(_less(other, gone))
    rows = _tested(rows)
    built = rebuild(first, rows, sums, carried(held, rows), tune=tune)
    change = Change(
        "merge",
        len(rows.learned),
        len(rows.part(TEST)),
        tuple(sorted(set(rows.classes) - set(first.model.classes))),
        (),
        built.recalibrated,
        time.perf_counter() - start,
        built.notes,
        {"runs": [str(one.folder) for one in held], "twice": twice},
    )
    return written(first, built, rows, change, place, earlier=[])


def _fits(one: Opened, other: Opened) -> None:
    """Refuse runs whose rows are not of one kind, naming what differs."""
    a, b = one.model, other.model
    mine, its = (m.backbone.info.input.json() for m in (a, b))
    shape = mine.get("geometry"), its.get("geometry")
    here = "fit one of them again on this machine with this version of regraft"
    pairs: list[tuple[str, object, object, str]] = [
        ("backbone", a.backbone.info.digest, b.backbone.info.digest,
         "fit one of them again with the other's --backbone and weights"),
        ("network", a.backbone.info.network, b.backbone.info.network, here),
        ("stage", "+".join(a.at), "+".join(b.at),
         f"fit one of them again with --at {'+'.join(a.at)}"),
        ("head", a.head.name, b.head.name, f"fit one of them again with --head {a.head.name}"),
        ("geometry", *shape,
         f"fit one of them again with the other's, such as --geometry {shape[0]}"),
        ("input", mine, its, "fit both again with one --size, on pictures of one bit depth"),
        ("decoder", a.features["decoder"], b.features["decoder"], here),
        ("engine", a.features["engine"], b.features["engine"], here),
        ("outputs of the engine", one.outputs, other.outputs,
         "fit one of them again with the other's plan and --at"),
    ]  # fmt: skip
    for name, ours, theirs, remedy in pairs:
        if ours != theirs:
            raise DataError(
                f"{one.folder} and {other.folder} cannot be merged, since their {name} differs: "
                f"{_short(ours)} and {_short(theirs)}; {remedy}."
            )
    if one.sums and other.sums and not same_layers(one.sums.before, other.sums.before):
        raise DataError(
            f"{one.folder} and {other.folder} cannot be merged, since they lift features in "
            "different ways."
        )


def _short(value: object) -> str:
    text = visible(" ".join(map(str, value.values())) if isinstance(value, dict) else str(value))
    return text if len(text) <= 80 else text[:12] + "…"


def _new(before: str, rows: Ledger, other: Opened) -> tuple[Ledger, list[Row]]:
    """The rows of `other` that come in beside `rows`, and the learned ones that are there already.

    Args:
        before: the name of the runs that `rows` are of.
        rows: of the runs before.
        other: the next one.

    Raises:
        DataError: a file has another class there.
    """
    learned = rows.labels()
    tested = rows.digests(TEST)
    kept: list[Row] = []
    gone: list[Row] = []
    for row in other.ledger.rows:
        known = learned.get(row.digest)
        if known is not None and row.part in (TRAIN, VAL) and row.label not in known:
            raise DataError(
                f"'{visible(row.id)}' of {other.folder} is '{visible(row.label)}' there and "
                f"'{visible(min(known))}' in {before}: remove it from one of them first."
            )
        if known is not None and row.part in (TRAIN, VAL):
            gone.append(row)
            continue
        if row.part == TEST and row.digest in tested:
            continue
        kept.append(row)
    return other.ledger.only(kept), gone


def _less(run: Opened, gone: Sequence[Row]) -> Sums:
    """The sums of a run without rows that another has too.

    Raises:
        DataError: their activations are no longer cached.
    """
    sums = run.sums
    if sums is None:
        raise DataError(f"{run.folder} keeps no sums of its rows.")
    if not gone:
        return sums
    missing = run.lacking([row.digest for row in gone])
    if missing:
        raise DataError(
            f"{run.folder} shares {len(gone)} files with the runs before it and {len(missing)} of "
            "their activations are no longer cached, so they cannot be counted once; remove these "
            "files from one of the runs first."
        )
    return sums.minus(run.rows([row.digest for row in gone]), [row.label for row in gone])


def _tested(rows: Ledger) -> Ledger:
    """Without test rows that are learned from: those become copies, which are not scored."""
    apart = rows.apart()
    if moved := len(rows.part(TEST)) - len(apart.part(TEST)):
        log.warning(
            "%d test %s of one run, or others of %s, were learned from by another and leave the "
            "test part",
            moved,
            "images" if moved > 1 else "image",
            "their groups" if moved > 1 else "its group",
        )
    return apart
