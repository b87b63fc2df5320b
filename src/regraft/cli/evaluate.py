"""regraft evaluate: score a bundle on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from regraft import spreadsheet
from regraft.cli import options
from regraft.cli.output import print_json, progress_bar, show_warnings
from regraft.cli.scores import show

NAME = "evaluate"


def command(
    bundle: options.Bundle,
    data: options.Data,
    path_column: options.PathColumn = None,
    label_column: options.LabelColumn = None,
    csv_out: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="Write a table with a row per image: file, true, predicted, probability; wrong "
            "answers come first.",
        ),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Score BUNDLE on labelled DATA (its test part, if it has one)."""
    from regraft.model import load

    show_warnings()
    if csv_out is not None:
        spreadsheet.free(csv_out, "--csv")
    model = load(bundle)
    with progress_bar("features") as progress:
        scores = model.evaluate(
            data,
            **options.columns(path_column, label_column),
            answers=csv_out is not None,
            device=device,
            threads=threads,
            progress=progress,
        )
    if csv_out is not None:
        write_csv(csv_out, scores.pop("answers"))
    if json:
        print_json(scores)
    else:
        show(scores)


def write_csv(path: Path, answers: list[dict[str, Any]]) -> None:
    """One row per image: file, true, predicted, probability (0..1)."""
    names = ("file", "true", "predicted")
    rows = (
        [*(spreadsheet.cell(one[name]) for name in names), f"{one['probability']:.6f}"]
        for one in answers
    )
    spreadsheet.write(path, "--csv", [*names, "probability"], rows)
