"""regraft advise: which strategy for these data, why, and at what cost."""

from __future__ import annotations

from typing import Annotated

import typer

from regraft.cli import options
from regraft.cli.output import echo, print_json, progress_bar, say, show_warnings
from regraft.duration import seconds_of

NAME = "advise"


def command(
    data: options.Data,
    backbone: options.Backbone = None,
    backbones: Annotated[
        str | None,
        typer.Option(
            help="Several to choose from, with commas; 'here' for those whose weights are on this "
            "machine.",
            show_default=False,
        ),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(help="Of the backbone's weights, such as 20MB.", show_default=False),
    ] = None,
    max_latency: Annotated[
        str | None,
        typer.Option(
            help="For one picture through the backbone, such as 10ms.", show_default=False
        ),
    ] = None,
    license: Annotated[
        str | None,
        typer.Option(help="Of the weights: permissive, or a name like MIT.", show_default=False),
    ] = None,
    budget: options.Budget = None,
    test: Annotated[
        str | None, typer.Option(help="Labelled data to score on; wins over DATA/test.")
    ] = None,
    size: options.Size = None,
    geometry: Annotated[str, typer.Option(help="crop, squash, pad or auto.")] = "auto",
    group: options.Group = None,
    path_column: options.PathColumn = None,
    label_column: options.LabelColumn = None,
    near: options.Near = True,
    strict: options.Strict = False,
    most_bad: options.MostBad = 0.5,
    weights: options.Weights = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    seed: Annotated[int, typer.Option(help="Decides splits and what is sampled.")] = 0,
    watts: Annotated[
        float, typer.Option(help="Of a busy processor, for the estimate of energy.", min=0.0)
    ] = 10.0,
    json: options.Json = False,
) -> None:
    """Say which plan and stage fit DATA, why, what accuracy to expect and what it costs here.

    Everything is measured on the rows to learn from, in one pass of the
    frozen backbone.
    """
    show_warnings()
    limit = None if budget is None else seconds_of(budget)
    from regraft.advising.advise import advise
    from regraft.advising.among import limits, named

    asked = max_size or max_latency or license
    with progress_bar("features") as progress:
        advice = advise(
            data,
            backbone,
            backbones=named(backbones) if backbones else (),
            within=limits(max_size, max_latency, license) if asked else None,
            test=test,
            size=size,
            geometry=geometry,
            group=group,
            **options.columns(path_column, label_column),
            near=near,
            strict=strict,
            most_bad=most_bad,
            weights=weights,
            device=device,
            threads=threads,
            seed=seed,
            budget=limit,
            watts=watts,
            say=say,
            progress=progress,
        )
    if json:
        print_json(advice.json())
    else:
        echo("\n".join(advice.lines()))
