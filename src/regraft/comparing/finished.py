"""Runs that are finished, compared on rows that none of them learned from.

run folders ─► the same test rows? ─► else those that no run learned from ─► asked again ─► arms
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regraft import peak
from regraft.comparing.arms import FILE, Comparison, Made, Scored
from regraft.comparing.known import Known, check_same, is_run, open_known, read_rows
from regraft.comparing.making import (
    RECORD,
    asked_more,
    bytes_of,
    head_numbers,
    of_report,
    read_right,
    right_of,
)
from regraft.comparing.ranking import Named, ranked
from regraft.data import Dataset, Example
from regraft.data.sources import again, kept_columns
from regraft.errors import BundleError, DataError, OptionError
from regraft.evaluate import evaluate
from regraft.features import compute
from regraft.ledger import COPY, TEST, TRAIN, VAL, Ledger
from regraft.record import BUNDLE, SETTINGS, read_report, resolved
from regraft.training import Answers

#: Names that an error tells of many.
SHOWN = 3


@dataclass(frozen=True)
class Rows:
    """What all runs are scored on.

    Attributes:
        digests: of the contents, sorted.
        labels: of each.
        note: why these, '' if they are the test rows of every run.
    """

    digests: tuple[str, ...]
    labels: dict[str, str]
    note: str = ""


def compare_runs(runs: Sequence[str | Path]) -> Comparison:
    """Compare finished runs on the same rows.

    If their test rows are the same these are taken, else all test rows of any of them that no run
    learned from, nor a copy or a row of one group with it; the notes say so.

    Args:
        runs: two or more folders that `regraft fit` made; or the folder of one comparison, whose
            runs are taken as they are; or several of both.

    Raises:
        BundleError: a folder is no run, or keeps too little.
        DataError: their data cannot be found any more.
        OptionError: fewer than two runs, or there is no row on which they can be compared.
    """
    given = [Path(run) for run in runs]
    if len(given) == 1 and is_comparison(given[0]):
        return _again(given[0])
    folders = [one for path in given for one in (_within(path) or [path])]
    if len(folders) < 2:
        raise OptionError(
            f"two or more run folders can be compared, got {', '.join(map(str, given)) or 'none'}."
        )
    twice = [str(path) for path in folders if folders.count(path) > 1]
    if twice:
        raise OptionError(f"{twice[0]} is named twice; name each run once.")
    for folder in folders:
        if not is_run(folder):
            raise BundleError(f"{folder} is no run folder; name those that 'regraft fit' made.")
    ledgers = {folder: read_rows(folder) for folder in folders}
    _same_classes(ledgers)
    rows = rows_of(ledgers)
    found = _Found(folders, ledgers)
    where = found.examples(rows)
    notes = [rows.note] if rows.note else []
    made, named = {}, []
    for name, folder in _names(folders).items():
        known = open_known(folder, found.of(folder), ledgers[folder])
        made[name] = [_made(folder, known, rows, where)]
        named.append(Named(name, _plan(known), known.model.backbone.info.name))
        if "changes" in known.report:
            notes.append(f"{folder} was changed since it was fitted: its seconds are the change's.")
    return Comparison(
        ", ".join(sorted({root for one in ledgers.values() for root in one.sources})),
        ranked(made, named, {}),
        1,
        round(sum(runs[0].scored.shared_seconds for runs in made.values()), 4),
        notes=tuple(notes),
    )


def _names(folders: Sequence[Path]) -> dict[str, Path]:
    """The folders by what tells them from one another: their paths below what they share."""
    shared = os.path.commonpath([path.absolute().parent for path in folders])
    return {os.path.relpath(path.absolute(), shared): path for path in folders}


def is_comparison(folder: Path) -> bool:
    """Whether a comparison lies there, finished or not."""
    return (folder / FILE).is_file() or bool(_within(folder))


def _within(folder: Path) -> list[Path]:
    """The finished runs of a comparison; none if it is something else."""
    if is_run(folder) or not folder.is_dir():
        return []
    return sorted(path.parent for path in folder.glob(f"*/{RECORD}") if is_run(path.parent))


def _again(folder: Path) -> Comparison:
    """The comparison that lies in a folder, from the records of its runs."""
    runs: dict[str, list[Made]] = {}
    named: dict[str, Named] = {}
    roots: set[str] = set()
    for home in _within(folder):
        scored = Scored.from_json(json.loads((home / RECORD).read_bytes()))
        name = home.name.removesuffix(f"-{scored.seed}")
        runs.setdefault(name, []).append(Made(scored, read_right(home)))
        report = read_report(home)
        plan = report["training"]["plan"] if "training" in report else name
        named.setdefault(name, Named(name, plan, report["backbone"]))
        roots.update(read_rows(home).sources)
    if not runs:
        raise BundleError(f"{folder} has no finished run in it; run the comparison again.")
    for made in runs.values():
        made.sort(key=lambda one: one.scored.seed)
    seeds = len({one.scored.seed for made in runs.values() for one in made})
    shared = sum(one.scored.shared_seconds for made in runs.values() for one in made)
    arms = ranked(runs, list(named.values()), {})
    return Comparison(", ".join(sorted(roots)), arms, seeds, round(shared, 4), folder)


def _plan(known: Known) -> str:
    return str((known.report.get("training") or {}).get("plan", "probe"))


def _same_classes(ledgers: dict[Path, Ledger]) -> None:
    first, *others = ledgers
    for folder in others:
        here, there = set(ledgers[folder].classes), set(ledgers[first].classes)
        odd = sorted(here ^ there)
        if odd:
            owner, other = (folder, first) if odd[0] in here else (first, folder)
            raise OptionError(
                f"{owner} knows the class '{odd[0]}' and {other} does not: runs can be compared "
                "where all of them have the same classes."
            )


def rows_of(ledgers: dict[Path, Ledger]) -> Rows:
    """The rows to score all runs on.

    Raises:
        OptionError: a run has no test rows, or there is none that no run learned from.
    """
    tests = {folder: rows.digests(TEST) for folder, rows in ledgers.items()}
    for folder, digests in tests.items():
        if not digests:
            raise OptionError(
                f"{folder} has no test rows, so there is nothing to compare it on; fit it with "
                "--test, or on data of which a part can be held out."
            )
    labels = {row.digest: row.label for rows in ledgers.values() for row in rows.part(TEST)}
    first, *others = tests
    other = next((folder for folder in others if tests[folder] != tests[first]), None)
    if other is None:
        return Rows(tuple(sorted(tests[first])), labels)
    kept = set().union(*tests.values())
    for rows in ledgers.values():
        groups = rows.groups(TRAIN, VAL)
        kept -= rows.digests(TRAIN, VAL, COPY)
        kept -= {row.digest for one in ledgers.values() for row in one.rows if row.group in groups}
    shared = len(tests[first] & tests[other])
    told = (
        f"{first} was tested on {len(tests[first])} rows and {other} on {len(tests[other])}, "
        f"{shared} of them the same"
    )
    if not kept:
        raise OptionError(
            f"{told}, and no row is left that no run learned from: fit them with the same --test, "
            "or with the same --seed."
        )
    note = (
        f"{told}: all runs are scored on the {len(kept)} test rows that none of them learned from."
    )
    return Rows(tuple(sorted(kept)), labels, note)


class _Found:
    """The files of finished runs, listed again."""

    def __init__(self, folders: Sequence[Path], ledgers: dict[Path, Ledger]) -> None:
        self.folders = folders
        self.ledgers = ledgers
        self._listed: dict[tuple[str, str], Dataset] = {}

    def of(self, folder: Path) -> list[Dataset]:
        """The data sets of a run.

        Raises:
            DataError: one of them is not there any more.
        """
        settings = resolved(folder / SETTINGS)
        return [self._data(root, folder, settings) for root in self.ledgers[folder].sources]

    def _data(self, root: str, folder: Path, settings: dict[str, Any]) -> Dataset:
        key = (root, repr(kept_columns(settings)))
        if key not in self._listed:
            try:
                self._listed[key] = again(root, "image", settings)
            except DataError as problem:
                raise DataError(
                    f"the data of {folder} cannot be found any more, and it has to be asked again: "
                    f"{problem}"
                ) from problem
        return self._listed[key]

    def examples(self, rows: Rows) -> list[Example]:
        """A file of each content.

        Raises:
            DataError: one is gone.
        """
        wanted = set(rows.digests)
        found: dict[str, Example] = {}
        for folder in self.folders:
            data = [{e.id: e for e in one.examples} for one in self.of(folder)]
            for row in self.ledgers[folder].part(TEST):
                if row.digest in wanted - found.keys() and row.id in data[row.source]:
                    found[row.digest] = data[row.source][row.id]
        gone = [digest for digest in rows.digests if digest not in found]
        if gone:
            names = sorted(
                row.id for one in self.ledgers.values() for row in one.rows if row.digest in gone
            )
            raise DataError(
                f"{len(gone)} files that the runs were tested on are gone "
                f"({', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}); put them back."
            )
        return [found[digest] for digest in rows.digests]


def _made(folder: Path, known: Known, rows: Rows, where: Sequence[Example]) -> Made:
    """The scores of a run on the rows, asked of its model again."""
    found = compute(where, known.reading())
    check_same([example.id for example in where], rows.digests, found)
    labelled_ = tuple(
        replace(example, id="", label=rows.labels[digest])
        for example, digest in zip(where, rows.digests, strict=True)
    )
    found = replace(found, examples=labelled_)
    answers = Answers(found, known.model.classes, known.model.probabilities(found))
    score = evaluate(answers.probabilities, answers.labels, answers.classes)
    scored = replace(
        _recorded(folder, known),
        n=score.n,
        accuracy=score.accuracy,
        balanced_accuracy=score.balanced_accuracy or 0.0,
        log_loss=score.log_loss or 0.0,
    )
    return Made(scored, right_of(answers))


def _recorded(folder: Path, known: Known) -> Scored:
    """What the run itself tells; of one that a comparison made, its record."""
    if (folder / RECORD).exists():
        return Scored.from_json(json.loads((folder / RECORD).read_bytes()))
    head = head_numbers(known.model.head.layers.arrays())
    scored = replace(
        of_report(_timed(known.report), known.model.seed, head),
        peak_memory_bytes=known.report.get("peak_memory_bytes"),
        memory_of=peak.PROCESS,
        bundle_bytes=bytes_of(folder / BUNDLE),
    )
    return asked_more(scored, known)


def _timed(report: dict[str, Any]) -> dict[str, Any]:
    """A report with seconds: those of the changes for a run that was changed."""
    if "seconds" in report:
        return report
    return report | {"seconds": {"total": sum(one["seconds"] for one in report["changes"])}}
