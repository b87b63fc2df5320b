"""regraft report: the page that a person looks at, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from regraft import sizes
from regraft.cli import options
from regraft.cli.output import echo, print_json, progress_bar, show_warnings

NAME = "report"


def command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|COMPARISON", help="What 'fit' or 'compare' made.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write the page. \\[default: report.html in RUN]"),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain/--no-explain",
            help="Whether pictures are shown with what spoke for each answer.",
        ),
    ] = True,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Write report.html of a run or a comparison: one file that needs nothing else."""
    from regraft.report.written import write

    show_warnings()
    with progress_bar("features") as progress:
        made = write(run, out, explain=explain, device=device, threads=threads, progress=progress)
    if json:
        print_json(made)
    else:
        show(made)


def show(made: dict[str, Any]) -> None:
    """Where the page is and what is in it, on stdout."""
    echo(f"report      {made['page']} ({sizes.told(made['bytes'])})")
    echo(f"sections    {', '.join(made['sections'])}")
    for line in made["missing"]:
        echo(f"left out    {line}")
