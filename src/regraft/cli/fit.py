"""regraft fit: adapt a backbone to labelled data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from regraft import plans, sizes
from regraft.cli import flags as made
from regraft.cli import options
from regraft.cli.output import echo, percent, print_json, say, show_warnings
from regraft.cli.unfinished import beside, command_digest, next_folder, sweep, unfinished
from regraft.duration import seconds_of, told
from regraft.errors import OptionError
from regraft.live import watching
from regraft.plans import AUTO
from regraft.plans.setting import settings_of
from regraft.plans.text import phases_of
from regraft.train import started

NAME = "fit"
PLANS = ", ".join(plans.PLANS)
RECIPE = settings_of(plans.Recipe)
#: Options that may stand beside a run.toml: they do not decide the result.
BESIDE = (
    "data", "settings", "out", "standalone", "json", "quiet", "verbose", "log", "finish",
    *made.settings(),
)  # fmt: skip
#: Settings of a run.toml whose empty text stands for none.
OPTIONAL = (
    "test",
    "weights",
    "revision",
    "size",
    "digest",
    "group",
    "folds",
    "path_column",
    "label_column",
)

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
    "path_column": str,
    "label_column": str,
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
    "plan": str,
    **{name: one.types[0] for name, one in RECIPE.items()},
}


@made.with_settings
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
    settings: options.Settings = None,
    plan: Annotated[
        str,
        typer.Option(
            help=f"What to train: auto takes what 'regraft advise' advises; {PLANS}; or a file of "
            "your own phases, my.toml."
        ),
    ] = "auto",
    budget: options.Budget = None,
    backbone: options.Backbone = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="Stage whose output the head reads: end, a name, a+b, or auto. "
            "\\[default: as advised, or end]",
            show_default=False,
        ),
    ] = None,
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
    path_column: options.PathColumn = None,
    label_column: options.LabelColumn = None,
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
    log: Annotated[
        str,
        typer.Option(
            help="tensorboard:DIR or mlflow:URI: write each epoch's numbers there too.",
            show_default=False,
        ),
    ] = "",
    finish: Annotated[
        bool,
        typer.Option(
            "--finish", help="Train no further: make a run of what an interrupted one has so far."
        ),
    ] = False,
    json: options.Json = False,
    *,
    flags: dict[str, str],
) -> None:
    """Adapt a pretrained backbone to DATA and leave a run folder with a bundle in it.

    The plan says what is trained; its settings are flags, or KEY=VALUE.
    'regraft inspect BACKBONE --plan NAME' shows what a plan does.
    """
    show_warnings()
    changes = made.together(flags, settings)
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
        **options.columns(path_column, label_column),
    }
    if data.endswith(".toml"):
        refuse_beside_toml(context)
        how = from_file(Path(data), changes)
    else:
        how |= _plan(plan, _only_plans(changes), budget)
    report = run(how, out, log, standalone=standalone, finish=finish)
    if json:
        print_json(report)
    else:
        show(report)


def run(
    how: dict[str, Any],
    out: Path | None,
    log: str,
    *,
    standalone: bool = False,
    finish: bool = False,
) -> dict[str, Any]:
    """The report of the run that these arguments of `regraft.fit` give, saved.

    A run that trains keeps its state beside the folder until it is there, so that the same command
    goes on after whatever ended it.

    Raises:
        RegraftError: it cannot be run, or there is nothing to `finish`.
    """
    from regraft.record import free
    from regraft.run import fit

    trains = how["plan"] == AUTO or how["plan"].trains
    command = command_digest(how) if trains else ""
    folder = out or next_folder(str(how["data"]), command)
    sweep(folder)
    free(folder)
    if finish and not (trains and beside(folder).exists()):
        raise OptionError("--finish needs what this very command left when it was interrupted.")

    def fitted(**kept: Any) -> dict[str, Any]:
        with watching() as (progress, watch):
            made = fit(**how, **kept, log=log, say=say, progress=progress, watch=watch)
        return made.save(folder, standalone=standalone).report

    if not trains:
        return fitted()
    with unfinished(folder, command) as left:
        try:
            return fitted(unfinished=left, finish=finish)
        except KeyboardInterrupt:
            if (left / started.FILE).exists():
                kept = "kept: the same command goes on; with --finish it takes the best so far"
                say(kept, always=True)
            raise


def _plan(plan: str, changes: dict[str, str], budget: str | None) -> dict[str, Any]:
    """The plan and its budget as arguments of `regraft.fit`.

    Raises:
        OptionError: an unknown plan, or settings or a budget that do not fit it.
    """
    plans.check_auto(plan, None, changes, budget)
    if plan != AUTO:
        return {"plan": plans.planned(plan, None, changes)}
    return {"plan": AUTO, "budget": None if budget is None else seconds_of(budget)}


def _only_plans(changes: dict[str, str]) -> dict[str, str]:
    """The changes, none of which is an option by another way of writing it."""
    for name in changes:
        if name in SETTINGS and name not in RECIPE:
            raise OptionError(f"{name} is an option: write --{name.replace('_', '-')} instead.")
    return changes


def refuse_beside_toml(context: typer.Context) -> None:
    """A run.toml decides everything; an option beside it would be ignored, so it is refused."""
    for name in context.params:
        source = context.get_parameter_source(name)
        given = source is not None and source.name == "COMMANDLINE"
        if given and name not in BESIDE:
            raise OptionError(
                f"--{name.replace('_', '-')} cannot be given beside a run.toml; write "
                f"{name}=VALUE after it, or change its line in the file."
            )


def from_file(path: Path, changes: dict[str, str]) -> dict[str, Any]:
    """A run.toml as the arguments of `regraft.fit`, with changes.

    Raises:
        OptionError: it is none, or a change is of an unknown setting.
    """
    from regraft.record import read_settings

    settings = read_settings(path, SETTINGS)
    own = {name: text for name, text in changes.items() if name in SETTINGS and name not in RECIPE}
    for name, text in own.items():
        settings[name] = _value(name, text)
    if "plan" in own:
        settings.pop("phases", None)
    if {"backbone", "weights", "revision", "size"} & set(own):
        settings.pop("digest", None)
    rest = {name: text for name, text in changes.items() if name not in own}
    return from_settings(settings, path, rest)


def _value(name: str, text: str) -> Any:
    """What a text on the command line is as a setting of a run.

    Raises:
        OptionError: it is of another type.
    """
    kinds: dict[type, Callable[[str], Any]] = {
        str: str,
        int: int,
        float: float,
        bool: {"true": True, "false": False}.__getitem__,
        list: lambda text: [int(part) for part in text.split(",")],
    }
    words = {int: "a whole number", float: "a number", bool: "true or false"}
    kind = SETTINGS[name]
    try:
        return kinds[kind](text)
    except (ValueError, KeyError):
        called = words.get(kind, "whole numbers with commas")
        raise OptionError(f"{name} must be {called}, got '{text:.60}'.") from None


def from_settings(
    settings: dict[str, Any], path: Path = Path("run.toml"), changes: dict[str, str] | None = None
) -> dict[str, Any]:
    """A run's settings as the arguments of `regraft.fit`.

    Args:
        settings: as `read_settings` gives them.
        path: of the file, for errors.
        changes: to settings of the plan.

    Raises:
        OptionError: 'data' is missing, or the plan cannot be had.
    """
    if "data" not in settings:
        raise OptionError("run.toml must name its 'data'.")
    held = dict(settings)
    name, tables = held.pop("plan", "probe"), held.pop("phases", None)
    recipe = {key: held.pop(key) for key in RECIPE if key in held}
    if tables is not None:
        # Files from before these were chosen by measuring: computed as they were then.
        then = {"torch_threads": held.get("threads") or 0, "allocator": "keep", "compile": "off"}
        recipe = then | recipe
        known = plans.Planned(name, phases_of(tables, f"{path}: "), plans.Recipe())
        planned = plans.planned(known, None, recipe | (changes or {}))
    else:
        planned = plans.planned(name, None, recipe | (changes or {}))
    empty_is_none = {key: held[key] or None for key in OPTIONAL if key in held}
    return held | empty_is_none | {"plan": planned}


#: Heads by the field's names.
HEADS = {
    "ridge": "ridge regression",
    "logistic": "logistic regression",
    "mlp": "multilayer perceptron",
    "prototypes": "nearest prototypes",
}


def _how(validation: dict[str, Any]) -> str:
    """On what a validation score was measured."""
    kind, n = validation["kind"], validation["n"]
    if kind == "held out":
        return f"{n} validation images"
    return f"{kind} cross-validation on {n} training images"


def show(report: dict[str, Any]) -> None:
    """The result for people, on stdout."""
    test, validation, cache = report["test"], report["validation"], report["cache"]
    seconds, skipped = report["seconds"], report["audit"]["skipped"]
    shape = report["geometry"]["name"]
    echo(f"backbone    {report['backbone']}, read at {report['at']}" + (shape and f", {shape}"))
    echo(f"classifier  {HEADS.get(report['head'], report['head'])}")
    echo(
        f"trained on  {report['train']['n']} images of {len(report['classes'])} classes"
        + (f"; {len(skipped)} left out" if skipped else "")
    )
    if validation["n"]:
        told = f"{percent(validation['accuracy'])} ({_how(validation)})"
    else:
        told = "not possible: no class has two training images that are apart"
    echo(f"validation  {told}")
    if crossed := report.get("cross_validation"):
        low, high = crossed["accuracy_ci95"]
        echo(
            f"folds       {percent(crossed['accuracy'])} of {crossed['n']} images, 95 % interval "
            f"{percent(low)} to {percent(high)}; {crossed['k']} folds x {crossed['repeats']}, "
            f"which differ by {percent(crossed['accuracy_sd'])} (one standard deviation)"
        )
    if test:
        low, high = test["accuracy_ci95"]
        echo(
            f"test        {percent(test['accuracy'])} of {test['n']} images, 95 % interval "
            f"{percent(low)} to {percent(high)}; {report['test_part']}"
            + (
                f"; {n} of unknown classes not scored"
                if (n := sum(test["unknown"].values()))
                else ""
            )
        )
    elif not crossed:
        echo("test        not possible: no image is left that may be scored")
    laps = ", ".join(f"{k} {v:.1f}" for k, v in seconds.items() if k != "total")
    rate = f"{report['images_per_second']:.0f} images/s"
    memory = sizes.told(report["peak_memory_bytes"])
    echo(f"cost        {seconds['total']:.1f} s ({laps}), {rate}, cache {cache['state']}, {memory}")
    if forecast := report.get("forecast"):
        echo(f"forecast    {_came_true(forecast)}")
    echo(f"bundle      {report['bundle']}")
    echo(f"report      {report['run']}/report.html")


#: A forecast of accuracy that is wider says nothing.
WIDE = 0.3


def _came_true(forecast: dict[str, Any]) -> str:
    """What was forecast, beside what came."""
    accuracy, seconds = forecast["accuracy"], forecast["seconds"]
    cost = f"about {told(seconds['predicted'])}, and it took {told(seconds['came'])}"
    if accuracy["held"] is None:
        return cost
    low, high = accuracy["ci95"]
    if high - low > WIDE:  # nearly anything would have come true
        return cost
    came = "came true" if accuracy["held"] else "did not come true"
    return f"{percent(low)} to {percent(high)} on the test images {came}; {cost}"
