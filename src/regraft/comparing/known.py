"""A run that may be compared: one that was just made, or one that lies in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from regraft import ledger
from regraft.backbones import Backbone
from regraft.backbones.resolve import resolve
from regraft.data import Dataset, Example
from regraft.errors import BundleError, DataError
from regraft.features import Features, compute
from regraft.files import restore
from regraft.flows import Flows, flows, widened
from regraft.ledger import Ledger, Row
from regraft.model import Model, load, taps
from regraft.pipeline import Pipeline, pipeline
from regraft.record import BUNDLE, REPORT, SETTINGS, read_report, resolved
from regraft.run import Run


@dataclass(frozen=True)
class Known:
    """A run, with what it takes to ask its network again.

    Attributes:
        model: its model.
        settings: its `run.toml`, as far as it decides the features.
        report: its `report.json`.
        ledger: its rows.
        data: where the rows are found again, in the order of `ledger.sources`.
        base: its backbone before training; None to look it up by its name.
    """

    model: Model
    settings: dict[str, Any]
    report: dict[str, Any]
    ledger: Ledger
    data: tuple[Dataset, ...] = field(repr=False)
    base: Backbone | None = field(default=None, repr=False)

    @classmethod
    def of(cls, run: Run, data: Sequence[Dataset], base: Backbone | None) -> Known:
        """A run that was just made."""
        by_root = {found.root: found for found in data}
        found = tuple(by_root[root] for root in run.ledger.sources)
        return cls(run.model, run.settings, run.report, run.ledger, found, base)

    @property
    def phases(self) -> list[dict[str, Any]]:
        """Of its plan those that trained; none where a head was solved."""
        every = self.settings.get("phases") or self.model.plan.get("phases") or []
        return [phase for phase in every if not phase["solve"]]

    @property
    def cut(self) -> int | None:
        """The lowest stage that was trained; None if no stage changed."""
        if self.model.backbone.tuning is None:
            return None
        return min(int(phase["cut"]) for phase in self.phases)

    @cached_property
    def original(self) -> Backbone:
        """Its backbone as it was before training.

        Raises:
            BackboneError: it cannot be had any more.
        """
        if self.model.backbone.tuning is None:
            return self.model.backbone
        net, held = self.base, self.settings
        if net is None:
            net = resolve(
                held["backbone"],
                size=held["size"] or None,
                weights=held["weights"] or None,
                revision=held["revision"] or None,
                digest=held["digest"],
            )
        elif held["size"]:
            net = net.resized(tuple(held["size"]))
        return net.looking(held["geometry"]) if held["geometry"] else net

    def pipeline(self, net: Backbone) -> Pipeline:
        """What made its features: those of the run itself are found in the cache."""
        held = self.settings
        every = [stage.name for stage in net.info.stages]
        return pipeline(
            net,
            taps(net.info, every if held["depths"] == "all" else self.model.at),
            device=held["device"],
            engine=held["engine"],
            precision=held["precision"],
        )

    def examples(self, rows: Sequence[Row]) -> list[Example]:
        """The files of some rows.

        Raises:
            DataError: one is gone.
        """
        ids = [{example.id: example for example in found.examples} for found in self.data]
        try:
            return [ids[row.source][row.id] for row in rows]
        except KeyError as gone:
            raise DataError(
                f"{gone.args[0]} is not in the data any more; put it back, or fit again."
            ) from None

    def features(self, rows: Sequence[Row]) -> Features:
        """The pooled features of some rows under its network as it is now, through an engine.

        Raises:
            DataError: a file is gone, or is another one than the run saw.
        """
        return self._pass(rows, self.reading())

    def reading(self) -> Pipeline:
        """What gives the features that its head reads."""
        pipe = self.pipeline(self.model.backbone)
        return pipe if self.cut is not None else self._widened(pipe)

    def flows(self, rows: Sequence[Row], cut: int, net: Backbone) -> tuple[Pipeline, Flows]:
        """What flows into stage `cut` of the network before training, and what made it.

        Raises:
            DataError: a file is gone, or is another one than the run saw.
        """
        pipe = self._widened(self.pipeline(net))
        found = self._pass(rows, pipe)
        keep = self.settings["keep"]
        return pipe, flows(found, pipe, [cut], keep=keep).flows[cut]

    def _widened(self, pipe: Pipeline) -> Pipeline:
        """With the flows that its training kept: they lie in the cache beside the features."""
        cuts = {int(phase["cut"]) for phase in self.phases}
        return widened(pipe, sorted(cuts), self.settings["keep"]) if cuts else pipe

    def _pass(self, rows: Sequence[Row], pipe: Pipeline) -> Features:
        found = compute(self.examples(rows), pipe)
        check_same([row.id for row in rows], [row.digest for row in rows], found)
        return found


def check_same(names: Sequence[str], digests: Sequence[str], found: Features) -> None:
    """Refuse files that are gone or others than when the run was made.

    Raises:
        DataError: names the first of them.
    """
    if found.skipped:
        bad = found.skipped[0]
        raise DataError(f"{bad.file} cannot be read any more: {bad.reason}.")
    for name, before, now in zip(names, digests, found.digests, strict=True):
        if before != now:
            raise DataError(f"{name} is another file than when the run was made; fit again.")


def spread(rows: Sequence[Row], most: int) -> list[Row]:
    """At most so many rows, spread over all of them."""
    index = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int))
    return [rows[int(i)] for i in index]


def open_known(folder: Path, data: Sequence[Dataset], rows: Ledger) -> Known:
    """The run in a folder; see `read_rows` for its rows.

    Raises:
        BundleError: it is no run, or is not whole.
    """
    restore(folder.absolute())
    return Known(
        load(folder),
        resolved(folder / SETTINGS),
        read_report(folder),
        rows,
        tuple(data),
    )


def is_run(folder: Path) -> bool:
    """Whether a run folder lies there."""
    return (folder / BUNDLE).is_dir() and (folder / REPORT).is_file()


def read_rows(folder: Path) -> Ledger:
    """The rows of the run in a folder.

    Raises:
        BundleError: they are not kept there.
    """
    rows = ledger.read(folder / ledger.FILE)
    if rows is None or not rows.whole:
        raise BundleError(
            f"{folder} keeps no list of the rows that it learned from and was scored on "
            f"({ledger.FILE}), so it cannot be compared; fit the data again."
        )
    return rows
