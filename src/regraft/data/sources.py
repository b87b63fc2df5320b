"""How examples of a modality are found: labelled ones to learn from, bare ones to predict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

from regraft.data.dataset import Dataset
from regraft.data.groups import grouped
from regraft.data.labels import as_known, need_known, trained_labels
from regraft.data.requests import Requests
from regraft.errors import DataError

#: Modality -> (finds labelled examples, finds bare ones).
SOURCES: dict[str, tuple[str, str]] = {
    "image": ("regraft.data.listing:images", "regraft.data.requests:batches"),
}


def labelled(
    data: Any, modality: str, *, least_classes: int = 2, group: str | None = None
) -> Dataset:
    """Labelled examples of `modality` in whatever the user named; a `Dataset` as it is.

    Args:
        data: a folder, a table, …
        modality: what the backbone takes.
        least_classes: 2 to learn from, 1 to score on.
        group: a column of the table, or a pattern that finds each example's group in its id.

    Raises:
        DataError: nothing there that could be used, or a `Dataset` of another modality.
        OptionError: `group` does not fit the data.
    """
    if not isinstance(data, Dataset):
        column = {} if group is None else {"group_column": group}
        data = _finder(modality, 0)(data, least_classes=least_classes, **column)
    elif data.modality != modality:
        raise DataError(
            f"the data are of the modality '{data.modality}' and the backbone takes "
            f"'{modality}'; name a backbone for {data.modality}s."
        )
    return data if group is None else grouped(data, group)


def to_test(
    test: Any, data: Dataset, *, group: str | None = None, need: bool = True
) -> Dataset | None:
    """Labelled examples to test on what is learned from `data`; None if `test` is None.

    Labels that surely are one with a class to learn are spelled as that is.

    Args:
        test: a folder, a table, …
        data: what is learned from.
        group: as in `labelled`.
        need: refuse examples of which none has a class to learn.

    Raises:
        DataError: nothing there that could be used, or no class in common.
        OptionError: `group` does not fit the data.
    """
    if test is None:
        return None
    known = trained_labels(data)
    found = as_known(labelled(test, data.modality, least_classes=1, group=group), known)
    if need:
        need_known((e.label for e in found.scored()), known, found.root)
    return found


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
