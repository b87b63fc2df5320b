"""A run folder, read to be changed: everything in it checked against everything else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from regraft import bundle, ledger
from regraft.backbones import Backbone
from regraft.backbones.info import Tap
from regraft.cache import Shelf
from regraft.change.purge import finish
from regraft.choose import rows_at
from regraft.errors import BundleError, DataError, EngineError, OptionError
from regraft.features import Features
from regraft.files import digest_of, restore
from regraft.heads import HEADS
from regraft.heads import sums as sums_files
from regraft.heads.rows import Rows
from regraft.heads.sums import Sums
from regraft.ledger import Ledger
from regraft.locks import Lock, lock
from regraft.model import Model, load, taps
from regraft.pipeline import Pipeline, key_of, pipeline, tap_name
from regraft.record import BUNDLE, SETTINGS, read_report, resolved
from regraft.run import Run

PATIENCE = 2.0  # seconds to wait for another change of the same run


@dataclass(frozen=True)
class Opened:
    """A run as it is.

    Attributes:
        folder: where it lies.
        model: its model.
        settings: its `run.toml`.
        report: its `report.json`.
        ledger: its rows.
        sums: of the rows that a ridge head learned from; None for another head.
    """

    folder: Path
    model: Model
    settings: dict[str, Any]
    report: dict[str, Any]
    ledger: Ledger
    sums: Sums | None

    @property
    def balance(self) -> float:
        return float(self.settings["balance"])

    @property
    def weights(self) -> Path | None:
        """The backbone's weights, where the bundle holds them."""
        path = self.folder / BUNDLE / bundle.BACKBONE
        return path if path.exists() else None

    @property
    def taps(self) -> tuple[Tap, ...]:
        """The engine's outputs, all of which are cached."""
        info = self.model.backbone.info
        every = [stage.name for stage in info.stages]
        return taps(info, every if self.settings["depths"] == "all" else self.model.at)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(tap_name(tap) for tap in self.taps)

    @property
    def key(self) -> dict[str, Any]:
        """All that its activations depend on but the bytes of the files."""
        return key_of(self.model.backbone.info, self.outputs, self.model.features)

    @cached_property
    def shelf(self) -> Shelf:
        """What is left of its activations in the cache."""
        return Shelf(digest_of(self.key))

    def lacking(self, digests: Sequence[str]) -> list[str]:
        """Those contents whose activations are not cached."""
        return [digest for digest in digests if digest not in self.shelf]

    @property
    def reads(self) -> list[str]:
        """The names of those outputs that the head reads."""
        return [tap_name(tap) for tap in taps(self.model.backbone.info, self.model.at)]

    def rows(self, digests: Sequence[str]) -> Rows:
        """(N, D) what the head reads, of contents that are all cached."""
        names = self.reads
        return rows_at({name: self.shelf.rows(digests, name) for name in names}, names)

    def computed(self, found: Features, digests: Sequence[str]) -> Rows:
        """(N, D) what the head reads, of contents that a pass found.

        Not read from the cache again: a small one may have lost them already.
        """
        place = {digest: row for row, digest in enumerate(found.digests)}
        taken = found.take(np.array([place[digest] for digest in digests], np.int64))
        return rows_at(taken.rows, self.reads)

    def pipeline(self, threads: int | None) -> Pipeline:
        """What makes activations like those that the run learned from.

        Raises:
            EngineError: here they would be others.
        """
        where = self.settings
        made = pipeline(
            self.model.backbone,
            self.taps,
            device=where["device"],
            engine=where["engine"],
            precision=where["precision"],
            threads=threads,
        )
        for name, fact in made.facts().items():
            if fact != self.model.features[name]:
                old, new = (_told(one) for one in (self.model.features[name], fact))
                raise EngineError(
                    f"{self.folder} learned from features of the {name} {old} and here it is "
                    f"{new}: new rows would not match the old ones, so fit the data again here."
                )
        return made


def _told(fact: dict[str, Any]) -> str:
    return " ".join(str(value) for value in fact.values())


