"""How examples of a modality are found: labelled ones to learn from, bare ones to predict."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from regraft.data.dataset import Dataset
from regraft.data.groups import grouped
from regraft.data.labels import as_known, need_known, trained_labels
from regraft.data.requests import Requests
from regraft.errors import DataError, OptionError

#: Modality -> (finds labelled examples, finds bare ones).
SOURCES: dict[str, tuple[str, str]] = {
    "image": ("regraft.data.listing:images", "regraft.data.requests:batches"),
}


def columns_of(path_column: str | None, label_column: str | None) -> dict[str, str]:
    """The names of a table's columns, as far as the user gave them.

    Raises:
        OptionError: one is an empty text.
    """
    named = {"path_column": path_column, "label_column": label_column}
    for option, name in named.items():
        if name is not None and not name.strip():
            raise OptionError(
                f"{option} must be the name of a table's column, got an empty text; leave it away "
                "where the column is called as usual."
            )
    return {option: name for option, name in named.items() if name is not None}


def kept_columns(settings: Mapping[str, Any]) -> dict[str, str]:
    """The same of a finished run, out of its `run.toml`."""
    kept = {option: settings.get(option) for option in ("path_column", "label_column")}
    return {option: name for option, name in kept.items() if isinstance(name, str) and name}


def has_columns(data: Any) -> bool:
    """Whether what the user named may be a table: a file, or a Hugging Face data set."""
    if isinstance(data, str | os.PathLike):
        return not Path(os.fsdecode(data)).expanduser().is_dir()
    return type(data).__module__.partition(".")[0] == "datasets"


def labelled(
    data: Any,
    modality: str,
    *,
    least_classes: int = 2,
    group: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Dataset:
    """Labelled examples of `modality` in whatever the user named; a `Dataset` as it is.

    Args:
        data: a folder, a table, …
        modality: what the backbone takes.
        least_classes: 2 to learn from, 1 to score on.
        group: a column of the table, or a pattern that finds each example's group in its id.
        columns: of the table, as `columns_of` gives them.

    Raises:
        DataError: nothing there that could be used, or a `Dataset` of another modality.
        OptionError: `group` or `columns` does not fit the data.
    """
    if columns and not has_columns(data):
        what = f"'{data}'" if isinstance(data, str | os.PathLike) else f"a {type(data).__name__}"
        raise OptionError(
            f"{' and '.join(columns)} must name columns of a table, and {what} is none; leave "
            "them away."
        )
    if not isinstance(data, Dataset):
        column = dict(columns or {}) | ({} if group is None else {"group_column": group})
        data = _finder(modality, 0)(data, least_classes=least_classes, **column)
    elif data.modality != modality:
        raise DataError(
            f"the data are of the modality '{data.modality}' and the backbone takes "
            f"'{modality}'; name a backbone for {data.modality}s."
        )
    return data if group is None else grouped(data, group)


def to_test(
    test: Any,
    data: Dataset,
    *,
    group: str | None = None,
    need: bool = True,
    columns: Mapping[str, str] | None = None,
) -> Dataset | None:
    """Labelled examples to test on what is learned from `data`; None if `test` is None.

    Labels that surely are one with a class to learn are spelled as that is.

    Args:
        test: a folder, a table, …
        data: what is learned from.
        group: as in `labelled`.
        need: refuse examples of which none has a class to learn.
        columns: of the table that is learned from; a table to test on has the same.

    Raises:
        DataError: nothing there that could be used, or no class in common.
        OptionError: `group` does not fit the data.
    """
    if test is None:
        return None
    known = trained_labels(data)
    own = columns if has_columns(test) else None
    found = labelled(test, data.modality, least_classes=1, group=group, columns=own)
    found = as_known(found, known)
    if need:
        need_known((e.label for e in found.scored()), known, found.root)
    return found


def again(source: str, modality: str, settings: Mapping[str, Any]) -> Dataset:
    """The data of a finished run, listed again.

    Args:
        source: where they were.
        modality: what the backbone takes.
        settings: of the run: the columns of the tables that it was fitted on. A table that was
            added to it may have the usual ones.

    Raises:
        DataError: they are not there, or cannot be used.
    """
    columns = kept_columns(settings) if has_columns(source) else {}
    if columns:
        try:
            return labelled(source, modality, least_classes=1, columns=columns)
        except DataError:
            pass
    return labelled(source, modality, least_classes=1)


def bare(paths: Any, modality: str) -> Dataset:
    """Examples of `modality` without labels; a `Dataset` as it is."""
    if isinstance(paths, Dataset):
        return paths
    made = list(requested(paths, modality))
    return replace(made[0], entries=tuple(one for some in made for one in some.entries)).data


def requested(inputs: Any, modality: str) -> Iterator[Requests]:
    """Examples of `modality` to predict, in the order in which they were asked for.

    Of an iterator some at a time, and the next when these are done with.

    Raises:
        DataError: what is given is nothing to predict.
    """
    if isinstance(inputs, Dataset):
        yield Requests.of(inputs)
        return
    made = _finder(modality, 1)(inputs)
    yield from [Requests.of(made)] if isinstance(made, Dataset) else made


def _finder(modality: str, which: int) -> Callable[..., Any]:
    module, _, name = SOURCES[modality][which].partition(":")
    finder: Callable[..., Any] = getattr(import_module(module), name)
    return finder
