"""regraft compare: several plans on the same data, or finished runs, as tables."""

from __future__ import annotations

import json as plain
from pathlib import Path
from typing import Annotated, Any

import typer

from regraft.cli import flags as made
from regraft.cli import options
from regraft.cli.compared import show
from regraft.cli.output import console, print_json, say, show_warnings
from regraft.cli.unfinished import at_work, command_digest, goes_on, next_comparison
from regraft.errors import OptionError
from regraft.live import watching

NAME = "compare"
FILE = "comparison.json"
#: What may be given beside finished runs.
BESIDE = ("data", "settings", "out", "json", "quiet", "verbose")


@made.with_settings
def command(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Class folders (or train/ val/ test/ of them), or a CSV, Parquet or JSONL table; "
            "or a run folder, with more of them after it, or a comparison's.",
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE | RUN]…",
            help="Settings of the plans that train, such as lr=1e-4; or more run folders.",
            show_default=False,
        ),
    ] = None,
    plans: Annotated[
        str, typer.Option("--plans", help="Plans with commas, or files of your own: probe,my.toml.")
    ] = "probe,lpft",
    backbones: Annotated[
        str | None,
        typer.Option(
            "--backbones",
            help="Several with commas, each with every plan; 'regraft backbones' lists them.",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="How many times, each with another division of DATA.")
    ] = 3,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Stop in time: 90s, 10m, 1h30m. What does not fit is left out and named; the same "
            "command with a larger budget goes on. \\[default: no end]",
        ),
    ] = None,
    backbone: options.Backbone = None,
    at: Annotated[str, typer.Option(help="Stage whose output the head reads.")] = "end",
    head: Annotated[str, typer.Option(help="auto, ridge, logistic, mlp or prototypes.")] = "auto",
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
    out: Annotated[
        Path | None, typer.Option(help="The folder to make. \\[default: runs/compare-NAME-1, …]")
    ] = None,
    seed: Annotated[int, typer.Option(help="The first of the seeds.")] = 0,
    json: options.Json = False,
    *,
    flags: dict[str, str],
) -> None:
    """Run several plans on the same splits of DATA, or compare runs that are finished.

    The first seed of every plan comes before the second of any, cheap plans
    first. The same command goes on where it was stopped. What lies below a cut
    is computed once for all plans with that cut. 'regraft compare runs/a runs/b'
    scores finished runs on rows that none learned from.
    """
    show_warnings()
    if is_finished(data, settings):
        refuse_beside_runs(context, flags)
        found = finished([data, *(settings or ())], out)
    else:
        how: dict[str, Any] = {
            "data": data,
            "backbone": several(backbone, backbones),
            "plans": [name for name in plans.split(",") if name],
            "seeds": seeds,
            "seed": seed,
            "settings": made.together(flags, settings),
            "at": at,
            "head": head,
            "test": test,
            "size": size,
            "geometry": geometry,
            "group": group,
            "near": near,
            "strict": strict,
            "most_bad": most_bad,
            "weights": weights,
            "device": device,
            "threads": threads,
            **options.columns(path_column, label_column),
        }
        found = run(how, out, budget)
    if json:
        print_json(found)
    else:
        show(found, console())


def several(backbone: str | None, backbones: str | None) -> str | list[str] | None:
    """The backbone or backbones.

    Raises:
        OptionError: both options are given, or the list is empty.
    """
    if backbones is None:
        return backbone
    names = [name.strip() for name in backbones.split(",") if name.strip()]
    if backbone is not None:
        raise OptionError("--backbone and --backbones are given; name all of them in --backbones.")
    if not names:
        raise OptionError("--backbones must name at least one backbone, got none.")
    return names


def run(how: dict[str, Any], out: Path | None, budget: str | None = None) -> dict[str, Any]:
    """The comparison that these arguments of `regraft.compare` give, saved, as plain data."""
    from regraft.comparing import asked, compare
    from regraft.duration import seconds_of
    from regraft.record import free

    nets = how["backbone"] if isinstance(how["backbone"], list) else [how["backbone"]]
    asked(how["plans"], how["seeds"], how["settings"], nets)
    seconds = None if budget is None else seconds_of(budget)
    command = command_digest(how)
    folder = out or next_comparison(how["data"], command, done)
    if folder.exists() and (done(folder) or not goes_on(folder, command)):
        free(folder)
    with at_work(folder, command, folder), watching() as (progress, watch):
        how |= {"budget": seconds, "folder": folder}
        return compare(**how, say=say, progress=progress, watch=watch).json()


def done(folder: Path) -> bool:
    """Whether nothing is left to do: what a budget left out still is."""
    try:
        held = plain.loads((folder / FILE).read_bytes())
        return not held["left_out"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True


def is_finished(data: str, more: list[str] | None) -> bool:
    """Whether finished runs are named, and not data.

    Raises:
        OptionError: one is a run and another is not.
    """
    paths = [data, *(more or ())]
    kinds = [_is_made(Path(path)) for path in paths]
    if any(kinds) and not all(kinds):
        raise OptionError(
            f"{paths[kinds.index(True)]} is a finished run and '{paths[kinds.index(False)]:.60}' "
            "is none: name finished runs alone, or one DATA with KEY=VALUE settings."
        )
    return all(kinds)


def _is_made(folder: Path) -> bool:
    """Whether a run or a comparison lies there, as its file names tell."""
    if (folder / FILE).is_file() or (folder / "command.json").is_file():
        return True
    return (folder / "bundle").is_dir() and (folder / "report.json").is_file()


def refuse_beside_runs(context: typer.Context, flags: dict[str, str]) -> None:
    """Finished runs are what they are: an option that would change them is refused."""
    for name in [*context.params, *flags]:
        source = context.get_parameter_source(name)
        given = source is not None and source.name == "COMMANDLINE"
        if given and name not in BESIDE:
            raise OptionError(
                f"--{name.replace('_', '-')} has no effect on finished runs; leave it out, or name "
                "DATA to run the plans anew."
            )


def finished(runs: list[str], out: Path | None) -> dict[str, Any]:
    """The comparison of finished runs as plain data, saved where `out` says."""
    from dataclasses import replace

    from regraft.comparing import compare_runs, write
    from regraft.record import free

    if out is not None:
        free(out)
    found = compare_runs(runs)
    if out is not None:
        out.mkdir(parents=True)
        found = replace(found, folder=out)
        write(found, out)
    return found.json()
