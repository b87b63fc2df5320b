"""Options that several verbs share: one spelling, one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from regraft.errors import OptionError

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Class folders (or train/ val/ test/ of them), or a CSV, Parquet or JSONL table.",
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        "-b",
        help="A timm name; 'regraft backbones' lists them. "
        "\\[default: the packaged EfficientNet-Lite0]",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="A local weight file, or 'random'. \\[default: the package's or the hub's]",
    ),
]
Size = Annotated[
    int | None,
    typer.Option("--size", help="Side of the network's input in pixels. \\[default: as trained]"),
]
Budget = Annotated[
    str | None,
    typer.Option(
        help="Time that an advised fit may take, such as 90s, 10m or 1h30m. \\[default: no limit]",
        show_default=False,
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        help="A table's column, or a pattern such as '(patient\\d+)' searched in each path: what "
        "it finds is never on both sides of a split.",
    ),
]
PathColumn = Annotated[
    str | None,
    typer.Option(
        "--path-column",
        help="The table's column of paths. \\[default: path, file, filename, image or the like]",
        show_default=False,
    ),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        "--label-column",
        help="The table's column of classes. \\[default: label, class, target or the like]",
        show_default=False,
    ),
]
Near = Annotated[
    bool,
    typer.Option(
        "--near/--no-near",
        help="Whether near duplicates are kept on one side of every split; --no-near if what looks "
        "alike is known to differ.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse bad files, leaks and contradicting labels."),
]
MostBad = Annotated[
    float,
    typer.Option(
        "--most-bad", help="Refuse DATA if more than this share of its files cannot be used."
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Threads = Annotated[
    int | None, typer.Option("--threads", help="For decoding and the engine. \\[default: all]")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on the last line of stdout.")
]
Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle or run folder.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as 'fit' makes it.")]
Tune = Annotated[
    bool,
    typer.Option("--tune", help="Choose the penalty again; needs all rows in the cache."),
]
Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]…",
        help="Settings of the plan, such as lr=1e-4, cut=layer4 or phase.2.epochs=5.",
        show_default=False,
    ),
]


def columns(path_column: str | None, label_column: str | None) -> dict[str, Any]:
    """The arguments of a call that name a table's columns, as far as they were given."""
    named = {"path_column": path_column, "label_column": label_column}
    return {name: column for name, column in named.items() if column is not None}


def key_values(given: list[str] | None) -> dict[str, str]:
    """KEY=VALUE arguments as names and texts.

    Raises:
        OptionError: one has no '=', or a key comes twice.
    """
    found: dict[str, str] = {}
    for one in given or ():
        key, equals, text = one.partition("=")
        if not equals or not key:
            raise OptionError(f"'{one:.60}' must be spelled KEY=VALUE, such as lr=1e-4.")
        if key in found:
            raise OptionError(f"{key:.60} is given twice; say it once.")
        found[key] = text
    return found
