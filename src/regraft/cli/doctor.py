"""regraft doctor: what works on this machine, and how fast."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from regraft.cli import options
from regraft.cli.output import console, echo, print_json

NAME = "doctor"


def command(
    quick: Annotated[bool, typer.Option("--quick", help="Do not measure speeds.")] = False,
    json: options.Json = False,
) -> None:
    """Check what is installed, which engines and precisions work here and how fast."""
    from regraft.doctor import examine

    report = examine(measure=not quick)
    if json:
        print_json(report)
    else:
        show(report)


def show(report: dict[str, Any]) -> None:
    """The report for people."""
    from rich.table import Table

    out = console()
    echo(
        f"cache       {report['cache']['folder']}"
        + ("" if report["cache"]["writable"] else " (cannot be written)")
    )
    echo(f"machine     {report['machine']}, {report['threads']} threads")
    table = Table("package", "version")
    for name, version in report["packages"].items():
        table.add_row(name, version or "not installed")
    out.print(table)
    table = Table("engine", "device", "precision", "images/s", "largest error", "note")
    for row in report["engines"]:
        speed = "" if row["images_per_second"] is None else f"{row['images_per_second']:.0f}"
        error = "" if row["error"] is None else f"{row['error']:.1e}"
        table.add_row(row["engine"], row["device"], row["precision"], speed, error, row["note"])
    out.print(table)
