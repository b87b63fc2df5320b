"""What every verb's help has in common: panels, examples, a short and a long form, completion.

`with_manual` wraps a verb's function; nothing of it is repeated in the verbs.
"""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin

import typer

from regraft.cli import complete
from regraft.terminal import set_volume

#: Where the help of verbs with many options shows one, by its name.
PANELS: dict[str, tuple[str, ...]] = {
    "What to train": (
        "plan", "plans", "budget", "backbone", "backbones", "at", "head", "balance", "seeds",
        "max_size", "max_latency", "license",
    ),
    "Data": (
        "test", "group", "path_column", "label_column", "folds", "near", "strict", "most_bad",
        "size", "geometry", "weights",
    ),
    "Output": (
        "out", "json", "quiet", "verbose", "standalone", "log", "finish",
    ),
    "Machine": ("device", "threads", "seed", "watts"),
}  # fmt: skip
PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names}
#: Verbs with many options, and those that their short help shows.
BASIC: dict[str, tuple[str, ...]] = {
    "fit": (
        "plan", "budget", "backbone", "test", "group", "path_column", "label_column", "folds",
        "out", "finish", "json", "quiet", "verbose", "device", "seed",
    ),
    "compare": (
        "plans", "backbones", "seeds", "budget", "test", "group", "path_column", "label_column",
        "out", "json", "quiet", "verbose", "device",
    ),
    "advise": (
        "backbone", "backbones", "max_size", "max_latency", "budget", "test", "group",
        "path_column", "label_column", "json", "quiet", "verbose",
    ),
}  # fmt: skip
#: Verbs that work for a while and say how far they are.
LASTING = (
    "audit", "advise", "fit", "compare", "evaluate", "report", "predict", "add", "remove", "merge",
    "embed",
)  # fmt: skip
EXAMPLES: dict[str, tuple[str, ...]] = {
    "audit": ("regraft audit photos", "regraft audit photos.csv --strict --json"),
    "advise": ("regraft advise photos", "regraft advise photos --backbones here --max-size 20MB"),
    "fit": (
        "regraft fit photos",
        "regraft fit photos --plan lpft --out runs/photos lr=1e-4 epochs=10",
        "regraft fit labels.csv --group patient --folds 5",
        "regraft fit runs/photos/run.toml",
    ),
    "compare": (
        "regraft compare photos --plans probe,lpft,lora --budget 30m",
        "regraft compare runs/a runs/b",
    ),
    "evaluate": (
        "regraft evaluate runs/photos more-photos",
        "regraft evaluate runs/photos more-photos --csv answers.csv",
    ),
    "report": ("regraft report runs/photos", "regraft report runs/photos --out page.html"),
    "predict": (
        "regraft predict runs/photos new.jpg",
        "regraft predict runs/photos new --top 3 --csv answers.csv",
    ),
    "add": ("regraft add runs/photos more-photos",),
    "remove": ("regraft remove runs/photos --ids gone.txt",),
    "merge": ("regraft merge runs/one runs/two --out runs/both",),
    "embed": (
        "regraft embed photos --out features.parquet",
        "regraft embed photos --out features.npz --at blocks.3.2",
    ),
    "inspect": ("regraft inspect resnet18", "regraft inspect resnet18 --plan lpft"),
    "backbones": ("regraft backbones 'vit_*'",),
    "doctor": ("regraft doctor --quick",),
}
COMPLETIONS: dict[str, Callable[[str], list[str]]] = {
    "plan": complete.plans,
    "plans": complete.listed(complete.plans),
    "backbone": complete.backbones,
    "backbones": complete.listed(complete.backbones),
    "head": complete.heads,
    "geometry": complete.geometries,
    "device": complete.devices,
}

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print the result, warnings and errors, nothing else."),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Print also when each step began, and what errors hide."),
]


def epilog(verb: str) -> str:
    """Below the options: examples, and how to see all options where not all are shown."""
    examples = "\n".join(["Examples:", *(f"$ {line}" for line in EXAMPLES[verb])])
    more = f"\n\nThese are the usual options; 'regraft {verb} --help-all' shows all of them."
    return examples + (more if verb in BASIC else "")


def with_manual(verb: str, command: Callable[..., None]) -> Callable[..., None]:
    """The command with panels, completion and, where they make sense, --quiet and --help-all."""
    signature = inspect.signature(command, eval_str=True)
    own = [_shown(verb, one) for one in signature.parameters.values()]
    more: list[inspect.Parameter] = []
    if verb in LASTING:
        more += [_shown(verb, _flag("quiet", Quiet)), _shown(verb, _flag("verbose", Verbose))]
    if verb in BASIC:
        more.append(_flag("help_all", _help_all()))

    def wrapped(**given: Any) -> None:
        given.pop("help_all", None)
        set_volume(quiet=given.pop("quiet", False), verbose=given.pop("verbose", False))
        command(**given)

    every = [*own, *more]
    wrapped.__signature__ = signature.replace(parameters=every)  # type: ignore[attr-defined]
    wrapped.__doc__ = command.__doc__
    wrapped.__annotations__ = {one.name: one.annotation for one in every}
    return wrapped


def _flag(name: str, hint: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=hint)


def _shown(verb: str, parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter in its panel, hidden in the short help if it is not a usual one."""
    if get_origin(parameter.annotation) is not Annotated:
        return parameter
    kind, given, *_ = get_args(parameter.annotation)
    option = copy.copy(given)  # verbs share it
    name = parameter.name
    if name in COMPLETIONS:
        option.autocompletion = COMPLETIONS[name]
    if not isinstance(given, type(typer.Argument())) and verb in BASIC:
        option.rich_help_panel = option.rich_help_panel or PANEL_OF.get(name)
        # A shell that completes a word wants all of them.
        option.hidden = name not in BASIC[verb] and not _completing()
    return parameter.replace(annotation=Annotated[kind, option])


def _completing() -> bool:
    return "_REGRAFT_COMPLETE" in os.environ


def _help_all() -> Any:
    def show(context: typer.Context, asked: bool) -> None:
        if asked:
            for parameter in context.command.params:
                parameter.hidden = False  # type: ignore[attr-defined]
            typer.echo(context.get_help())
            raise typer.Exit

    return Annotated[
        bool,
        typer.Option(
            "--help-all", is_eager=True, callback=show, help="Show every option and exit."
        ),
    ]
