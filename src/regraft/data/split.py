"""Splitting by content: stratified, seeded, and blind to the order and the names of files.

Every image's place is a hash of its content digest and the seed, so adding or renaming files moves
no other file's place in the line, and equal images always fall on the same side.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regraft.data.dataset import Example
from regraft.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class _Unit:
    """Rows that stay together: of one digest or one group.

    Attributes:
        rank: its place in the line, a hash of its first digest and the seed.
        rows: row numbers.
        labels: how many rows each of its classes has, classes sorted.
        contradicted: whether two of its rows are equal and have different labels.
    """

    rank: bytes
    rows: tuple[int, ...]
    labels: dict[str, int]
    contradicted: bool


def split(
    examples: Sequence[Example],
    digests: Sequence[str],
    *,
    share: float,
    seed: int,
    groups: Sequence[int] | NDArray[np.int64] | None = None,
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Split into what is kept for training and what is held out, each in the given order.

    Every class keeps at least one distinct image, and has one held out if it has two or more.
    Equal images and the rows of one group stay together; equal images whose labels contradict each
    other are kept, since a score on them would mean nothing.

    Args:
        examples: with labels.
        digests: the content digest of each example.
        share: of each class's rows that is held out, between 0 and 1.
        seed: another seed, another split.
        groups: one value per example; equal ones are never on both sides.

    Raises:
        OptionError: `share` is not between 0 and 1, or the lists differ in length.
    """
    if not 0 < share < 1:
        raise OptionError(f"share must lie between 0 and 1, not {share}.")
    units = _units([_label(e.label) for e in examples], digests, seed, groups)
    held = {row for unit in _held(units, share) for row in unit.rows}
    return (
        tuple(e for row, e in enumerate(examples) if row not in held),
        tuple(e for row, e in enumerate(examples) if row in held),
    )


def folds(
    labels: Sequence[str],
    digests: Sequence[str],
    k: int,
    seed: int,
    groups: Sequence[int] | NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """(N,) the fold 0..k-1 of each row: stratified, equal images and groups in one fold.

    A class with fewer distinct images (or groups) than `k` is missing from some folds.

    Raises:
        OptionError: fewer than two folds, fewer distinct images than folds, or lists that differ
            in length.
    """
    import numpy as np

    units = _units(labels, digests, seed, groups)
    if not 2 <= k <= len(units):
        what = "distinct images" if groups is None else "groups of images"
        raise OptionError(
            f"folds must be at least 2 and at most the number of {what} ({len(units)}), not {k}."
        )
    result = np.empty(len(labels), np.int64)
    of_class: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * k)
    total = [0] * k
    # Large units first, so that the small ones can even out what they leave.
    for unit in sorted(units, key=lambda u: (tuple(u.labels), -len(u.rows), u.rank)):
        mine = of_class[tuple(unit.labels)]
        fold = min(range(k), key=lambda f: (mine[f], total[f], f))
        mine[fold] += len(unit.rows)
        total[fold] += len(unit.rows)
        result[list(unit.rows)] = fold
    return result


def _held(units: list[_Unit], share: float) -> list[_Unit]:
    """The units that are held out: in the order of the line whatever fits each class's share.

    A class that would have none has its smallest unit held out, if another one stays.
    """
    line = sorted((u for u in units if not u.contradicted), key=lambda u: u.rank)
    stays = Counter(label for unit in units for label in unit.labels)
    rows: Counter[str] = Counter()
    for unit in line:
        rows.update(unit.labels)
    left = {label: round(share * count) for label, count in rows.items()}
    held: list[_Unit] = []

    def take(unit: _Unit) -> None:
        held.append(unit)
        for label, count in unit.labels.items():
            left[label] -= count
            stays[label] -= 1

    def spared(unit: _Unit) -> bool:
        return all(stays[label] > 1 for label in unit.labels)

    for unit in line:
        if spared(unit) and all(count <= left[label] for label, count in unit.labels.items()):
            take(unit)
    for label in sorted(rows):
        if any(label in unit.labels for unit in held):
            continue
        able = [unit for unit in line if label in unit.labels and spared(unit)]
        if able:
            take(min(able, key=lambda u: (len(u.rows), u.rank)))
    return held


def _units(
    labels: Sequence[str],
    digests: Sequence[str],
    seed: int,
    groups: Sequence[int] | NDArray[np.int64] | None,
) -> list[_Unit]:
    columns = [digests] if groups is None else [digests, groups]
    for column in columns:
        if len(labels) != len(column):
            raise OptionError(f"{len(labels)} examples need as many digests, not {len(column)}.")
    rows: dict[int, list[int]] = defaultdict(list)
    for row, first in enumerate(joined(columns)):
        rows[first].append(row)
    return [_unit(mine, labels, digests, seed) for mine in rows.values()]


def _unit(mine: list[int], labels: Sequence[str], digests: Sequence[str], seed: int) -> _Unit:
    count = Counter(labels[row] for row in mine)
    pairs = {(digests[row], labels[row]) for row in mine}
    contradicted = len(pairs) > len({digest for digest, _ in pairs})
    first = min(digests[row] for row in mine)
    return _Unit(_rank(first, seed), tuple(mine), dict(sorted(count.items())), contradicted)


def joined(columns: Sequence[Sequence[Any] | NDArray[Any]]) -> list[int]:
    """For each row the first row that it belongs together with, itself if that is none.

    Rows belong together if they are equal in any of the `columns`, directly or through others.
    """
    pairs = []
    for column in columns:
        first: dict[Any, int] = {}
        pairs += [(first.setdefault(value, row), row) for row, value in enumerate(column)]
    return linked(len(columns[0]), pairs)


def linked(count: int, pairs: Iterable[Sequence[int]]) -> list[int]:
    """For each of `count` rows the first one that a chain of `pairs` joins it with."""
    parent = list(range(count))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for pair in pairs:
        one, other = root(pair[0]), root(pair[1])
        parent[max(one, other)] = min(one, other)
    return [root(row) for row in range(count)]


def _rank(digest: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{digest}".encode(), digest_size=16).digest()


def _label(label: str | None) -> str:
    if label is None:
        raise OptionError("every example needs a label to be split.")
    return label
