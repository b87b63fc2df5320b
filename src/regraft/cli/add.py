"""regraft add: new labelled data into a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regraft.cli import options
from regraft.cli.changed import show
from regraft.cli.output import print_json, progress_bar, show_warnings

NAME = "add"


def command(
    run: options.Run,
    data: options.Data,
    out: Annotated[
        Path | None, typer.Option(help="Write a new run folder and leave RUN as it is.")
    ] = None,
    path_column: options.PathColumn = None,
    label_column: options.LabelColumn = None,
    tune: options.Tune = False,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Add labelled DATA to RUN: the same head as if they had been there from the start."""
    from regraft.change import add

    show_warnings()
    with progress_bar("features") as progress:
        done = add(
            run,
            data,
            out=out,
            **options.columns(path_column, label_column),
            tune=tune,
            threads=threads,
            progress=progress,
        )
    if json:
        print_json(done.report)
    else:
        show(done.report)
