"""regraft remove: files out of a run, and every trace of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regraft.cli import options
from regraft.cli.changed import show
from regraft.cli.output import print_json, progress_bar, show_warnings

NAME = "remove"


def command(
    run: options.Run,
    ids: Annotated[
        Path,
        typer.Option(help="A text file: one id (as in RUN/trained.json) or digest per line."),
    ],
    tune: options.Tune = False,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Remove files from RUN as if they had never been there, and from the cache."""
    from regraft.change import remove

    show_warnings()
    with progress_bar("features") as progress:
        done = remove(run, ids, tune=tune, threads=threads, progress=progress)
    if json:
        print_json(done.report)
    else:
        show(done.report)
