"""The run folder: what happened, and what repeats it.

run.toml       the resolved settings; `regraft fit run.toml` repeats the run
report.json    scores, timings, counts, what was left out
tried.json     every stage and head that was tried
trained.json   every file that it learned from (these are never scored) or was scored on
sums.*         what a ridge head needs to know of its rows, so that they can come and go
log.txt        the same for people
report.html    the same to look at
bundle/        what one ships
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from regraft import __version__, ledger
from regraft.bundle import pretty
from regraft.choose import rows_at
from regraft.errors import BundleError, OptionError, did_you_mean
from regraft.features import Features
from regraft.files import exchange, put_folder, reason, refusal, visible, whole_folder
from regraft.heads.sums import Sums, sums_of
from regraft.ledger import Ledger, Row
from regraft.model import Model, taps
from regraft.parts import Parts
from regraft.pipeline import tap_name
from regraft.plans import text

SETTINGS, REPORT, TRIED, LOG, BUNDLE = "run.toml", "report.json", "tried.json", "log.txt", "bundle"
#: The setting of a run that add, remove or merge changed: its run.toml repeats nothing.
CHANGED = "changed"
#: The setting that holds a plan's phases, as a list of plain tables.
PHASES = "phases"


def free(folder: Path) -> None:
    """Raise an OptionError if `folder` cannot become a run folder."""
    if folder.exists():
        raise OptionError(f"--out {folder} exists; name a folder that does not, or remove it.")
    parent = folder.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if parent.is_dir() and not os.access(parent, os.W_OK | os.X_OK):
        raise OptionError(f"--out {folder} cannot be made: {parent} cannot be written.")
    if not parent.is_dir():
        raise OptionError(f"--out {folder} lies below {parent}, which is not a folder.")


@dataclass(frozen=True)
class Contents:
    """All that a run folder holds.

    Attributes:
        model: its bundle.
        report: see `regraft.outcome.report`.
        settings: `run.toml`.
        tried: every stage and head that was tried.
        ledger: the rows.
        sums: of the rows, for a ridge head.
        weights: a file of the backbone's weights, to be copied into the bundle.
        beside: further small files, by name.
    """

    model: Model
    report: dict[str, Any]
    settings: dict[str, Any]
    tried: list[dict[str, Any]]
    ledger: Ledger
    sums: Sums | None = None
    weights: Path | None = None
    beside: dict[str, bytes] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """What lies beside the bundle, by name."""
        return {
            SETTINGS: toml(self.settings).encode(),
            REPORT: pretty(self.report),
            TRIED: pretty(self.tried),
            LOG: story(self.report).encode(),
            ledger.FILE: self.ledger.text(),
            **(self.sums.files() if self.sums else {}),
            **self.beside,
        }

    def needed(self, standalone: bool = False) -> int:
        """About how many bytes the run folder takes."""
        parts = sum(map(len, self.files().values()))
        parts += 2 * len(pretty(self.model.metrics)) + len(pretty(self.model.backbone.info.json()))
        parts += sum(array.nbytes for array in self.model.head.arrays().values())
        tuning = self.model.backbone.tuning
        if tuning and not (standalone or self.weights):
            parts += 4 * tuning.parameters
        if standalone or self.weights:
            parts += 4 * sum(stage.parameters for stage in self.model.backbone.info.stages)
        return parts

    def fill(self, folder: Path, *, standalone: bool = False) -> None:
        """Write all of it into an empty folder.

        Raises:
            OSError: the disk does not take it.
        """
        for name, data in self.files().items():
            (folder / name).write_bytes(data)
        self.model.save(folder / BUNDLE, standalone=standalone, weights=self.weights)


def write_run(folder: Path, contents: Contents, *, standalone: bool = False) -> None:
    """Write a new run folder, whole or not at all.

    Raises:
        OptionError: it exists, or the disk does not take it.
    """
    free(folder)
    try:
        with whole_folder(folder.absolute().parent) as part:
            contents.fill(part, standalone=standalone)
            put_folder(part, folder.absolute())
    except (OSError, BundleError) as problem:
        raise OptionError(
            f"--out {folder} cannot be written {refusal(problem, contents.needed(standalone))}."
        ) from problem


def rewrite_run(folder: Path, contents: Contents) -> None:
    """Put a changed run in the place of the old one, which is gone then.

    At every instant there is one of them, whole.

    Raises:
        OptionError: the disk does not take it; the old run is as it was.
    """
    place = folder.resolve()
    try:
        with whole_folder(place.parent) as part:
            contents.fill(part)
            exchange(part, place)
    except (OSError, BundleError) as problem:
        told = reason(problem.__cause__ or problem)
        raise OptionError(
            f"{folder} cannot be changed and is as it was ({told}): it needs "
            f"{contents.needed() / 1e6:.2f} MB more while it changes; make room."
        ) from problem


def ledger_of(features: Features, own: int, parts: Parts, sources: Sequence[str]) -> Ledger:
    """What became of every readable row of a fit.

    Args:
        features: of the data, then of the data given to test on.
        own: how many are the data's own.
        parts: what they were divided into.
        sources: the names of the one or two data sets.
    """
    held = {id(example) for example in parts.val.examples}
    kin = parts.pool_groups
    place = {id(example): (ledger.TEST, -1) for example in parts.test.examples}
    for number, example in enumerate(parts.pool.examples):
        name = ledger.VAL if id(example) in held else ledger.TRAIN
        place[id(example)] = (name, -1 if kin is None else int(kin[number]))
    rows = []
    for number, example in enumerate(features.examples):
        kept, kin_of = place.get(id(example), (ledger.COPY, -1))
        source, label = int(number >= own), example.label or ""
        digest = features.digests[number]
        rows.append(Row(example.id, digest, label, kept, example.group, source, kin_of))
    return Ledger((), tuple(sources)).only(rows)


def kept_sums(model: Model, parts: Parts) -> Sums | None:
    """The sums of all rows that a ridge head learned from, in one pass; None for other heads."""
    if model.head.name != "ridge":
        return None
    names = [tap_name(tap) for tap in taps(model.backbone.info, model.at)]
    rows = rows_at(parts.pool.rows, names)
    labels = [example.label or "" for example in parts.pool.examples]
    head = model.head
    return sums_of(head.layers, rows, labels, at=model.at, settings=head.settings, seed=model.seed)


def toml(settings: dict[str, Any]) -> str:
    """The settings as keys, and the phases of a plan, if there are any, as [[phase]] tables."""
    lines = ["# Everything that decides this run's result. Repeat it: regraft fit run.toml"]
    if settings.get(CHANGED) is True:
        lines = ["# How this run began. It was changed since, so this file does not repeat it."]
    flat = {key: value for key, value in settings.items() if key != PHASES}
    if PHASES in settings:
        flat = {"format": text.FORMAT, "regraft": __version__} | flat
    lines += [f"{key} = {text.value(value)}" for key, value in flat.items()]
    return "\n".join([*lines, *text.phase_lines(settings.get(PHASES, ()))]) + "\n"


#: For each type of a setting what a run.toml may hold in its place, and what that is called.
_TAKEN: dict[type, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a text in quotes"),
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    list: ((list,), "a list in brackets"),
}


def read_settings(path: Path, known: dict[str, type]) -> dict[str, Any]:
    """The settings in a `run.toml`; its [[phase]] tables, if it has any, are 'phases'.

    Raises:
        OptionError: it is not TOML, was written by a newer regraft, or has a key or a type that
            is not known.
    """
    settings = text.load(path, "a run.toml")
    tables = text.phase_tables(settings, path)
    if settings.get(CHANGED) is True:
        raise OptionError(
            f"{path} belongs to a run that was changed by add, remove or merge, so it does not "
            "repeat it; name the data themselves to fit again."
        )
    for key, value in settings.items():
        if key not in known:
            near = did_you_mean(key, known) or f" Known are {', '.join(known)}."
            raise OptionError(f"{path}: '{key}' is no setting of a run.{near}")
        taken, called = _TAKEN[known[key]]
        if type(value) not in taken:
            raise OptionError(f"{path}: '{key}' must be {called}, got {value!r:.80}.")
    return settings | ({PHASES: tables} if tables else {})


def resolved(path: Path) -> dict[str, Any]:
    """The settings that decided a run's features, out of its `run.toml`; the rest is not read.

    Raises:
        BundleError: it cannot be read, or a setting is missing or of another type.
    """
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
        if held.get("depths") not in ("all", "at"):
            raise ValueError("'depths' must be 'all' or 'at'")
        for key in ("device", "engine", "precision"):
            if not isinstance(held.get(key), str):
                raise ValueError(f"'{key}' must be a text")
        balance = held.setdefault("balance", 0.0)
        if type(balance) not in (int, float) or not 0 <= balance <= 1:
            raise ValueError("'balance' must lie in 0..1")
    except (OSError, ValueError) as problem:
        raise BundleError(
            f"{path} is not what 'regraft fit' wrote ({reason(problem)}); fit again."
        ) from problem
    return held


def story(report: dict[str, Any]) -> str:
    """The report for people, with the time at which it was written."""
    test, validation = report["test"], report["validation"]
    lines = [
        f"finished {datetime.now(UTC).isoformat(timespec='seconds')}",
        f"backbone {report['backbone']}, read at {report['at']}, head {report['head']}",
        report["why"],
    ]
    if validation and validation["n"]:
        told = f"accuracy {validation['accuracy']:.4f} on {validation['n']} images"
        lines.append(f"{validation['kind']} {told}")
    if crossed := report.get("cross_validation"):
        low, high = crossed["accuracy_ci95"]
        lines.append(
            f"{crossed['k']} folds x {crossed['repeats']}: accuracy {crossed['accuracy']:.4f} "
            f"({low:.4f} to {high:.4f}) on {crossed['n']} images"
        )
    if test:
        low, high = test["accuracy_ci95"]
        lines.append(
            f"test accuracy {test['accuracy']:.4f} ({low:.4f} to {high:.4f}) on {test['n']} images"
        )
    if "changes" in report:
        return "\n".join([*lines, *map(_changed, report["changes"])]) + "\n"
    seconds = report["seconds"]
    lines.append(
        f"{seconds['total']:.2f} s: features {seconds['features']:.2f}, "
        f"head {seconds['head']:.2f}; cache {report['cache']['state']}"
    )
    lines += [f"left out {visible(s['file'])}: {s['reason']}" for s in report["audit"]["skipped"]]
    return "\n".join(lines) + "\n"


def _changed(change: dict[str, Any]) -> str:
    """One line on one change."""
    told = f"{change['kind']}: {change['rows']} rows to learn from, {change['test']} to test on"
    return " ".join([told + ".", *change["notes"]])


def read_report(folder: Path) -> dict[str, Any]:
    """The report in a run folder.

    Raises:
        BundleError: it is not what was written.
    """
    path = folder / REPORT
    try:
        held = json.loads(path.read_bytes())
        if not isinstance(held, dict):
            raise ValueError("it is no table")
    except (OSError, ValueError, RecursionError) as problem:
        raise BundleError(
            f"{path} is not what 'regraft fit' wrote ({reason(problem)}); fit again."
        ) from problem
    return held