def open_run(
    run: str | Path | Run, backbone: Backbone | None = None, *, to: str | None = None
) -> Opened:
    """The run in a folder, or a saved `Run`.

    Args:
        run: which.
        backbone: needed only for a run on your own network.
        to: 'add', 'remove' or 'merge', if that is to be done with it.

    Raises:
        BundleError: it is no run, is not whole, or keeps too little to be changed.
        DataError: its stages or its head were trained, so that it cannot be changed exactly.
        OptionError: a `Run` that was not saved.
    """
    folder = folder_of(run)
    restore(folder.absolute())
    if not folder.is_dir():
        raise BundleError(f"{folder} does not exist; name a run folder.")
    if not (folder / BUNDLE).is_dir():
        kind = "a bundle" if (folder / bundle.CONFIG).exists() else "no run folder"
        raise BundleError(
            f"{folder} is {kind}: rows and sums stay with the run that made it, so name the folder "
            "that 'regraft fit' made."
        )
    finish(folder)
    rows = ledger.read(folder / ledger.FILE)
    if rows is None:
        raise BundleError(
            f"{folder / ledger.FILE}, the list of the run's rows, is gone, and without it the run "
            "cannot be changed; fit the data again."
        )
    if not rows.whole:
        raise BundleError(
            f"{folder} was made by an older regraft, which kept too little of its rows to change "
            "it; fit the data again."
        )
    model = load(folder, backbone=backbone)
    if to is not None:
        _exact(folder, model, to)
    settings = resolved(folder / SETTINGS)
    kept = sums_files.read(folder) if model.head.name == "ridge" else None
    opened = Opened(folder, model, settings, read_report(folder), rows, kept)
    _agree(opened)
    return opened


def _exact(folder: Path, model: Model, to: str) -> None:
    """Refuse what training makes inexact: it does not forget a row, nor learn another."""
    info, tuning = model.backbone.info, model.backbone.tuning
    trained = model.head.name not in HEADS
    if tuning:
        what = f"the stages of '{info.name}' from '{tuning.stages[0]}' up were"
    elif trained:
        what = "the head was"
    else:
        return
    if to == "remove":
        own = model.plan or trained
        who = "learned from its files" if own else "may have learned from its files"
        raise DataError(
            f"{folder}: no file can be taken back out, since {what} trained and {who}; fit again "
            "without these files."
        )
    if model.plan or trained:
        raise DataError(
            f"{folder}: {to} would not give what a fit on all files gives, since {what} trained "
            "on those that it has; fit all of them again."
        )


def folder_of(run: str | Path | Run) -> Path:
    """Where a run lies.

    Raises:
        OptionError: it was not saved.
    """
    if not isinstance(run, Run):
        return Path(run)
    if run.folder is None:
        raise OptionError("the run was not saved; save it to a folder first.")
    return run.folder


def _agree(run: Opened) -> None:
    """Refuse a folder whose files do not belong to one another."""
    model, sums = run.model, run.sums
    if run.ledger.classes != model.classes:
        raise BundleError(
            f"{run.folder / ledger.FILE} and the bundle name other classes; fit again."
        )
    if sums is None:
        if model.head.name == "ridge":
            raise BundleError(
                f"{run.folder} keeps no sums of its rows; fit the data again to change it."
            )
        return
    counts = dict.fromkeys(model.classes, 0)
    for row in run.ledger.learned:
        counts[row.label] += 1
    if (sums.counts, sums.at) != (counts, model.at) or sums.settings != model.head.settings:
        raise BundleError(
            f"{run.folder / sums_files.META} does not belong to the run's bundle and "
            f"{ledger.FILE}; fit again."
        )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from changing the run in `folder` meanwhile.

    Raises:
        OptionError: another process is changing it.
    """
    try:
        held = _locked(folder)
    except FileNotFoundError as problem:
        if folder.exists():  # the name is another folder's since it was locked
            raise OptionError(
                f"{folder} was changed by another process just now; try again."
            ) from problem
        held = None  # `open_run` says that it is not there
    except OSError:  # and what is wrong with it
        held = None
    else:
        if held is None:
            raise OptionError(
                f"{folder} is being changed by another process; try again when it is done."
            )
    try:
        yield
    finally:
        if held is not None:
            held.close()


def _locked(folder: Path) -> Lock | None:
    """The lock of a folder, waiting up to `PATIENCE` seconds for it; None if another keeps it.

    A moment, since a program that some thread has just started may hold our own handles until it
    runs, and not longer, since a change may take minutes.

    Raises:
        OSError: see `regraft.locks.lock`.
    """
    until = time.monotonic() + PATIENCE
    while True:
        held = lock(folder, follow=True)
        if held is not None and held.sure:
            return held
        if held is not None:
            held.close()
        if time.monotonic() > until:
            return None
        time.sleep(0.05)
