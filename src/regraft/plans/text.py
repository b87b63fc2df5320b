"""Plans as TOML: recipe settings as keys, then one [[phase]] table per phase.

batch = 32
augment = "flip, rotate=15"

[[phase]]
solve = true

[[phase]]
cut = "layer4"
epochs = 10
lr = 0.0003
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from regraft import __version__
from regraft.errors import OptionError
from regraft.plans.phase import Phase
from regraft.plans.recipe import Recipe
from regraft.plans.setting import made, settings_of, unknown

#: Of files with phases; raised whenever an older regraft would read a file wrongly.
FORMAT = 2
PHASES = "phase"
#: Keys that say who wrote a file.
HEADER = ("format", "regraft")


def read_plan(path: Path) -> tuple[tuple[Phase, ...], Recipe]:
    """The phases and the recipe of a plan file.

    Raises:
        OptionError: it is not TOML, was written by a newer regraft, or has a key or a value that
            is not known.
    """
    held = load(path, "a plan")
    tables = phase_tables(held, path)
    if not tables:
        raise OptionError(f"{path} must have at least one [[phase]] table.")
    known = settings_of(Recipe)
    for name in held:
        if name not in known:
            raise unknown(name, {**known, PHASES: None}, f"{path}: ")
    return phases_of(tables, f"{path}: "), made(Recipe, held, f"{path}: ")


def load(path: Path, what: str) -> dict[str, Any]:
    """A TOML file's content, without its header.

    Args:
        path: of the file.
        what: it should be, for the error.

    Raises:
        OptionError: it cannot be read, is no TOML, or was written by a newer regraft.
    """
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise OptionError(f"{path} cannot be read: {problem.strerror}.") from problem
    except (ValueError, RecursionError) as problem:
        raise OptionError(f"{path} is not {what} ({problem}).") from problem
    refuse_newer(held, path)
    return {key: value for key, value in held.items() if key not in HEADER}


def refuse_newer(held: Mapping[str, Any], path: Path) -> None:
    """Refuse a file that only a newer regraft understands.

    Raises:
        OptionError: names the version that wrote it.
    """
    form, by = held.get("format", FORMAT), held.get("regraft", "")
    if type(form) is not int or form < 1 or not isinstance(by, str):
        raise OptionError(f"{path}: 'format' must be a whole number and 'regraft' a text.")
    if form > FORMAT:
        wrote = f"regraft {by:.20}" if by else "a newer regraft"
        raise OptionError(
            f"{path} was written by {wrote} (format {form}); this is regraft {__version__}, which "
            f"reads up to format {FORMAT}: install {wrote} or later."
        )


def phase_tables(held: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Takes the [[phase]] tables out of a file's content.

    Raises:
        OptionError: they are no tables.
    """
    tables = held.pop(PHASES, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise OptionError(f"{path}: phases must be written as [[phase]] tables.")
    return tables


def phases_of(tables: Sequence[Mapping[str, Any]], where: str = "") -> tuple[Phase, ...]:
    """Phases from plain data.

    Raises:
        OptionError: a key or a value that is not known; names the phase.
    """
    return tuple(
        made(Phase, table, f"{where}phase {number}: ") for number, table in enumerate(tables, 1)
    )


def write_plan(phases: Sequence[Phase], recipe: Recipe) -> str:
    """A plan file that `read_plan` reads to the same, every setting in it."""
    head = {"format": FORMAT, "regraft": __version__}
    lines = [f"{key} = {value(one)}" for key, one in {**head, **asdict(recipe)}.items()]
    return "\n".join([*lines, *phase_lines([asdict(phase) for phase in phases])]) + "\n"


def phase_lines(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """Plain phases as the lines of [[phase]] tables."""
    lines = []
    for table in tables:
        lines += ["", f"[[{PHASES}]]", *(f"{key} = {value(one)}" for key, one in table.items())]
    return lines


def value(one: Any) -> str:
    """A text, number, truth or list as TOML: JSON but for one character."""
    return json.dumps(one, ensure_ascii=False).replace("\x7f", "\\u007f")
