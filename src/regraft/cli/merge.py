"""regraft merge: several runs as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regraft.cli import options
from regraft.cli.changed import show
from regraft.cli.output import print_json, show_warnings

NAME = "merge"


def command(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN…", help="Two run folders or more.")
    ],
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    tune: options.Tune = False,
    json: options.Json = False,
) -> None:
    """Make one run of several RUNs: the same head as if their data had lain together."""
    from regraft.change import merge

    show_warnings()
    done = merge(runs, out=out, tune=tune)
    if json:
        print_json(done.report)
    else:
        show(done.report)
