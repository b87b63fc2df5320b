"""regraft embed: the features themselves, for any other library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regraft.cli import options
from regraft.cli.output import echo, print_json, progress_bar, show_warnings

NAME = "embed"


def command(
    data: options.Data,
    out: Annotated[Path, typer.Option(help="The file to write: .parquet, .csv or .npz.")],
    backbone: options.Backbone = None,
    path_column: options.PathColumn = None,
    label_column: options.LabelColumn = None,
    at: Annotated[str, typer.Option(help="Stage to read: end or a stage's name.")] = "end",
    size: options.Size = None,
    geometry: Annotated[
        str | None,
        typer.Option(help="crop, squash or pad, as a fit reports it. \\[default: as trained]"),
    ] = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Write one row per image: id, label, split, digest and its features.

    A folder of images without class folders is taken too; the labels are then
    empty.
    """
    from regraft.embed import embed

    show_warnings()
    with progress_bar("features") as progress:
        report = embed(
            data,
            out,
            backbone,
            **options.columns(path_column, label_column),
            at=at,
            size=size,
            geometry=geometry,
            weights=weights,
            device=device,
            threads=threads,
            progress=progress,
        )
    if json:
        print_json(report)
    else:
        echo(
            f"{report['rows']} rows of {report['width']} features at {report['at']} in "
            f"{report['out']}; {len(report['skipped'])} left out"
        )
