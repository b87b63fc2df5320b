"""`regraft inspect`: a backbone's stages, its layers, and what a plan does on it, as tables."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regraft import plans, sizes
from regraft.cli import options
from regraft.cli.output import console, percent, print_json
from regraft.errors import OptionError
from regraft.plans.describe import describe
from regraft.plans.layers import leaves
from regraft.plans.setting import changes

if TYPE_CHECKING:
    from rich.console import Console

    from regraft.backbones import Backbone

NAME = "inspect"
MEGA = 1e6


def command(
    backbone: Annotated[str, typer.Argument(metavar="BACKBONE", help="A timm name.")],
    settings: options.Settings = None,
    layers: Annotated[bool, typer.Option("--layers", help="List every layer too.")] = False,
    plan: Annotated[
        str | None,
        typer.Option("--plan", help="Show what this plan does on it: a name or my.toml."),
    ] = None,
    at: Annotated[str, typer.Option(help="Stage whose output the plan's head reads.")] = "end",
    size: options.Size = None,
    weights: options.Weights = None,
    json: options.Json = False,
) -> None:
    """Show BACKBONE's stages: where one can cut, what each costs, what a plan would train."""
    data = inspect(
        backbone,
        layers=layers,
        size=size,
        weights=weights,
        plan=plan,
        at=at,
        settings=options.key_values(settings),
    )
    if json:
        print_json(data)
    else:
        show(data, console())


