"""Hugging Face `datasets` in memory. `datasets` itself is imported only if the user did so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from regraft.data.columns import ONE_LABEL, known_for
from regraft.data.dataset import Dataset, Example, Skipped
from regraft.data.folders import SPLIT_NAMES, finish
from regraft.data.tables import label_of, split_of, text_of
from regraft.data.walk import not_plain
from regraft.errors import DataError, did_you_mean


def from_datasets(data: Any, columns: Mapping[str, str]) -> Dataset:
    """The images of a `datasets.Dataset` or `DatasetDict`.

    Images may be bytes, files on disk, or `Image` features of either; nothing is decoded here.
    Labels are class names where the column is a `ClassLabel`. Ids are '<part>/<row>'.

    Args:
        data: the object.
        columns: names of the 'path' (here: image), 'label', 'split' and 'group' columns; the image
            column may have any name if there is only one of type `Image`.

    Raises:
        DataError: a streaming data set, a missing column, or no row with image and label.
    """
    if isinstance(data, Mapping):
        parts = {str(name): part for name, part in data.items()}
    else:
        parts = {"": data}
    examples: list[Example] = []
    skipped: list[Skipped] = []
    notes: list[str] = []
    for name, part in parts.items():
        _need_whole(part)
        label = _add(part, name, columns, examples, skipped)
        if label != columns["label"]:
            notes.append(f"the column '{label}' is taken for the label.")
    if not examples:
        why = f" ('{skipped[0].file}': {skipped[0].reason})" if skipped else ""
        raise DataError(f"the data set has no row with an image and a label{why}.")
    return finish("datasets", examples, skipped, notes=tuple(dict.fromkeys(notes)))


def unlabelled(data: Any) -> tuple[Example | Skipped, ...]:
    """The images of a `datasets.Dataset` to predict, row by row; ids are 'row/<row>'.

    Raises:
        DataError: a streaming data set, several parts, or no image column.
    """
    if isinstance(data, Mapping):
        parts = ", ".join(map(str, data))
        raise DataError(f"the data set has several parts ({parts}); give one of them.")
    _need_whole(data)
    how = "keep one, e.g. data.select_columns(['image']), as the type Image"
    pixels = _undecoded(data, _image_column(data, "image", how))
    width = len(str(max(len(data) - 1, 0)))
    names = (f"row/{row:0{width}d}" for row in range(len(data)))
    sources = ((name, _source(pixels, row)) for row, name in enumerate(names))
    return tuple(
        Skipped(name, source) if isinstance(source, str) else Example(name, source)
        for name, source in sources
    )


def _need_whole(part: Any) -> None:
    if not hasattr(part, "__len__") or not hasattr(part, "select_columns"):
        raise DataError("a streaming data set must be loaded whole: streaming=False.")


def _add(
    part: Any,
    name: str,
    columns: Mapping[str, str],
    examples: list[Example],
    skipped: list[Skipped],
) -> str:
    """Append the rows of one part; the column that its labels are in."""
    image, label = _image_column(part, columns["path"]), _label_column(part, columns["label"])
    _need_one_label(part, label)
    pixels = _undecoded(part, image)
    labels = _labels(part, label)
    has_split = columns["split"] in part.column_names and not name
    splits = part.with_format(None)[columns["split"]] if has_split else None
    has_group = columns["group"] in part.column_names
    groups = part.with_format(None)[columns["group"]] if has_group else None
    split = SPLIT_NAMES.get(name.lower())
    if name and split is None:
        raise DataError(f"the part '{name}' of the data set must be named train, val or test.")
    width = len(str(max(len(part) - 1, 0)))
    for row, value in enumerate(labels):
        identity = f"{name or 'row'}/{row:0{width}d}"
        text, missing = label_of(value, f"row {row} of the data set")
        if missing:
            skipped.append(Skipped(identity, missing))
            continue
        source = _source(pixels, row)
        if isinstance(source, str):
            skipped.append(Skipped(identity, source))
            continue
        mine = split_of(splits[row], "datasets", f"row {row}") if splits is not None else split
        group = text_of(groups[row]) or "" if groups is not None else ""
        examples.append(Example(identity, source, text, mine, group))
    return label


def _image_column(part: Any, wanted: str, how: str = "name it with path_column=…") -> str:
    names = list(part.column_names)
    if wanted in names:
        return wanted
    found = [name for name in names if type(part.features[name]).__name__ == "Image"]
    if len(found) == 1:
        return str(found[0])
    raise DataError(
        f"the data set has no image column '{wanted}'; it has "
        f"{', '.join(repr(n) for n in names)}: {how}"
    )


def _label_column(part: Any, wanted: str) -> str:
    names = list(part.column_names)
    if wanted in names:
        return wanted
    like = known_for("label", names) if wanted == "label" else []
    if len(like) == 1:
        return like[0]
    raise DataError(
        f"the data set has no column '{wanted}' for the label; it has "
        f"{', '.join(repr(n) for n in names)}: name it with label_column=…"
        f"{did_you_mean(wanted, names)}"
    )


def _need_one_label(part: Any, column: str) -> None:
    """Refuse a column of lists: several labels for an image, or boxes in it."""
    kind = part.with_format("arrow").features.arrow_schema.field(column).type
    if hasattr(kind, "value_type") and "dictionary" not in str(kind):
        raise DataError(
            f"images of the data set have several labels (the column '{column}' holds lists); "
            f"{ONE_LABEL}."
        )


def _labels(part: Any, column: str) -> list[Any]:
    """Class names, or whatever the labels are, in row order; None where a row has none."""
    values = list(part.with_format(None)[column])
    names = getattr(part.features[column], "names", None)
    if names is None:
        return values
    # -1 is how `datasets` marks a row without a label.
    return [names[v] if v is not None and v >= 0 else None for v in values]


def _undecoded(part: Any, column: str) -> Any:
    """Only the image column, as Arrow cells: looking at one copies no pixel and decodes nothing."""
    only = part.select_columns([column])
    if type(part.features[column]).__name__ == "Image":
        from datasets import Image

        only = only.cast_column(column, Image(decode=False))
    return only.with_format("arrow")


def _source(pixels: Any, row: int) -> Path | Callable[[], bytes] | str:
    """Where the row's bytes come from, or why there are none."""
    cell = _cell(pixels, row)
    if str(cell.type) in ("binary", "large_binary"):
        return (lambda: bytes(_cell(pixels, row).as_py())) if cell.is_valid else "has no image"
    if cell.is_valid and hasattr(cell, "keys"):
        if cell["bytes"].is_valid:
            return lambda: bytes(_cell(pixels, row)["bytes"].as_py())
        cell = cell["path"]
    value = cell.as_py()
    if not isinstance(value, str):
        return "has no image"
    path = Path(value)
    try:
        return not_plain(path.stat().st_mode) or path
    except (OSError, ValueError):
        return "not a file on this machine"


def _cell(pixels: Any, row: int) -> Any:
    return pixels[row].column(0)[0]
