"""Splitting by content: stratified, seeded, and blind to the order and the names of files.

Every image's place is a hash of its content digest and the seed, so adding or renaming files moves
no other file's place in the line, and equal images always fall on the same side.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regraft.data.dataset import Example
from regraft.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class _Group:
    """All rows with one digest.

    Attributes:
        rank: its place in the line, a hash of digest and seed.
        rows: row numbers.
        labels: the classes that occur, sorted; more than one if the labels contradict each other.
    """

    rank: bytes
    rows: tuple[int, ...]
    labels: tuple[str, ...]


def split(
    examples: Sequence[Example], digests: Sequence[str], *, share: float, seed: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Split into what is kept for training and what is held out, each in the given order.

    Every class keeps at least one distinct image, and has one held out if it has two or more.
    Equal images stay together; those whose labels contradict each other are kept, since a score
    on them would mean nothing.

    Args:
        examples: with labels.
        digests: the content digest of each example.
        share: of each class's rows that is held out, between 0 and 1.
        seed: another seed, another split.

    Raises:
        OptionError: `share` is not between 0 and 1, or the two lists differ in length.
    """
    if not 0 < share < 1:
        raise OptionError(f"share must lie between 0 and 1, not {share}.")
    groups = _groups([_label(e.label) for e in examples], digests, seed)
    held = {row for rows in _held(groups, share) for row in rows}
    return (
        tuple(e for row, e in enumerate(examples) if row not in held),
        tuple(e for row, e in enumerate(examples) if row in held),
    )


def folds(labels: Sequence[str], digests: Sequence[str], k: int, seed: int) -> NDArray[np.int64]:
    """(N,) the fold 0..k-1 of each row: stratified, equal images in one fold.

    A class with fewer distinct images than `k` is missing from some folds.

    Raises:
        OptionError: fewer than two folds, fewer distinct images than folds, or lists that differ
            in length.
    """
    import numpy as np

    groups = _groups(labels, digests, seed)
    if not 2 <= k <= len(groups):
        raise OptionError(
            f"k must be at least 2 and at most the number of distinct images ({len(groups)}), "
            f"not {k}."
        )
    result = np.empty(len(labels), np.int64)
    of_class: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * k)
    total = [0] * k
    # Large groups first, so that the small ones can even out what they leave.
    for group in sorted(groups, key=lambda g: (g.labels, -len(g.rows), g.rank)):
        mine = of_class[group.labels]
        fold = min(range(k), key=lambda f: (mine[f], total[f], f))
        mine[fold] += len(group.rows)
        total[fold] += len(group.rows)
        result[list(group.rows)] = fold
    return result


def _held(groups: list[_Group], share: float) -> list[tuple[int, ...]]:
    """Rows of the groups that are held out."""
    by_class: dict[str, list[_Group]] = defaultdict(list)
    contradicted: set[str] = set()
    for group in sorted(groups, key=lambda g: g.rank):
        if len(group.labels) == 1:
            by_class[group.labels[0]].append(group)
        else:
            contradicted.update(group.labels)
    held: list[tuple[int, ...]] = []
    for label, line in by_class.items():
        room = len(line) if label in contradicted else len(line) - 1
        rows = sum(len(group.rows) for group in line)
        held += _take(line, room, round(share * rows))
    return held


def _take(line: list[_Group], room: int, wanted: int) -> list[tuple[int, ...]]:
    """The first groups of the line that fit into `wanted` rows: at least one, at most `room`."""
    taken: list[tuple[int, ...]] = []
    left = wanted
    for group in line:
        if len(taken) < room and len(group.rows) <= left:
            taken.append(group.rows)
            left -= len(group.rows)
    if not taken and room:
        taken.append(min(line, key=lambda g: (len(g.rows), g.rank)).rows)
    return taken


def _groups(labels: Sequence[str], digests: Sequence[str], seed: int) -> list[_Group]:
    if len(labels) != len(digests):
        raise OptionError(f"{len(labels)} examples need as many digests, not {len(digests)}.")
    rows: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        rows[digest].append(row)
    return [
        _Group(_rank(digest, seed), tuple(mine), tuple(sorted({labels[row] for row in mine})))
        for digest, mine in rows.items()
    ]


def _rank(digest: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{digest}".encode(), digest_size=16).digest()


def _label(label: str | None) -> str:
    if label is None:
        raise OptionError("every example needs a label to be split.")
    return label
