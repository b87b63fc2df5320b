"""The audit: what is wrong with data, found before they are divided and before a head sees them.

    listing ─► one pass (bytes, digest, decode, look) ─► counts, duplicates, leaks, conflicts, notes

`examine` judges what a pass over the data brought, with or without a backbone; `audit` makes such a
pass without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.cache import Rows
from regraft.data import Dataset, Example, deep
from regraft.data.look import stored_sizes
from regraft.data.near import Near, near_groups
from regraft.data.notes import is_empty, notes
from regraft.data.sources import columns_of, labelled, to_test
from regraft.data.split import joined
from regraft.errors import OptionError
from regraft.features import LOOK, Features, Progress, compute_looks
from regraft.findings import EXACT, GROUP, MOST_BAD, NEAR, Audit, Conflict, Duplicates, Leak
from regraft.inputs import ImageSpec
from regraft.pipeline import default_threads
from regraft.progress import Verbose, shows_progress

__all__ = ["MOST_BAD", "Audit", "audit", "check_most_bad", "examine", "to_read"]

TRAIN, VAL, TEST, UNSPLIT = "train", "val", "test", "unsplit"
#: What a leak is looked for in: what is tested on must be in neither of two, and so on.
_KNOWN_BEFORE = {VAL: (TRAIN,), TEST: (TRAIN, VAL)}


@shows_progress("images")
def audit(
    data: str | Path | Dataset,
    *,
    test: str | Path | Dataset | None = None,
    group: str | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    near: bool = True,
    threads: int | None = None,
    progress: Progress | None = None,
    verbose: Verbose = None,
) -> Audit:
    """What is wrong with labelled images; needs no backbone.

    Every file is read, hashed and decoded once; a second audit of the same files only reads and
    hashes.

    Args:
        data: a folder of class folders, a table, or a `Dataset`.
        test: labelled data to test on, to be compared with `data` too; a test part of `data` is
            then ignored.
        group: a column of the table, or a pattern that finds each example's group in its path.
        path_column, label_column: of a table, as for `regraft.fit`.
        near: whether near duplicates count as duplicates, not equal bytes alone.
        threads: for reading and decoding; all processors if None.
        progress: called with (images done, images in all).
        verbose: as for `regraft.fit`.

    Raises:
        RegraftError: there is nothing to look at, or an option does not fit.
    """
    if threads is not None and threads < 1:
        raise OptionError(f"--threads must be 1 or more, got {threads}.")
    columns = columns_of(path_column, label_column)
    found = labelled(data, "image", least_classes=1, group=group, columns=columns)
    other = to_test(test, found, group=group, need=False, columns=columns)
    own, more = to_read(found, other)
    white = deep.white_of(found.examples)
    if white:
        found = replace(found, notes=(*found.notes, deep.note(white, found) + "."))
    spec = ImageSpec((224, 224), white=white)
    features = compute_looks((*own, *more), spec, threads or default_threads(), progress)
    mine = {id(example) for example in own}
    count = sum(id(e) in mine for e in features.examples)
    return examine(found, other, features, count, near=near)


def check_most_bad(most_bad: float) -> None:
    """Refuse a share that is none.

    Raises:
        OptionError: it is not from 0 to 1.
    """
    if not 0 <= most_bad <= 1:
        raise OptionError(f"--most-bad must be a share from 0 to 1, got {most_bad:g}.")


def to_read(
    data: Dataset, other: Dataset | None
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The examples of `data` and those of `other`, as a test part, that a job reads.

    With `other`, the test part of `data` is not touched.
    """
    if other is None:
        return data.examples, ()
    own = tuple(example for example in data.examples if example.split != TEST)
    return own, tuple(replace(example, split=TEST) for example in other.scored())


