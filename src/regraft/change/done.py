"""What a change leaves: the run's files, and the sentence about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regraft.change.opened import Opened
from regraft.change.rebuild import Rebuilt
from regraft.ledger import COPY, Ledger
from regraft.record import BUNDLE, CHANGED, Contents, rewrite_run, write_run
from regraft.run import Run

WHY = "As chosen by the fit that this run began with."


@dataclass(frozen=True)
class Change:
    """What was done to a run.

    Attributes:
        kind: 'add', 'remove' or 'merge'.
        rows: how many rows came, went or were joined, of those that are learned from.
        test: the same of those that are scored on.
        classes_added: names.
        classes_removed: names.
        recalibrated: whether calibration and validation are those of the rows as they are now.
        seconds: it took.
        notes: what could not be made again, and what to do.
        more: what only this kind of change tells.
    """

    kind: str
    rows: int
    test: int
    classes_added: tuple[str, ...]
    classes_removed: tuple[str, ...]
    recalibrated: bool
    seconds: float
    notes: tuple[str, ...]
    more: dict[str, Any]

    def json(self) -> dict[str, Any]:
        """Plain data. `exact`: equal to a fit on these rows at the same penalty, to rounding."""
        return {
            "kind": self.kind,
            "rows": self.rows,
            "test": self.test,
            "classes_added": list(self.classes_added),
            "classes_removed": list(self.classes_removed),
            "exact": True,
            "recalibrated": self.recalibrated,
            "seconds": round(self.seconds, 4),
            "notes": list(self.notes),
            **self.more,
        }


def written(
    run: Opened,
    built: Rebuilt,
    rows: Ledger,
    change: Change,
    out: Path | None,
    beside: dict[str, bytes] | None = None,
    earlier: list[dict[str, Any]] | None = None,
    idle: bool = False,
) -> Run:
    """Write the changed run, in the place of the old one or to `out`, and return it.

    An `idle` change, which changes nothing, is told of and not written in the old one's place.
    """
    folder = out or run.folder
    before = run.report.get("changes", []) if earlier is None else earlier
    report = _report(run, built, rows) | {
        "run": str(folder),
        "bundle": str(folder / BUNDLE),
        "changes": [*before, change.json()],
    }
    settings = run.settings | {CHANGED: True}
    contents = Contents(
        built.model, report, settings, [], rows, built.sums, run.weights, beside or {}
    )
    if out is not None:
        write_run(folder, contents)
    elif not idle:
        rewrite_run(folder, contents)
    return Run(built.model, report, settings, [], rows, lambda: built.sums, folder=folder)


def _report(run: Opened, built: Rebuilt, rows: Ledger) -> dict[str, Any]:
    """What a report says of the rows as they are now; what the fit found in others is left out."""
    kept = ("backbone", "geometry", "at", "head", "engine")
    held = {key: run.report[key] for key in kept if key in run.report}
    return held | {
        "why": WHY,
        "classes": list(built.model.classes),
        **built.model.metrics,
        "leaks": sorted({row.id for row in rows.part(COPY)}),
    }


def with_more(run: Run, more: dict[str, Any]) -> Run:
    """The same run, its last change told with `more`."""
    changes = list(run.report["changes"])
    changes[-1] = changes[-1] | more
    return replace(run, report=run.report | {"changes": changes})
