"""regraft audit: what is wrong with data, before anything is learned from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regraft.cli import options
from regraft.cli.output import console, echo, print_json, progress_bar, show_warnings
from regraft.files import visible

if TYPE_CHECKING:
    from regraft.findings import Audit

NAME = "audit"
MOST_LINES = 10  # of each kind of finding
MOST_CLASSES = 30


def command(
    data: options.Data,
    test: Annotated[
        str | None, typer.Option(help="Labelled data to test on; wins over DATA/test.")
    ] = None,
    group: options.Group = None,
    path_column: options.PathColumn = None,
    label_column: options.LabelColumn = None,
    near: options.Near = True,
    strict: options.Strict = False,
    most_bad: options.MostBad = 0.5,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Look for what is wrong with DATA: bad files, duplicates, leaks, labels that contradict."""
    from regraft.auditing import audit, check_most_bad

    show_warnings()
    check_most_bad(most_bad)
    with progress_bar("reading") as progress:
        found = audit(
            data,
            test=test,
            group=group,
            **options.columns(path_column, label_column),
            near=near,
            threads=threads,
            progress=progress,
        )
    if json:
        print_json(found.json())
    else:
        show(found)
    found.refuse(strict, most_bad)


def show(found: Audit) -> None:
    """The findings for people, on stdout."""
    echo(
        f"seen        {found.seen} files: {found.used} images to use, {len(found.skipped)} left "
        f"out, {found.ignored} ignored"
    )
    if found.used:
        _show_classes(found.classes)
    common = Counter(skip.reason for skip in found.skipped).most_common()
    if len(found.skipped) > MOST_LINES:
        _listed("left out, by reason", [f"{n} times {visible(why)}" for why, n in common])
    _listed("left out", [f"{visible(s.file)}: {visible(s.reason)}" for s in found.skipped])
    _listed("known from another part, so not to be scored", [x.line() for x in found.leaks])
    _listed("one picture with several labels", [x.line() for x in found.conflicts])
    _listed("one picture several times", [x.line() for x in found.duplicates])
    _listed("note", list(found.notes))
    if not (found.skipped or found.leaks or found.conflicts or found.duplicates or found.notes):
        echo("no problems found")


def _show_classes(classes: dict[str, dict[str, int]]) -> None:
    """How many pictures of each class are in which part."""
    from rich.table import Table
    from rich.text import Text

    parts = list(next(iter(classes.values())))
    titles = ["images"] if parts == ["unsplit"] else parts
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for title in titles:
        table.add_column(title, justify="right")
    for name, counts in list(classes.items())[:MOST_CLASSES]:
        table.add_row(Text(visible(name)), *(str(counts[part]) for part in parts))
    echo()
    console().print(table)
    if len(classes) > MOST_CLASSES:
        echo(f"and {len(classes) - MOST_CLASSES} more classes")


def _listed(title: str, lines: Sequence[Any]) -> None:
    if lines:
        echo(f"\n{title} ({len(lines)})")
        for line in lines[:MOST_LINES]:
            echo(f"  {line}")
        if len(lines) > MOST_LINES:
            echo(f"  and {len(lines) - MOST_LINES} more; --json lists all")
