"""regraft predict: a line per file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regraft import spreadsheet
from regraft.cli import options
from regraft.cli.output import echo, percent, print_json, progress_bar, show_warnings
from regraft.errors import DataError, OptionError
from regraft.files import visible

if TYPE_CHECKING:
    from regraft.model import Prediction

NAME = "predict"


def command(
    bundle: options.Bundle,
    files: Annotated[list[str], typer.Argument(metavar="FILE|DIR…", help="Images or folders.")],
    top: Annotated[int, typer.Option(help="How many classes to print per file.")] = 1,
    csv_out: Annotated[
        Path | None, typer.Option("--csv", help="Write a table with every class's probability.")
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Say what BUNDLE sees in each FILE; exits with 0 if at least one could be read."""
    from regraft.model import load

    show_warnings()
    if top < 1:
        raise OptionError(f"--top must be 1 or more, got {top}.")
    if csv_out is not None:
        spreadsheet.free(csv_out, "--csv")
    model = load(bundle)
    with progress_bar("images") as progress:
        found = model.predict(files, device=device, threads=threads, progress=progress)
    if csv_out is not None:
        write_csv(csv_out, found, model.classes)
    if json:
        print_json(
            {
                "predictions": [plain(one, top) for one in found],
                "read": sum(not one.error for one in found),
            }
        )
    else:
        for one in found:
            echo(line(one, top))
    sys.stdout.flush()
    if all(one.error for one in found):
        first = f"{visible(found[0].file)}: {found[0].error}"
        raise DataError(f"none of the {len(found)} files could be read ({first}).")


def plain(one: Prediction, top: int) -> dict[str, object]:
    """A prediction as plain data with the `top` most probable classes."""
    if one.error:
        return {"file": one.file, "error": one.error}
    ranked = dict(list(one.probabilities.items())[:top])
    return {"file": one.file, "label": one.label, "probabilities": ranked}


def line(one: Prediction, top: int) -> str:
    """A prediction for people."""
    name = visible(one.file)
    if one.error:
        return f"{name}\terror: {one.error}"
    ranked = list(one.probabilities.items())[:top]
    return f"{name}\t" + "\t".join(f"{visible(label)} {percent(value)}" for label, value in ranked)


def write_csv(path: Path, found: list[Prediction], classes: tuple[str, ...]) -> None:
    """One row per file: file, label, error, then the probability of every class."""
    texts = ([one.file, one.label or "", one.error] for one in found)
    values = (
        [f"{one.probabilities[c]:.6f}" if one.probabilities else "" for c in classes]
        for one in found
    )
    rows = ([*map(spreadsheet.cell, text), *row] for text, row in zip(texts, values, strict=True))
    head = ["file", "label", "error", *map(spreadsheet.cell, classes)]
    spreadsheet.write(path, "--csv", head, rows)
