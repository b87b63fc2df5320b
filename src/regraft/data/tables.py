"""Tables of labelled files: CSV, TSV, JSON Lines, Parquet; a row is a path, a label, maybe a split.

A table may come from somebody else. Its paths are names below its own folder and nothing more: an
absolute path, `..`, a URL or a link that leads out is left out with its reason and never opened.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from regraft.data.columns import need, part_of, refuse_indicators, refuse_several, resolved
from regraft.data.dataset import Dataset, Example, Skipped
from regraft.data.folders import SPLIT_NAMES, finish
from regraft.data.links import Bounds
from regraft.data.parquet import rows_of
from regraft.data.walk import IMAGE_SUFFIXES, not_plain, readable
from regraft.errors import DataError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|(data|file|mailto):")
_DRIVE = re.compile(r"[A-Za-z]:")
_EXCEL = re.compile(r"sep=(.)")
_MOST_CHARACTERS = 4096  # longer than any path; a cell like this is no path
MOST_IN_LABEL = 400  # characters; a bundle holds no longer class name
Row = Mapping[str, Any]


def from_table(table: Path, shown: str, columns: Mapping[str, str]) -> Dataset:
    """The images that a table lists.

    Args:
        table: an existing file; its suffix says what it is.
        shown: how the user named it, for messages.
        columns: the column's name for 'path', 'label', 'split' and 'group'; the table may lack
            the last two.

    Raises:
        DataError: it cannot be read, lacks a column, or lists no usable image.
        MissingExtra: Parquet without pyarrow.
    """
    reader = {".parquet": rows_of, ".jsonl": _jsonl, ".ndjson": _jsonl}.get(
        table.suffix.lower(), _csv
    )
    try:
        names, lines = reader(table, shown, columns)
        rows = list(lines)
        held, notes = resolved(names, columns, shown)
        if held["label"] not in names:
            refuse_indicators(names, rows, shown)
        need(names, held, shown)
        columns = held
        cells = Cells(table.parent)
        refuse_several(rows, columns, shown, cells.name)
        return _examples(rows, cells, shown, columns, columns["split"] in names, notes)
    except OSError as problem:
        raise DataError(f"'{shown}' cannot be read: {problem.strerror or problem}.") from problem


def inside(folder: Path, name: str) -> tuple[Path, str]:
    """(the file that a table in `folder` means, why it must not be opened or an empty text)."""
    if reason := _bad_name(name):
        return folder, reason
    path = folder / name
    try:
        mode = path.stat().st_mode
        if not Bounds.of(folder).holds(path.resolve()):
            return path, "leads out of the table's folder"
    except FileNotFoundError:
        return path, "no such file"
    except (OSError, ValueError, RuntimeError) as problem:
        return path, f"cannot be opened: {getattr(problem, 'strerror', None) or problem}"
    return path, not_plain(mode)


class Cells:
    """Path cells of a table, as the tools that write tables spell them.

    Blanks around a path, Windows' backslashes, and a missing suffix are made good where the file
    that is meant is there and no other can be.

    Attributes:
        folder: that the table lies in.
        changes: what was made good, and how often.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changes: Counter[str] = Counter()
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def name(self, cell: Any) -> str:
        """The path that a cell means, relative to the folder; '' if it holds none."""
        if not isinstance(cell, str):
            return ""
        if len(cell) > _MOST_CHARACTERS or "\x00" in cell or self._is_file(cell):
            return cell
        name = cell.strip()
        if "\\" in name and "/" not in name and self._known(name.replace("\\", "/")):
            name = name.replace("\\", "/")
        return self._with_suffix(name)

    def counted(self, cell: Any) -> str:
        """`name`, and what had to be made good for it is counted."""
        name = self.name(cell)
        if isinstance(cell, str) and name != cell:
            if cell.strip() != cell:
                self.changes["blanks around it"] += 1
            if "\\" in cell:
                self.changes["backslashes, as Windows writes them"] += 1
            if PurePosixPath(name).suffix != PurePosixPath(cell.strip()).suffix:
                self.changes["no suffix"] += 1
        return name

    def notes(self) -> list[str]:
        """One sentence for each way in which paths were spelled."""
        return [
            f"{count} paths of the table have {how}: the files that are meant were taken"
            for how, count in sorted(self.changes.items())
        ]

    def _known(self, name: str) -> bool:
        return self._is_file(name) or self._with_suffix(name) != name

    def _with_suffix(self, name: str) -> str:
        """`name`, with the suffix of the one image that is called so without its own."""
        if _bad_name(name) or self._is_file(name):
            return name
        path = self.folder / name
        stems = self._stems(path.parent)
        like = stems.get(path.name, [])
        return str(PurePosixPath(name).with_name(like[0])) if len(like) == 1 else name

    def _stems(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listed:
            stems: dict[str, list[str]] = {}
            with suppress(OSError):
                for entry in os.scandir(folder):
                    if Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
                        stems.setdefault(Path(entry.name).stem, []).append(entry.name)
            self._listed[folder] = stems
        return self._listed[folder]

    def _is_file(self, name: str) -> bool:
        try:
            return not _bad_name(name) and (self.folder / name).is_file()
        except (OSError, ValueError):
            return False


def text_of(value: Any) -> str | None:
    """A label as written: text stays as it is, numbers and truth values as JSON spells them.

    None if there is none: an empty text, a null, or NaN, by which tables spell a missing number.
    """
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool | int | float):
        return json.dumps(value) if value == value else None  # NaN differs from itself
    return None