def inspect(
    name: str,
    *,
    layers: bool = False,
    size: int | None = None,
    weights: str | None = None,
    plan: str | None = None,
    at: str = "end",
    settings: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Everything about a backbone as plain data.

    A backbone that would have to be downloaded first is shown with random weights: its stages are
    the same, and `source` says so.

    Args:
        name: as for `regraft.backbone`.
        layers: every layer too, and with a plan every tensor; needs the network itself.
        size: image size in pixels.
        weights: as for `regraft.backbone`.
        plan: a plan to show on it.
        at: the stage that the plan's head reads.
        settings: changes to the plan, as for `regraft.fit`.

    Raises:
        RegraftError: the backbone or the plan cannot be had.
    """
    from regraft.backbones import at_hand, backbone

    if settings and plan is None:
        raise OptionError(f"{next(iter(settings))} changes a plan: name it with --plan.")
    planned = None if plan is None else plans.planned(plan, None, settings)
    if weights is None and not at_hand(name, size=size):
        weights = "random"
    found = backbone(name, weights=weights, size=size)
    data = found.info.json()
    stages = data.pop("stages")
    data["parameters"] = sum(stage["parameters"] for stage in stages)
    data["stages"] = stages
    if layers:
        data["layers"] = _layers(found.network())
        data["layer_count"] = len(data["layers"])
    if planned is not None:
        data["plan"] = _planned(found, planned, at, layers)
    return data


def _planned(found: Backbone, planned: plans.Planned, at: str, tensors: bool) -> dict[str, Any]:
    """The plan on this backbone, as plain data."""
    if planned.at(at) != at:
        raise OptionError(
            f"the plan {planned.name} measures which stage its head reads; name one with --at."
        )
    index = found.index(at)
    phases = planned.resolved(found, index)
    network = tensors or any(phase.only or phase.adapter for phase in phases)
    trained = partial(_trained, found, index) if network else None
    told = describe(phases, planned.recipe, found.info, index, trained)
    rows = [one.json() for one in told]
    for row in rows if not tensors else []:
        del row["tensors"]
    return {
        "name": planned.name,
        "at": found.info.stages[index].name,
        "recipe": dict(changes(planned.recipe)),
        "phases": rows,
    }


def _trained(found: Backbone, at: int, phase: plans.Phase) -> dict[str, dict[str, int]]:
    """Per stage the tensors that a phase trains, and how many numbers are in each."""
    import copy

    from regraft.train import adapters, names

    stages = copy.deepcopy(found[int(phase.cut) : at + 1])
    if phase.adapter:
        chosen = set(adapters.apply(stages, phase, 0))
    else:
        chosen = set(names.choose(stages, phase.only, [names.HEAD]))
    return {
        stage.info.name: {
            name: tensor.numel() for name, tensor in stage.tensors().items() if name in chosen
        }
        for stage in stages
    }


def _layers(network: Any) -> list[dict[str, Any]]:
    """The modules without parts of their own, in the order in which they were declared."""
    return [
        {
            "index": i,
            "name": path,
            "type": type(module).__name__,
            "parameters": sum(p.numel() for p in module.parameters()),
        }
        for i, (path, module) in enumerate(leaves(network))
    ]


def show(data: dict[str, Any], console: Console) -> None:
    """Print what `inspect` found."""
    from rich.table import Table

    height, width = data["input"]["size"]
    console.print(
        f"[bold]{data['name']}[/bold] ({data['source']}): {len(data['stages'])} stages, "
        f"{data['parameters']:,} parameters, {height} x {width} pixels"
    )
    if data["source"] == "random":
        console.print("not downloaded: shown with random weights")
    else:
        known = [("licence", data["licence"]), ("revision", data["revision"])]
        told = [f"{key} {value or 'unknown'}" for key, value in known]
        console.print(", ".join([*told, f"digest {data['digest'][:16]}…"]))
    table = Table(box=None, pad_edge=False)
    for title, side in (("", "right"), ("stage", "left"), ("kind", "left")):
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    table.add_column("parameters", justify="right")
    table.add_column("output", justify="left", no_wrap=True)
    table.add_column("MFLOPs", justify="right")
    table.add_column("KiB a row", justify="right")
    for stage in data["stages"]:
        table.add_row(
            str(stage["index"]),
            stage["name"],
            stage["kind"],
            f"{stage['parameters']:,}",
            " x ".join(map(str, stage["shape"])) + f" {stage['layout']}",
            f"{stage['flops'] / MEGA:,.1f}",
            f"{stage['activation_bytes'] / 1024:,.0f}",
        )
    console.print(table)
    if "layers" in data:
        _show_layers(data, console)
    if "plan" in data:
        _show_plan(data["plan"], console)


def _show_layers(data: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title=f"{data['layer_count']} layers")
    table.add_column("", justify="right")
    table.add_column("layer")
    table.add_column("type")
    table.add_column("parameters", justify="right")
    for layer in data["layers"]:
        row = (str(layer["index"]), layer["name"], layer["type"], f"{layer['parameters']:,}")
        table.add_row(*row)
    console.print(table)


def _show_plan(plan: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    console.print(f"\n[bold]plan {plan['name']}[/bold], read at {plan['at']}")
    if plan["recipe"]:
        told = ", ".join(f"{name} = {value}" for name, value in plan["recipe"].items())
        console.print(f"recipe: {told}", markup=False, highlight=False)
    for phase in plan["phases"]:
        console.print(f"phase {phase['phase']}: {phase['does']}")
    table = Table(box=None, pad_edge=False)
    table.add_column("phase", justify="right")
    table.add_column("cut")
    for title in ("trained", "of all"):
        table.add_column(title, justify="right")
    table.add_column("kept of each picture")
    for title in ("size", "epoch at most"):
        table.add_column(title, justify="right")
    for phase in plan["phases"]:
        views = f", {phase['views']} views" if phase["views"] > 1 else ""
        table.add_row(
            str(phase["phase"]),
            phase["stage"],
            f"{phase['parameters']:,} + head",
            percent(phase["share"]),
            phase["kept"] + views,
            sizes.told(phase["kept_bytes"]),
            f"{phase['ceiling']:.1f} x faster" if phase["ceiling"] else "",
        )
    console.print(table)
    _show_rates(plan["phases"], console)


def _show_rates(phases: list[dict[str, Any]], console: Console) -> None:
    """The learning rate per depth, where it is not the same everywhere."""
    from rich.table import Table

    for phase in phases:
        rates = [f"{depth['lr']:.2g}" for depth in phase["depths"]]
        if len(set(rates)) > 1 or phase.get("tensors"):
            table = Table(box=None, pad_edge=False, title=f"phase {phase['phase']}")
            table.add_column("stage")
            table.add_column("learning rate", justify="right")
            table.add_column("trained", justify="right")
            for depth, rate in zip(phase["depths"], rates, strict=True):
                count = depth["parameters"]
                table.add_row(depth["stage"], rate, "" if count is None else f"{count:,}")
            console.print(table)
        for name in phase.get("tensors") or ():
            console.print(f"  {name}", highlight=False)
