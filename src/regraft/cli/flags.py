"""A flag for every setting of a plan, made from the fields of `Phase` and `Recipe`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from regraft.cli import options
from regraft.errors import OptionError
from regraft.plans.phase import Phase
from regraft.plans.recipe import Recipe
from regraft.plans.setting import Setting, settings_of

PLAN, TRAINING = "Plan", "Training"
#: Where `--help` shows a setting; those not named here are under 'Training'.
PANELS: dict[str, tuple[str, ...]] = {
    "Augmentation": ("augment", "views", "mixup", "cutmix"),
    "Against overfitting and forgetting": (
        "label_smoothing", "dropout", "drop_path", "ema", "l2sp", "ewc", "ewc_source", "lwf",
        "wise", "val",
    ),
    "What it costs": ("accumulate", "checkpoint", "amp", "memory", "keep"),
}  # fmt: skip
#: Only as KEY=VALUE or in a file: they make no sense for all phases of a plan.
NO_FLAG = ("solve", "scratch")


def settings() -> dict[str, Setting]:
    """Every setting that has a flag, by name."""
    every = settings_of(Phase) | settings_of(Recipe)
    return {name: known for name, known in every.items() if name not in NO_FLAG}


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The command with a flag for every setting; those given come to it as `flags`, texts."""
    known = settings()

    def wrapped(**given: Any) -> None:
        flags = {name: given.pop(name) for name in known}
        told = {name: _spelled(value) for name, value in flags.items() if value is not None}
        command(**given, flags=told)

    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.name != "flags"]
    more = [_parameter(one) for one in known.values()]
    wrapped.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    wrapped.__doc__ = command.__doc__
    wrapped.__annotations__ = {one.name: one.annotation for one in (*own, *more)}
    return wrapped


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parameter(setting: Setting) -> inspect.Parameter:
    truth = setting.types == (bool,)
    phase = setting.name in Phase.__dataclass_fields__
    panel = PLAN if phase else next((p for p, names in PANELS.items() if setting.name in names), "")
    flag = f"--{setting.name.replace('_', '-')}"
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if truth else flag,
        help=_help(setting, default=not phase),
        rich_help_panel=panel or TRAINING,
        metavar=None if truth else _metavar(setting),
        show_default=False,
    )
    hint = Annotated[bool | None if truth else str | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint
    )


def _metavar(setting: Setting) -> str:
    if str in setting.types:
        return "TEXT" if int not in setting.types else "STAGE"
    return "INT" if setting.types == (int,) else "NUMBER"


def _help(setting: Setting, *, default: bool) -> str:
    parts = [setting.help]
    if setting.paper:
        parts.append(setting.paper + ".")
    if default and setting.default not in ("", False):
        parts.append(f"\\[default: {setting.default}]")
    return " ".join(parts)


def together(flags: Mapping[str, str], given: list[str] | None) -> dict[str, str]:
    """Settings from flags and from KEY=VALUE arguments.

    Raises:
        OptionError: one is given both ways.
    """
    pairs = options.key_values(given)
    for name in pairs:
        if name in flags:
            raise OptionError(f"{name} is given twice, as a flag and as {name}=…; say it once.")
    return dict(flags) | pairs