def examine(
    data: Dataset, other: Dataset | None, found: Features, own: int, *, near: bool = True
) -> Audit:
    """What is wrong with data that were read.

    Args:
        data: as it was found.
        other: what was given to test on, None if nothing was.
        found: what a pass brought: of `data`'s own examples, then of those to test on. It need
            not have looks; then only equal bytes are duplicates.
        own: how many of its rows are `data`'s own.
        near: whether near duplicates count as duplicates, not equal bytes alone.
    """
    both = (data,) if other is None else (data, other)
    listed = [skip for one in both for skip in one.skipped]
    empty = [skip for skip in listed if is_empty(skip)]  # folders are no files
    bad = (*(skip for skip in listed if not is_empty(skip)), *found.skipped)
    skipped = tuple(sorted(bad, key=lambda skip: skip.file))
    used = len(found.examples)
    own_apart = 0 if other is None else sum(e.split == TEST for e in data.examples)
    apart = (own_apart, 0 if other is None else len(other.examples) - len(other.scored()))
    looks = found.rows.get(LOOK)
    rows = _rows(found, own, other is not None, looks if near else None)
    parts = sorted(set(rows.parts), key=(TRAIN, VAL, TEST, UNSPLIT).index)
    names = sorted({*data.classes, *(str(e.label) for e in found.examples)})
    classes = {name: dict.fromkeys(parts, 0) for name in names}
    for label, part in zip(rows.labels, rows.parts, strict=True):
        classes[label][part] += 1
    leaks, leaked = _leaks(rows)
    ignored = sum(one.ignored for one in both) + sum(apart)
    return Audit(
        seen=sum(len(one.examples) + one.ignored for one in both) + len(listed) - len(empty),
        used=used,
        skipped=skipped,
        ignored=ignored,
        classes=classes,
        duplicates=_duplicates(rows),
        leaks=leaks,
        conflicts=_conflicts(rows),
        notes=tuple(note for one in both for note in one.notes)
        + notes(
            classes,
            empty,
            None if looks is None or not len(looks) else stored_sizes(looks),
            rows.files,
            rows.near.all_equal,
            _alike(rows),
            apart,
        ),
        groups=rows.together(),
        leaked=leaked,
    )


@dataclass(frozen=True)
class _Rows:
    """The readable rows as columns, each of length N.

    Attributes:
        files: ids.
        labels: class names.
        parts: 'train', 'val', 'test', or 'unsplit' where nothing is divided yet.
        digests: of the bytes.
        named: the groups that the data name, '' for none.
        near: which rows are alike.
        learned: which are among those that are not to be tested on.
    """

    files: list[str]
    labels: list[str]
    parts: list[str]
    digests: tuple[str, ...]
    named: list[str]
    near: Near
    learned: Near

    def together(self) -> NDArray[np.int64] | None:
        """(N,) equal for rows that must be on one side of a split; None if no two are.

        Near duplicates in several groups of the data do not join these: whoever names patients
        knows better, and a chain of look-alikes would make one patient of all. Rows to test on are
        each alone, and neither they nor their labels decide what of the others belongs together.
        """
        mine = _untested(self.parts)
        if not len(mine):
            return None
        named = [self.named[row] for row in mine]
        near = self.learned.groups.tolist()
        several = {
            near[alike[0]]
            for alike in _members(near)
            if len({named[row] for row in alike} - {""}) > 1
        }
        rows = range(len(mine))
        columns = [
            [self.digests[row] for row in mine],
            [("", r) if named[r] and near[r] in several else (near[r], -1) for r in rows],
            [(named[r], -1) if named[r] else ("", r) for r in rows],
        ]
        groups = np.arange(len(self.files))
        groups[mine] = mine[joined(columns)]
        return groups if len(np.unique(groups)) < len(groups) else None


def _untested(parts: Sequence[str]) -> NDArray[np.int64]:
    """Which rows are not there to be tested on."""
    return np.array([row for row, part in enumerate(parts) if part != TEST], np.int64)


@dataclass(frozen=True)
class _Some:
    """The looks of some rows, read where they lie."""

    looks: Rows
    rows: NDArray[np.int64]

    def __getitem__(self, which: Any) -> Any:
        return self.looks[self.rows[which]]


