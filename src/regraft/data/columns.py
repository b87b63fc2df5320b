"""Which columns of a table hold paths, labels and parts, by the names that the field gives them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from regraft.errors import DataError, did_you_mean

#: For each role how tools call its column, the plainest first.
KNOWN: dict[str, tuple[str, ...]] = {
    "path": (
        "path", "file", "filename", "file_name", "filepath", "file_path", "fname", "image",
        "image_path", "image_file", "image_name", "img", "img_path",
    ),
    "label": ("label", "class", "target", "category", "class_name", "label_name"),
    "split": ("split", "is_valid"),
}  # fmt: skip
#: fastai's column: true for validation.
IS_VALID = "is_valid"
_TRUE = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
SEPARATORS = "|;,"
ONE_LABEL = (
    "regraft learns one label per image so far: keep one of them per image, or make one table for "
    "each question"
)


def resolved(
    names: Sequence[str], columns: Mapping[str, str], shown: str
) -> tuple[dict[str, str], list[str]]:
    """The columns' own names for each role, and what was taken for what.

    A column that was named is taken; where the usual name ('path', 'label', 'split') is not there,
    one that the field calls so.

    Args:
        names: of all columns.
        columns: the column's name for each role.
        shown: how the user named the table.

    Raises:
        DataError: there are several columns of a name or for a role.
    """
    out, notes = dict(columns), []
    for role in KNOWN:
        wanted = columns[role]
        if names.count(wanted) > 1:
            raise DataError(f"'{shown}' has {names.count(wanted)} columns named '{wanted}'.")
        if wanted in names or wanted != role:
            continue
        like = known_for(role, names)
        if len(like) > 1:
            raise DataError(
                f"'{shown}' has several columns for the {role}: {_listed(like)}; name the one that "
                f"is meant with {_flag(role)}, or rename the others."
            )
        if like:
            out[role] = like[0]
            notes.append(f"the column '{like[0]}' of the table is taken for the {role}")
    return out, notes


def need(names: Sequence[str], columns: Mapping[str, str], shown: str) -> None:
    """Refuse a table without a column of paths or of labels.

    Raises:
        DataError: one is missing.
    """
    for role in ("path", "label"):
        _need(names, columns[role], role, shown)


def known_for(role: str, names: Sequence[str]) -> list[str]:
    """The columns that the field calls so for a role; of the plainest name that there is."""
    known = KNOWN[role]
    like = [name for name in names if _plain(name) in known]
    best = min((known.index(_plain(name)) for name in like), default=-1)
    return [name for name in like if known.index(_plain(name)) == best]


def used(columns: Mapping[str, str]) -> list[str]:
    """The columns that a data set is made of; a group has none where it was not asked for."""
    return [name for role, name in columns.items() if role != "group" or name]


def _need(names: Sequence[str], wanted: str, role: str, shown: str) -> None:
    if wanted in names:
        return
    known = _listed(names[:20]) or "no column at all"
    raise DataError(
        f"'{shown}' has no column '{wanted}' for the {role}; it has {known}: rename one to "
        f"'{role}', or name it with {_flag(role)}."
        f"{did_you_mean(wanted, list(names))}"
    )


def _flag(role: str) -> str:
    """How a user says which column is meant."""
    if role == "split":  # no option of the command line
        return "regraft.images(…, split_column=…)"
    return f"--{role}-column ({role}_column=… in Python)"


def _plain(name: str) -> str:
    return re.sub(r"[\s\-.]+", "_", name.strip().lower())


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def part_of(column: str, value: Any) -> Any:
    """What a cell of the part's column says; of fastai's `is_valid` 'val' or 'train'."""
    if _plain(column) != IS_VALID:
        return value
    valid = _TRUE.get(str(value).strip().lower())
    return value if valid is None else ("val" if valid else "train")


def refuse_several(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    shown: str,
    identity: Callable[[Any], str],
) -> None:
    """Refuse a table that has more than one label for an image, and say in which way.

    Args:
        rows: of the table.
        columns: the columns' names.
        shown: how the user named the table.
        identity: what a path cell stands for, so that two spellings are one image.

    Raises:
        DataError: a list in a cell, joined labels, or rows of one image with different labels.
    """
    values = [row.get(columns["label"]) for row in rows]
    lists = [value for value in values if isinstance(value, list | tuple)]
    if any(len(value) > 1 for value in lists):
        raise _several(shown, f"a cell of the column '{columns['label']}' holds a list of labels")
    for joint in SEPARATORS:
        if whole := _joined({value for value in values if isinstance(value, str)}, joint):
            raise _several(shown, f"'{whole}' joins labels that others have by themselves")
    first: dict[str, Any] = {}
    more = 0
    for row, value in zip(rows, values, strict=True):
        name = identity(row.get(columns["path"]))
        if name and value not in (None, ""):
            more += first.setdefault(name, value) != value
    if more > 1 and more >= SHARE * len(rows):
        raise _several(shown, f"{more} rows name an image that an earlier row gives another label")


#: Rows that contradict earlier ones, as a share, from which on they are meant and no mistake.
SHARE = 0.05


def refuse_indicators(names: Sequence[str], rows: Sequence[Mapping[str, Any]], shown: str) -> None:
    """Refuse a table without a label's column and with one 0/1 column for each label.

    Raises:
        DataError: it is such a table.
    """
    others = (*KNOWN["path"], *KNOWN["split"])
    columns = [name for name in names if _plain(name) not in others]
    truths = [name for name in columns if rows and all(_is_truth(row.get(name)) for row in rows)]
    if len(truths) < 2:
        return
    some = _listed(truths[:3]) + (", …" if len(truths) > 3 else "")
    counts = [sum(_TRUE[str(row[name]).strip().lower()] for name in truths) for row in rows]
    if all(count == 1 for count in counts):
        raise DataError(
            f"'{shown}' has one 0/1 column per class ({some}) and no column with the one label of "
            "each image: make one called 'label', e.g. with pandas' idxmax(axis=1)."
        )
    raise _several(shown, f"it has one 0/1 column per label ({some})")


def _is_truth(value: Any) -> bool:
    return str(value).strip().lower() in _TRUE


def _joined(labels: Collection[str], joint: str) -> str:
    """A label that joins others of these, '' if there is none: 'a|b' beside 'a' or 'b'.

    A comma belongs to many names ('pepper, bell' beside 'pepper'), so all of its parts must be
    labels.
    """
    enough = all if joint == "," else any
    for label in sorted(labels):
        parts = [part.strip() for part in label.split(joint)]
        if len(parts) > 1 and all(parts) and enough(part in labels for part in parts):
            return label
    return ""


def _several(shown: str, how: str) -> DataError:
    return DataError(f"images of '{shown}' have several labels ({how}); {ONE_LABEL}.")
