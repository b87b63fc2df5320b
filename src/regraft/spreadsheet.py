"""Tables for people: CSV that a spreadsheet opens without running what a name spells."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from regraft.errors import OptionError
from regraft.files import refusal, whole_file

#: What a formula begins with. Of the control characters spreadsheets drop the tab and the return.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def cell(text: str) -> str:
    """`text` as a spreadsheet shows it: behind an apostrophe if it would be run as a formula.

    For names of files and classes, which somebody else may have chosen; numbers stay as they are.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def write(path: Path, option: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file, whole or not at all; bytes of a name that are not UTF-8 become `\\xNN`.

    Args:
        path: which must not exist.
        option: that named it, for errors.
        head: the columns' names.
        rows: of cells that are texts; what somebody else named has gone through `cell`.

    Raises:
        OptionError: the disk does not take it.
    """
    lines = [head, *rows]
    try:
        with (
            whole_file(path) as part,
            part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as out,
        ):
            csv.writer(out).writerows(lines)
    except OSError as problem:
        needed = sum(len(text) + 1 for line in lines for text in line)
        raise OptionError(
            f"{option} {path} cannot be written {refusal(problem, needed)}."
        ) from problem


def free(path: Path, option: str) -> None:
    """Refuse a file that is there, before anything is computed for it.

    Raises:
        OptionError: it exists.
    """
    if path.exists():
        raise OptionError(f"{option} {path} exists; name a file that does not, or remove it.")
