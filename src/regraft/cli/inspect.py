"""`regraft inspect`: a backbone's stages, and its layers, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from regraft.cli import options
from regraft.cli.output import console, print_json

if TYPE_CHECKING:
    from rich.console import Console

NAME = "inspect"
MEGA = 1e6


def command(
    backbone: Annotated[str, typer.Argument(metavar="BACKBONE", help="A timm name.")],
    layers: Annotated[bool, typer.Option("--layers", help="List every layer too.")] = False,
    size: options.Size = None,
    weights: options.Weights = None,
    json: options.Json = False,
) -> None:
    """Show BACKBONE's stages: where one can cut, what each costs, what flows between them."""
    data = inspect(backbone, layers=layers, size=size, weights=weights)
    if json:
        print_json(data)
    else:
        show(data, console())


def inspect(
    name: str, *, layers: bool = False, size: int | None = None, weights: str | None = None
) -> dict[str, Any]:
    """Everything about a backbone as plain data.

    A backbone that would have to be downloaded first is shown with random weights: its stages are
    the same, and `source` says so.

    Args:
        name: as for `regraft.backbone`.
        layers: every layer too; needs the network itself.
        size: image size in pixels.
        weights: as for `regraft.backbone`.
    """
    from regraft.backbones import at_hand, backbone

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
    return data


def _layers(network: Any) -> list[dict[str, Any]]:
    """The modules without parts of their own, in the order in which they were declared."""
    leaves = [
        (path, module)
        for path, module in network.named_modules()
        if path and not any(True for _ in module.children())
    ]
    return [
        {
            "index": i,
            "name": path,
            "type": type(module).__name__,
            "parameters": sum(p.numel() for p in module.parameters()),
        }
        for i, (path, module) in enumerate(leaves)
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