def readable_text(text: str) -> str:
    r"""`text` as JSON can hold it: half of a surrogate pair, which JSON can spell, as `\\uNNNN`."""
    return text.encode("utf-8", "backslashreplace").decode()


def label_of(value: Any, row: str) -> tuple[str | None, str]:
    """(the label, why there is none or an empty text). `row` is how a message names the row.

    Raises:
        DataError: it is longer than a class name may be.
    """
    label = text_of(value)
    if label is None:
        return None, "has no label"
    try:
        label.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        return None, "its label is not valid Unicode"
    if len(label) > MOST_IN_LABEL:
        raise DataError(
            f"{row} has a label of {len(label)} characters ({label!r:.40}…): at most "
            f"{MOST_IN_LABEL} are possible; is it the right column?"
        )
    return label, ""


def split_of(value: Any, shown: str, row: str) -> str:
    """'train', 'val' or 'test'. Raises `DataError` for anything else."""
    split = SPLIT_NAMES.get(str(value).strip().lower()) if value is not None else None
    if split is None:
        raise DataError(f"{row} of '{shown}' has the split {value!r:.40}: train, val or test.")
    return split


def _examples(
    rows: list[Row],
    cells: Cells,
    shown: str,
    columns: Mapping[str, str],
    has_split: bool,
    notes: list[str],
) -> Dataset:
    examples: dict[str, Example] = {}
    skipped = []
    by = columns["group"]  # empty: none was asked for, though a column may have an empty name
    for number, row in enumerate(rows, start=1):
        label, missing = label_of(row.get(columns["label"]), f"row {number} of '{shown}'")
        name = cells.counted(row.get(columns["path"]))
        path, reason = inside(cells.folder, name)
        identity = (
            readable(PurePosixPath(name).as_posix()) if not reason else readable_text(name[:200])
        )
        reason = reason or missing
        if not reason and identity in examples:
            reason = f"listed before, as '{examples[identity].label}'"
        if reason:
            skipped.append(Skipped(identity or f"row {number}", reason))
            continue
        part = part_of(columns["split"], row.get(columns["split"]))
        split = split_of(part, shown, f"row {number}") if has_split else None
        group = readable_text(text_of(row.get(by)) or "") if by else ""
        examples[identity] = Example(identity, path, label, split, group)
    if not examples:
        why = f" ('{skipped[0].file}': {skipped[0].reason})" if skipped else ""
        raise DataError(
            f"none of the {len(rows)} rows of '{shown}' names a usable image{why}; "
            f"paths are relative to the table's folder."
        )
    if by and any(by in row for row in rows) and not any(e.group for e in examples.values()):
        raise DataError(
            f"the column '{by}' of '{shown}' names no group: every cell is empty; fill it, or "
            "leave --group away."
        )
    told = tuple(f"{note}." for note in (*notes, *cells.notes()))
    return finish(shown, list(examples.values()), skipped, notes=told)


