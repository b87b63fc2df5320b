"""What the user points at, as a data set: found and named before anything is decoded."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regraft.data.dataset import Dataset, Example, Skipped
from regraft.data.folders import finish, from_folder
from regraft.data.walk import not_plain, readable
from regraft.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def images(
    path: Any,
    *,
    label_column: str = "label",
    path_column: str = "path",
    split_column: str = "split",
    group_column: str = "",
    least_classes: int = 2,
) -> Dataset:
    """Labelled images from wherever they are.

    Args:
        path: a folder of class folders (`DATA/<class>/…`, or `train/`, `val/`, `test/` with class
            folders in each), a .csv, .tsv, .jsonl or .parquet table whose paths are relative to
            its own folder, a Hugging Face `Dataset` or `DatasetDict`, or a list of (path, label).
        label_column: of a table or Hugging Face data set.
        path_column: of a table; in a Hugging Face data set the column that holds the images, which
            need not be named if there is only one.
        split_column: of a table, optional there: 'train', 'val' or 'test' per row.
        group_column: of a table, optional there: what each row belongs to, e.g. a patient.
        least_classes: refuse fewer classes; 1 where a few labelled files are only to be scored.

    Raises:
        DataError: nothing there that could be used, in one sentence.
        MissingExtra: a Parquet table without pyarrow.
    """
    columns = {"path": path_column, "label": label_column, "split": split_column}
    columns["group"] = group_column
    if isinstance(path, str | os.PathLike):
        if not os.fspath(path):
            raise DataError("data must be a folder or a table, got an empty text.")
        data = _from_path(Path(os.fsdecode(path)).expanduser(), columns)
    elif type(path).__module__.partition(".")[0] == "datasets":
        from regraft.data.hugging import from_datasets

        data = from_datasets(path, columns)
    elif isinstance(path, Sequence):
        data = _from_pairs(path)
    else:
        raise DataError(
            f"data must be a folder, a table, a Hugging Face data set or a list of (path, label), "
            f"not {type(path).__name__}."
        )
    _need_classes(data, least_classes)
    return data


def unusable(path: Path) -> str:
    """Why a file that somebody named cannot be opened; empty if it can. Links are followed."""
    try:
        return not_plain(path.stat().st_mode)
    except (OSError, ValueError) as problem:
        if isinstance(problem, FileNotFoundError):
            return "no such file"
        return f"cannot be opened: {getattr(problem, 'strerror', None) or problem}"


def _from_path(path: Path, columns: dict[str, str]) -> Dataset:
    shown = readable(path.as_posix())
    if path.is_dir():
        return from_folder(path, shown)
    if reason := unusable(path):
        if reason != "no such file":
            raise DataError(f"'{shown}' cannot be used: {reason}.")
        raise DataError(f"no such folder or table: '{shown}'.{_neighbours(path)}")
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise DataError(
            f"'{shown}' is neither a folder nor a table ({', '.join(TABLE_SUFFIXES)}); "
            f"give the folder that holds the class folders."
        )
    from regraft.data.tables import from_table

    return from_table(path, shown, columns)


def _neighbours(path: Path) -> str:
    """Names beside a missing `path` that are nearly the same."""
    try:
        beside = [entry.name for entry in os.scandir(path.parent)]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, beside, n=2)
    quoted = " or ".join(f"'{readable((path.parent / name).as_posix())}'" for name in close)
    return f" Did you mean {quoted}?" if close else ""


def _from_pairs(pairs: Sequence[Any]) -> Dataset:
    from regraft.data.tables import label_of

    examples: dict[str, Example] = {}
    skipped = []
    for number, pair in enumerate(pairs):
        if not (
            isinstance(pair, tuple | list)
            and len(pair) == 2
            and isinstance(pair[0], str | os.PathLike)
            and isinstance(pair[1], str)
        ):
            raise DataError(f"item {number} of the list must be (path, label), not {pair!r:.80}.")
        path = Path(os.fsdecode(pair[0])).expanduser()
        shown = readable(path.as_posix())
        label, missing = label_of(pair[1], f"item {number} of the list")
        if reason := unusable(path) or missing:
            skipped.append(Skipped(shown, reason))
        elif shown in examples:
            skipped.append(Skipped(shown, f"listed before, as '{examples[shown].label}'"))
        else:
            examples[shown] = Example(shown, path, label)
    if not examples:
        why = f": '{skipped[0].file}', {skipped[0].reason}" if skipped else ""
        raise DataError(f"the list of {len(pairs)} (path, label) has no usable image{why}.")
    return finish("list", list(examples.values()), skipped)


def _need_classes(data: Dataset, least: int) -> None:
    """Refuse too few classes among what may be trained on (or scored, if that is all there is)."""
    trained = [e for e in data.examples if e.split in ("train", None)] or data.examples
    labels = sorted({e.label for e in trained if e.label is not None})
    if len(labels) < least:
        only = ", ".join(f"'{label}'" for label in labels)
        raise DataError(
            f"'{data.root}' has {len(labels)} class to learn from ({only}): "
            f"at least {least} are needed, each in a folder or with a label of its own."
        )