def _rows(found: Features, own: int, given: bool, looks: Rows | None) -> _Rows:
    examples = found.examples
    divided = given or any(e.split in (VAL, TEST) for e in examples)
    labels = [str(e.label) for e in examples]
    parts = [e.split or (TRAIN if divided else UNSPLIT) for e in examples]
    near = learned = near_groups(looks, found.digests, labels)
    mine = _untested(parts)
    if len(mine) < len(parts):
        some = None if looks is None else _Some(looks, mine)
        learned = near_groups(some, [found.digests[i] for i in mine], [labels[i] for i in mine])
    files, named = [e.id for e in examples], [e.group for e in examples]
    return _Rows(files, labels, parts, found.digests, named, near, learned)


def _members(values: Sequence[Any]) -> list[list[int]]:
    """Lists of two and more rows whose values are equal, in the order of their first rows."""
    lists: dict[Any, list[int]] = {}
    for row, value in enumerate(values):
        lists.setdefault(value, []).append(row)
    return [rows for rows in lists.values() if len(rows) > 1]


def _duplicates(rows: _Rows) -> tuple[Duplicates, ...]:
    """Groups of alike files, those with equal bytes first."""
    out = [Duplicates(EXACT, _names(rows, same)) for same in _members(rows.digests)]
    for alike in _members(rows.near.groups.tolist()):
        if len({rows.digests[row] for row in alike}) > 1:
            out.append(Duplicates(NEAR, _names(rows, alike)))
    return tuple(out)


def _alike(rows: _Rows) -> list[str]:
    """The classes with several contents, all of them near duplicates of each other."""
    contents: dict[str, set[str]] = {}
    groups: dict[str, set[int]] = {}
    for label, digest, group in zip(
        rows.labels, rows.digests, rows.near.groups.tolist(), strict=True
    ):
        contents.setdefault(label, set()).add(digest)
        groups.setdefault(label, set()).add(group)
    return sorted(one for one in groups if len(groups[one]) == 1 < len(contents[one]))


def _conflicts(rows: _Rows) -> tuple[Conflict, ...]:
    """Equal bytes, and else alike pictures, with more than one label."""
    out = []
    for kind, values in ((EXACT, rows.digests), (NEAR, rows.near.groups.tolist())):
        for alike in _members(values):
            labels = {rows.labels[row] for row in alike}
            equal = len({rows.digests[row] for row in alike}) == 1
            if len(labels) > 1 and (kind == EXACT or not equal):
                names = tuple(rows.labels[row] for row in alike)
                out.append(Conflict(kind, _names(rows, alike), names))
    return tuple(out)


def _leaks(rows: _Rows) -> tuple[tuple[Leak, ...], NDArray[np.bool_]]:
    """Rows to choose or test on that are known from a part before; each once, in order."""
    named = [name or None for name in rows.named]
    columns = ((EXACT, rows.digests), (NEAR, rows.near.groups.tolist()), (GROUP, named))
    first: dict[tuple[str, str, Any], int] = {}
    for kind, values in columns:
        for row, value in enumerate(values):
            first.setdefault((kind, rows.parts[row], value), row)
    found = []
    leaked = np.zeros(len(rows.files), bool)
    for row, part in enumerate(rows.parts):
        tried = (
            (kind, first.get((kind, before, values[row])))
            for kind, values in columns
            if values[row] is not None
            for before in _KNOWN_BEFORE.get(part, ())
        )
        kind, like = next(((k, other) for k, other in tried if other is not None), ("", None))
        if like is not None:
            leaked[row] = True
            found.append(Leak(kind, rows.files[row], part, rows.files[like], rows.parts[like]))
    return tuple(found), leaked


def _names(rows: _Rows, which: Sequence[int]) -> tuple[str, ...]:
    return tuple(rows.files[row] for row in which)
