"""A setting of a phase or a recipe: a field that knows its help, its source and its range."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from regraft.errors import OptionError, did_you_mean


@dataclass(frozen=True)
class Range:
    """What a setting may be, besides its type.

    Attributes:
        least, most: bounds that belong to the range.
        above, below: bounds that do not.
        among: the texts that there are; any if empty.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    among: tuple[str, ...] = ()

    def holds(self, value: Any) -> bool:
        """Whether a value of the right type lies in it."""
        if self.among:
            return value in self.among
        if not isinstance(value, int | float) or isinstance(value, bool):
            return True
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.among:
            return " or ".join(
                [", ".join(f"'{one}'" for one in self.among[:-1]), f"'{self.among[-1]}'"]
            )
        low = _bound(self.least, "or more", self.above, "more than")
        high = _bound(self.most, "at most", self.below, "less than", before=True)
        return " and ".join(part for part in (low, high) if part) or "any number"


def _bound(
    inside: float | None, told: str, outside: float | None, other: str, *, before: bool = False
) -> str:
    if inside is not None:
        return f"{told} {inside:g}" if before else f"{inside:g} {told}"
    return "" if outside is None else f"{other} {outside:g}"


def setting(default: Any, help: str, paper: str = "", **bounds: Any) -> Any:
    """A field of a phase or a recipe: its default, what it does, where it comes from, its range.

    Args:
        default: the value if none is given.
        help: one sentence for `--help` and the documentation.
        paper: authors, year and arXiv number.
        bounds: see `Range`.
    """
    return field(default=default, metadata={"help": help, "paper": paper, "range": Range(**bounds)})


@dataclass(frozen=True)
class Setting:
    """A field as the command line, the documentation and the reader of files see it.

    Attributes:
        name: of the field, the flag and the key.
        types: of values that are taken, e.g. (int, str).
        default: the value if none is given.
        help, paper: see `setting`.
        range: see `Range`.
    """

    name: str
    types: tuple[type, ...]
    default: Any
    help: str
    paper: str
    range: Range

    @property
    def called(self) -> str:
        """What a value must be, in words."""
        if self.types == (bool,):
            return "true or false"
        if str in self.types:
            texts = str(self.range) if self.range.among else "a text"
            return texts if int not in self.types else "a stage's number or name"
        kind = "a whole number" if self.types == (int,) else "a number"
        told = str(self.range)
        return kind if told == "any number" else f"{kind}, {told}"

    def check(self, value: Any, where: str = "") -> None:
        """Refuse what the setting cannot be.

        Args:
            value: of any type.
            where: begins the sentence, e.g. 'phase 2: '.

        Raises:
            OptionError: it is of another type or out of range.
        """
        if not (_is(value, self.types) and self.range.holds(value)):
            hint = did_you_mean(value, self.range.among) if isinstance(value, str) else ""
            raise OptionError(f"{where}{self.name} must be {self.called}, got {value!r:.60}.{hint}")

    def read(self, text: str, where: str = "") -> Any:
        """The value that a text on the command line spells; its range is checked elsewhere.

        Raises:
            OptionError: it spells none.
        """
        value: Any = text
        if self.types == (bool,):
            value = {"true": True, "false": False, "yes": True, "no": False}.get(text.lower(), text)
        elif str not in self.types:
            value = _number(text, self.types)
        elif int in self.types and text.removeprefix("-").isdecimal():
            value = int(text)
        if not _is(value, self.types):
            raise OptionError(f"{where}{self.name} must be {self.called}, got '{text:.60}'.")
        return value


def _number(text: str, types: tuple[type, ...]) -> Any:
    for kind in types:
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _is(value: Any, types: tuple[type, ...]) -> bool:
    """Whether a value is of one of the types; a whole number is a number, true is neither."""
    return type(value) in types or (type(value) is int and float in types)


def settings_of(record: type) -> dict[str, Setting]:
    """The settings of a dataclass whose fields `setting` made, by name and in order."""
    hints = get_type_hints(record)
    found = {}
    for one in fields(record):
        hint, told = hints[one.name], one.metadata
        types = getattr(hint, "__args__", (hint,))
        found[one.name] = Setting(
            one.name, types, one.default, told["help"], told["paper"], told["range"]
        )
    return found


def check_settings(record: Any, where: str = "") -> None:
    """Check every field of a phase or a recipe.

    Raises:
        OptionError: names the first that is wrong.
    """
    for name, known in settings_of(type(record)).items():
        known.check(getattr(record, name), where)


def made(record: type, values: Mapping[str, Any], where: str) -> Any:
    """A record of these values; the rest are its defaults.

    Raises:
        OptionError: a key is not known, or a value is of another type or out of range.
    """
    known = settings_of(record)
    for name, value in values.items():
        if name not in known:
            raise unknown(name, known, where)
        known[name].check(value, where)
    return record(**{name: _cast(known[name], value) for name, value in values.items()})


def unknown(name: str, known: Mapping[str, Any], where: str) -> OptionError:
    """The error of an unknown key."""
    near = did_you_mean(name, known)
    return OptionError(f"{where}there is no setting '{name:.60}'.{near or _all(known)}")


def _all(known: Mapping[str, Any]) -> str:
    return f" Known are {', '.join(known)}."


def _cast(known: Setting, value: Any) -> Any:
    return float(value) if type(value) is int and int not in known.types else value


def changes(record: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of the fields that are not the defaults."""
    for name, known in settings_of(type(record)).items():
        value = getattr(record, name)
        if value != known.default:
            yield name, value
