"""regraft fit: adapt a backbone to labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from regraft.cli import options
from regraft.cli.output import percent, print_json, progress_bar, say, show_warnings
from regraft.errors import OptionError

NAME = "fit"

#: The settings of a run.toml that `fit` takes back, and their types.
SETTINGS: dict[str, type] = {
    "data": str,
    "test": str,
    "backbone": str,
    "revision": str,
    "weights": str,
    "digest": str,
    "size": list,
    "geometry": str,
    "group": str,
    "near": bool,
    "most_bad": float,
    "at": str,
    "head": str,
    "balance": float,
    "folds": str,
    "depths": str,
    "device": str,
    "engine": str,
    "precision": str,
    "threads": int,
    "seed": int,
}


def command(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Class folders (or train/ val/ test/ of them), a CSV, Parquet or JSONL table, "
            "or the run.toml of an earlier run to repeat it.",
        ),
    ],
    backbone: options.Backbone = None,
    at: Annotated[
        str, typer.Option(help="Stage whose output the head reads: end, a name, a+b, or auto.")
    ] = "end",
    head: Annotated[str, typer.Option(help="auto, ridge, logistic, mlp or prototypes.")] = "auto",
    test: Annotated[
        str | None, typer.Option(help="Labelled data to score on; wins over DATA/test.")
    ] = None,
    size: options.Size = None,
    geometry: Annotated[
        str,
        typer.Option(
            help="What becomes of a picture's proportions: crop (the centre), squash, pad, or auto "
            "to choose by cross-validation where it matters."
        ),
    ] = "auto",
    group: options.Group = None,
    folds: Annotated[
        str | None,
        typer.Option(help="Cross-validate: 5, or 5x3 to repeat it; nothing is then held out."),
    ] = None,
    balance: Annotated[
        float,
        typer.Option(
            help="0 to 1: how much to make up for rare classes: 0 keeps their shares in DATA, 1 "
            "takes all classes for equally common."
        ),
    ] = 0.0,
    near: options.Near = True,
    strict: options.Strict = False,
    most_bad: options.MostBad = 0.5,
    weights: options.Weights = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder to make. \\[default: runs/NAME-1, -2, …]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides splits, folds, random features.")] = 0,
    standalone: Annotated[
        bool, typer.Option("--standalone", help="Put the backbone's weights into the bundle.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Adapt a pretrained backbone to DATA and leave a run folder with a bundle in it."""
    from regraft.record import free, read_settings
    from regraft.run import fit

    show_warnings()
    how: dict[str, Any] = {
        "data": data,
        "backbone": backbone,
        "at": at,
        "head": head,
        "test": test,
        "size": size,
        "geometry": geometry,
        "group": group,
        "folds": folds,
        "balance": balance,
        "near": near,
        "strict": strict,
        "most_bad": most_bad,
        "weights": weights,
        "device": device,
        "threads": threads,
        "seed": seed,
    }
    if data.endswith(".toml"):
        refuse_beside_toml(context)
        how = from_settings(read_settings(Path(data), SETTINGS))
    folder = out or next_folder(str(how["data"]))
    free(folder)
    with progress_bar("features") as progress:
        run = fit(**how, say=say, progress=progress).save(folder, standalone=standalone)
    if json:
        print_json(run.report)
    else:
        show(run.report)


def refuse_beside_toml(context: typer.Context) -> None:
    """A run.toml decides everything; an option beside it would be ignored, so it is refused."""
    for name in context.params:
        source = context.get_parameter_source(name)
        given = source is not None and source.name == "COMMANDLINE"
        if given and name not in ("data", "out", "standalone", "json"):
            raise OptionError(
                f"--{name.replace('_', '-')} cannot be given beside a run.toml; change its line in "
                "the file instead."
            )


def from_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """A run's settings as the arguments of `regraft.fit`."""
    empty_is_none = {
        key: value or None
        for key, value in settings.items()
        if key in ("test", "weights", "revision", "size", "digest", "group", "folds")
    }
    if "data" not in settings:
        raise OptionError("run.toml must name its 'data'.")
    return settings | empty_is_none


def next_folder(data: str) -> Path:
    """runs/NAME-1, or the first number that is free."""
    name = Path(data).absolute().stem or "data"
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder


def show(report: dict[str, Any]) -> None:
    """The result for people, on stdout."""
    test, validation, cache = report["test"], report["validation"], report["cache"]
    seconds, skipped = report["seconds"], report["audit"]["skipped"]
    shape = report["geometry"]["name"]
    print(f"backbone    {report['backbone']}, read at {report['at']}" + (shape and f", {shape}"))
    print(f"head        {report['head']}")
    print(
        f"trained on  {report['train']['n']} images of {len(report['classes'])} classes"
        + (f"; {len(skipped)} left out" if skipped else "")
    )
    if validation["n"]:
        told = f"{percent(validation['accuracy'])} ({validation['kind']}, {validation['n']} images)"
    else:
        told = "not possible: no class has two training images that are apart"
    print(f"validation  {told}")
    if crossed := report.get("cross_validation"):
        low, high = crossed["accuracy_ci95"]
        print(
            f"folds       {percent(crossed['accuracy'])} of {crossed['n']} images, 95 % interval "
            f"{percent(low)} to {percent(high)}; {crossed['k']} folds x {crossed['repeats']}, "
            f"which differ by {percent(crossed['accuracy_sd'])} (one standard deviation)"
        )
    if test:
        low, high = test["accuracy_ci95"]
        print(
            f"test        {percent(test['accuracy'])} of {test['n']} images, 95 % interval "
            f"{percent(low)} to {percent(high)}; {report['test_part']}"
        )
    elif not crossed:
        print("test        not possible: no image is left that may be scored")
    laps = ", ".join(f"{k} {v:.1f}" for k, v in seconds.items() if k != "total")
    rate = f"{report['images_per_second']:.0f} images/s"
    memory = f"{report['peak_memory_bytes'] / 1e6:.0f} MB"
    print(
        f"cost        {seconds['total']:.1f} s ({laps}), {rate}, cache {cache['state']}, {memory}"
    )
    print(f"bundle      {report['bundle']}")
