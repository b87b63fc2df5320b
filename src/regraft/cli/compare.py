"""regraft compare: several plans on the same data, as one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regraft.cli import flags as made
from regraft.cli import options
from regraft.cli.live import watching
from regraft.cli.output import console, percent, print_json, say, show_warnings
from regraft.cli.unfinished import at_work, command_digest, goes_on, next_comparison

if TYPE_CHECKING:
    from rich.console import Console

NAME = "compare"
FILE = "comparison.json"


@made.with_settings
def command(
    data: options.Data,
    settings: options.Settings = None,
    plans: Annotated[
        str, typer.Option("--plans", help="Plans with commas, or files of your own: probe,my.toml.")
    ] = "probe,lpft",
    seeds: Annotated[
        int, typer.Option(help="How many times, each with another division of DATA.")
    ] = 3,
    backbone: options.Backbone = None,
    at: Annotated[str, typer.Option(help="Stage whose output the head reads.")] = "end",
    head: Annotated[str, typer.Option(help="auto, ridge, logistic, mlp or prototypes.")] = "auto",
    test: Annotated[
        str | None, typer.Option(help="Labelled data to score on; wins over DATA/test.")
    ] = None,
    size: options.Size = None,
    geometry: Annotated[str, typer.Option(help="crop, squash, pad or auto.")] = "auto",
    group: options.Group = None,
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
    """Run several plans on the same splits of DATA and tell which is best, and how sure that is.

    Settings are for every plan that trains. What is computed below a cut is kept, for all seeds
    and for all plans with that cut.
    """
    show_warnings()
    how: dict[str, Any] = {
        "data": data,
        "backbone": backbone,
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
    }
    found = run(how, out)
    if json:
        print_json(found)
    else:
        show(found, console())


def run(how: dict[str, Any], out: Path | None) -> dict[str, Any]:
    """The comparison that these arguments of `regraft.compare` give, saved, as plain data."""
    from regraft.comparing import asked, compare
    from regraft.record import free

    asked(how["plans"], how["seeds"], how["settings"])
    command = command_digest(how)
    folder = out or next_comparison(how["data"], command, FILE)
    if folder.exists() and ((folder / FILE).exists() or not goes_on(folder, command)):
        free(folder)
    with at_work(folder, command, folder), watching() as (progress, watch):
        return compare(**how, folder=folder, say=say, progress=progress, watch=watch).json()


def show(found: dict[str, Any], console: Console) -> None:
    """The comparison for people."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("plan")
    for title in ("accuracy", "95 % interval", "behind the best", "log-loss", "seconds", "trained"):
        table.add_column(title, justify="right", no_wrap=True)
    for arm in found["arms"]:
        if arm["error"]:
            continue
        table.add_row(
            arm["plan"],
            percent(arm["accuracy"]),
            _range(arm["accuracy_ci95"]),
            _behind(arm, found["best"]),
            f"{arm['log_loss']:.3f}",
            f"{arm['seconds']:.1f}",
            f"{arm['parameters']:,.0f}",
        )
    console.print(table)
    for arm in found["arms"]:
        if arm["error"]:
            console.print(f"{arm['plan']}: {arm['error']}", markup=False, highlight=False)
    tests = sorted({run["n"] for run in found["arms"][0]["runs"]})
    told = f"{tests[0]}" if len(tests) == 1 else f"{tests[0]} to {tests[-1]}"
    console.print(
        f"{found['seeds']} seeds with {told} test images each; what lies below the cuts, computed "
        f"once, took {found['shared_seconds']:.1f} s more; {found['folder']}",
        highlight=False,
    )


def _behind(arm: dict[str, Any], best: str) -> str:
    if arm["plan"] == best:
        return "best"
    told = f"{100 * arm['difference']:+.1f}"
    return told if arm["difference_ci95"] is None else f"{told} ({_points(arm['difference_ci95'])})"


def _range(interval: list[float]) -> str:
    return f"{percent(interval[0])} to {percent(interval[1])}"


def _points(interval: list[float]) -> str:
    return f"{100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"