def _bad_name(name: str) -> str:
    if not name.strip():
        return "has no path"
    if "\x00" in name or len(name) > _MOST_CHARACTERS:
        return "not a path"
    if (_DRIVE.match(name) and len(name) > 2 and name[2] in "\\/") or name.startswith(("/", "\\")):
        return "an absolute path; it must be relative to the table's folder"
    if _URL.match(name):
        return "a URL; nothing is fetched"
    if name.startswith("~"):
        return "a home folder; the path must be relative to the table's folder"
    if ".." in re.split(r"[\\/]", name):
        return "leads out of the table's folder"
    return ""


def _csv(table: Path, shown: str, columns: Mapping[str, str]) -> tuple[list[str], Iterator[Row]]:
    # The csv module leaves every cell a string: 'NA', '01' and 'null' stay labels.
    try:
        with table.open(encoding=_encoding(table), newline="") as file:
            first = file.readline()
            if told := _EXCEL.fullmatch(first.strip()):  # Excel's line that names the delimiter
                lines = list(csv.reader(file, delimiter=told[1], strict=True))
                return _named(lines, shown, told[1])
            file.seek(0)
            delimiter = "\t" if table.suffix.lower() == ".tsv" else _delimiter(first)
            lines = list(csv.reader(file, delimiter=delimiter, strict=True))
    except UnicodeError as problem:
        raise DataError(f"'{shown}' is not UTF-8 text: save it as UTF-8.") from problem
    except csv.Error as problem:
        why = f"{problem}."
        if "field limit" in why:
            most = csv.field_size_limit()
            why = f"a cell has more than {most:,} characters; is a quote missing?"
        raise DataError(f"'{shown}' is no CSV table: {why}") from problem
    return _named(lines, shown, delimiter)


def _encoding(table: Path) -> str:
    """UTF-16 where a mark says so, as Excel's "Unicode text" has it, else UTF-8."""
    with table.open("rb") as file:
        start = file.read(2)
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _named(lines: list[list[str]], shown: str, delimiter: str) -> tuple[list[str], Iterator[Row]]:
    """The header and the rows below it."""
    names = lines[0] if lines else []
    body = [line for line in lines[1:] if line]
    for number, line in enumerate(body, start=1):
        if len(line) != len(names):
            raise DataError(
                f"row {number} of '{shown}' has {len(line)} cells, its header has {len(names)}: "
                f"quote cells that hold a '{delimiter}'."
            )
    return names, (dict(zip(names, line, strict=True)) for line in body)


def _delimiter(header: str) -> str:
    """Whichever of comma, semicolon and tab the header has most of."""
    return max(",;\t", key=header.count)


def _jsonl(table: Path, shown: str, columns: Mapping[str, str]) -> tuple[list[str], Iterator[Row]]:
    rows: list[dict[str, Any]] = []
    try:
        with table.open(encoding=_encoding(table)) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    rows.append(_object(line, number, shown))
    except UnicodeError as problem:
        raise DataError(f"'{shown}' is not UTF-8 text: save it as UTF-8.") from problem
    return list(dict.fromkeys(name for row in rows for name in row)), iter(rows)


def _object(line: str, number: int, shown: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise DataError(f"line {number} of '{shown}' is no JSON: {problem}.") from problem
    if not isinstance(row, dict):
        raise DataError(f"line {number} of '{shown}' must be a JSON object, {{…}}.")
    return row
