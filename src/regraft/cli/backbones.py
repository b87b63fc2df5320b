"""`regraft backbones`: what there is, and what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from regraft.cli import options
from regraft.cli.output import console, print_json

if TYPE_CHECKING:
    from rich.console import Console

NAME = "backbones"
COLUMNS = ("parameters", "input", "top1", "top5", "licence", "data", "suits")
TITLES = ("parameters", "pixels", "top-1 %", "top-5 %", "licence", "trained on", "suits")


def command(
    pattern: Annotated[
        str, typer.Argument(metavar="[PATTERN]", help="Part of a name, or a pattern like 'vit_*'.")
    ] = "",
    json: options.Json = False,
) -> None:
    """List backbones and what is known of each; what nobody says is left blank."""
    data = table(pattern)
    if json:
        print_json(data)
    else:
        show(data, console())


def table(pattern: str = "") -> dict[str, Any]:
    """The backbones that match, each fact with its source."""
    from regraft.backbones import DEFAULT, list_backbones

    found = list_backbones(pattern)
    return {"pattern": pattern, "default": DEFAULT, "count": len(found), "backbones": found}


def show(data: dict[str, Any], console: Console) -> None:
    """Print what `table` found, and beneath it where the facts are from."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False)
    shown.add_column("name", no_wrap=True)
    for title in TITLES:
        shown.add_column(title)
    sources: dict[str, None] = {}
    for entry in data["backbones"]:
        shown.add_row(entry["name"], *(_text(column, entry[column]) for column in COLUMNS))
        sources |= {_short(entry[c]["source"]): None for c in COLUMNS}
    console.print(shown)
    told = [source for source in sources if source]
    console.print(f"{data['count']} backbones; blank: not known. Facts from " + "; ".join(told))


def _short(source: str) -> str:
    """The source without what differs from row to row."""
    for start in ("torchvision", "timm's tag"):
        if source.startswith(start):
            return start
    return source


def _text(column: str, fact: dict[str, Any]) -> str:
    value = fact["value"]
    if value is None or value == "":
        return ""
    if column == "parameters":
        return f"{value / 1e6:,.1f} M"
    if column == "input":
        return " x ".join(map(str, value))
    return str(value)
