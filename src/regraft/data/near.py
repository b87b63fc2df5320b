"""Near duplicates: pictures that are one picture saved, resized, cropped or filmed twice.

Two pictures are near if little of one is left unexplained once the other is shifted, scaled,
turned, brightened and given more contrast by a little. What is compared is detail: the grey
picture less its own blur, so that a sky or a plain sheet of steel is no likeness. Steps:

    equal bytes, equal pixels ─► one group, whatever they show
    coarse detail, (N, 144), every pair in all eight ways that a picture can lie, by matrix
    products ─► few candidates
    registration of each candidate ─► share of the detail left unexplained
    below the limit, colours alike ─► near; chains of near pairs ─► groups

The limit is absolute (distinct photos leave 0.53 and more, steel textures 0.31; 98 % of copies at
most 0.27), and lower where pictures of different classes come closer than photos do. Pictures
without detail, with a mark on plain ground and nothing else, or too small to have any, are never
near unless their pixels are equal.

Memory is bounded whatever N is; time grows with its square: 0.1 s for 3,000 pictures, 0.6 s for
10,000, 9 s for 50,000 (on 2 cores).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.data.look import SIDE, TONES, colours, greys, prints, sizes
from regraft.data.registration import Floats, detail, filled, unexplained
from regraft.data.split import linked
from regraft.data.symmetry import WAYS, back, laid, places

Ints = NDArray[np.int64]

LIMIT = 0.27  # share of the detail that may be left unexplained
SMALL = 32  # pixels of the shorter side below which pictures have no detail to compare
SMALLEST = 12  # the same where a small picture is compared with one that is not
SPARSE = 20.0  # cells that the detail fills, of 576, below which it is a mark on plain ground
PLAIN = 1.5  # standard deviation of the detail in grey levels, of 255, below which there is none
CROSS = 0.35  # the limit as a share of what the nearest of another class leave
CROSS_QUANTILE = 0.25  # which of those: up to a quarter of the labels may be wrong
CALIBRATION = 64  # pictures that are looked at for it
CANDIDATE = 0.65  # correlation of the coarse detail that makes a pair worth registering
TURNED = (
    0.3  # of the limit, for copies that lie otherwise: periodic patterns come near it by chance
)
MOST_CANDIDATES = 16  # per picture, the best
GREY = 2.0  # levels of colour below which a picture has none
TINGE = 8.0  # levels by which the colours of near pictures may differ in any case
HUE = 0.8  # correlation of colours above which they differ in strength only
BLOCK = 1024  # pictures whose likeness to as many others is in memory at once
LARGE = 0.25  # share of a class that may be one group before its chains are looked at
FEW = 8  # pictures that may be one group whatever the share


@dataclass(frozen=True)
class Near:
    """Which rows are alike.

    Attributes:
        groups: (N,) equal for rows of equal bytes, equal pixels or near ones, and for rows that
            a chain of such pairs joins; the number is the place of one of them.
        pairs: (P, 2) rows that are near each other directly; of rows with equal bytes or pixels
            one stands for all.
        limit: the share of unexplained detail that was allowed.
        ways: (P,) how the second of each pair lies, see `regraft.data.symmetry`: 0 as the first.
    """

    groups: Ints
    pairs: Ints
    limit: float
    ways: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def all_equal(self) -> bool:
        """Whether all rows have equal bytes or pixels."""
        return not len(self.pairs) and len(np.unique(self.groups)) == 1


class Looks(Protocol):
    """(N, numbers) looks that lie in memory or on disk, read by an index."""

    def __getitem__(self, which: Any, /) -> Any:
        """The looks of those rows, in memory."""


def near_groups(looks: Looks | None, digests: Sequence[str], labels: Sequence[str | None]) -> Near:
    """Groups of rows that are alike. The order of the rows changes nothing but their numbers.

    Args:
        looks: (N, numbers) as `data.look` makes them, read a block at a time; None where there
            are none.
        digests: of each row's bytes.
        labels: of each row, to learn how near different things come.
    """
    _, same, exact = np.unique(np.array(digests, str), return_index=True, return_inverse=True)
    if looks is None or not len(digests):
        return Near(np.asarray(same[exact], np.int64), np.empty((0, 2), np.int64), 0.0)
    # One row for each content, in the order of the digests: so is all that follows.
    some = _Pictures.of(looks, same)
    _, first, pixels = np.unique(some.prints, return_index=True, return_inverse=True)
    ask = np.zeros(len(same), bool)
    ask[first] = (some.spread[first] >= PLAIN) & (some.short[first] >= SMALLEST)
    rows = np.flatnonzero(ask & bool((some.short >= SMALL).any()))
    named = np.array([labels[i] or "" for i in same])[rows]
    found, limit = _near_pairs(some.take(rows), named)
    inside = np.asarray(rows[found[:, :2]], np.int64)
    alike = components(len(same), np.vstack([inside, _chains(pixels)]))
    groups, pairs = np.asarray(same[alike[exact]], np.int64), np.asarray(same[inside], np.int64)
    return Near(groups, pairs, limit, found[:, 2])


@dataclass(frozen=True)
class _Pictures:
    """What is kept in memory of each picture: little, so that many fit.

    Attributes:
        looks: of all rows.
        rows: (M,) which of them these pictures are.
        prints: (M,) equal where the pixels are.
        short: (M,) shorter sides in pixels.
        spread: (M,) how much detail there is, in grey levels; 0 where it is sparse.
        tones: (M, numbers) coarse colours.
        coarse: (M, 144) of length 1, the detail at half the resolution.
    """

    looks: Looks
    rows: Ints
    prints: Ints
    short: Ints
    spread: Floats
    tones: Floats
    coarse: Floats

    @classmethod
    def of(cls, looks: Looks, rows: Ints) -> _Pictures:
        """Those of `rows`, a block at a time."""
        blocks = []
        for start in range(0, len(rows), BLOCK):
            some = np.asarray(looks[rows[start : start + BLOCK]], np.float32)
            fine, spread = detail(greys(some))
            spread[filled(fine) < SPARSE] = 0.0
            short = sizes(some).min(1)
            blocks.append((prints(some), short, spread, colours(some).copy(), _coarse(fine)))
        columns: Any = (np.concatenate(column) for column in zip(*blocks, strict=True))
        return cls(looks, rows, *columns)

    def take(self, which: Ints) -> _Pictures:
        """Some of them."""
        columns: Any = (self.prints, self.short, self.spread, self.tones, self.coarse)
        return _Pictures(self.looks, self.rows[which], *(one[which] for one in columns))

    def details(self, which: Ints) -> Floats:
        """(K, SIDE, SIDE) of some of them; number i + t * M is picture i as it lies in way t."""
        ways, rows = np.divmod(which, len(self.rows))
        found = detail(greys(np.asarray(self.looks[self.rows[rows]], np.float32)))[0]
        for way in np.unique(ways[ways > 0]).tolist():
            found[ways == way] = laid(found[ways == way], way)
        return found


def components(count: int, pairs: Ints) -> Ints:
    """(count,) the smallest row that each row is joined with by a chain of `pairs`."""
    return np.array(linked(count, pairs.tolist()), np.int64)


def _chains(values: NDArray[np.int64]) -> Ints:
    """(P, 2) pairs that join all rows of equal value."""
    order = np.argsort(values, kind="stable")
    equal = values[order][1:] == values[order][:-1]
    return np.stack([order[:-1][equal], order[1:][equal]], axis=1)


def _near_pairs(some: _Pictures, labels: NDArray[np.str_]) -> tuple[Ints, float]:
    """(P, 3) pairs of rows that are near, sorted, with the way of the second; and the limit."""
    candidates = _candidates(some.coarse)
    fair = some.short[candidates[:, :2]].max(1, initial=0) >= SMALL
    candidates = candidates[fair & _same_colours(some.tones, candidates)]
    if not len(candidates):
        return candidates, LIMIT
    limit = min(LIMIT, _limit(some, labels))
    asked = candidates[:, :2].copy()
    asked[:, 1] += candidates[:, 2] * len(some.rows)
    left = unexplained(some.details, asked, finish=2 * limit)
    near = left < np.where(candidates[:, 2] > 0, TURNED * limit, limit)
    return _unchained(some, labels, candidates[near], left[near], limit), limit


def _same_colours(tones: Floats, pairs: Ints) -> NDArray[np.bool_]:
    """(P,) whether colours differ in strength at most, or one picture has none."""
    one, two = tones[pairs[:, 0]], tones[pairs[:, 1]]
    for way in range(1, WAYS):
        here = pairs[:, 2] == way
        grids = two[here].reshape(-1, TONES, TONES, 2)
        two[here] = laid(grids, way).reshape(-1, two.shape[1])
    square = (one**2).mean(1), (two**2).mean(1)
    grey = np.minimum(*square) < GREY**2
    likeness = (one * two).mean(1) / np.sqrt(np.maximum(square[0] * square[1], 1e-9))
    alike = ((one - two) ** 2).mean(1) < TINGE**2
    return np.asarray(grey | alike | (likeness > HUE))


def _coarse(details: Floats) -> Floats:
    """(N, 144) of length 1: the detail at half the resolution."""
    half = SIDE // 2
    small = details.reshape(-1, half, 2, half, 2).mean((2, 4)).reshape(-1, half * half)
    length = np.linalg.norm(small, axis=1, keepdims=True)
    return np.asarray(small / np.maximum(length, 1e-6), np.float32)


def _candidates(coarse: Floats) -> Ints:
    """(P, 3) pairs worth registering and the way of the second, each once, the smaller row first.

    Every pair is looked at in every way, BLOCK x BLOCK at a time. Of the ways in which two
    pictures are alike the most alike one is kept.
    """
    best: list[tuple[Ints, Floats]] = []
    for way in range(WAYS):
        turned = coarse if way == 0 else coarse[:, places(SIDE // 2, way)]
        best += [_likest(coarse, turned, start, way) for start in range(0, len(coarse), BLOCK)]
    pairs = np.concatenate([np.empty((0, 3), np.int64), *(found for found, _ in best)])
    values = np.concatenate([np.empty(0, np.float32), *(found for _, found in best)])
    swapped = pairs[:, 0] > pairs[:, 1]
    pairs[swapped] = np.stack(
        [pairs[swapped, 1], pairs[swapped, 0], back(pairs[swapped, 2])], axis=1
    )
    order = np.lexsort((pairs[:, 2], -values, pairs[:, 1], pairs[:, 0]))
    pairs = pairs[order]
    first = np.ones(len(pairs), bool)
    first[1:] = (pairs[1:, :2] != pairs[:-1, :2]).any(1)
    return pairs[first]


def _likest(coarse: Floats, turned: Floats, start: int, way: int) -> tuple[Ints, Floats]:
    """(P, 3) the pairs of a block of rows with all others as they lie in a way; (P,) how alike.

    A turned pair is seen from its smaller block alone: from the other it is the same turned back.
    """
    rows = coarse[start : start + BLOCK]
    pairs, values = np.empty((0, 2), np.int64), np.empty(0, np.float32)
    for other in range(start if way else 0, len(coarse), BLOCK):
        likeness = rows @ turned[other : other + BLOCK].T
        if other == start:
            np.fill_diagonal(likeness, -1)
        found = np.flatnonzero(likeness > CANDIDATE)
        if len(found):
            one, two = np.divmod(found, likeness.shape[1])
            pairs = np.concatenate([pairs, np.stack([one + start, two + other], axis=1)])
            values = np.concatenate([values, likeness.ravel()[found]])
            keep = _best(pairs, values)
            pairs, values = pairs[keep], values[keep]
    return np.concatenate([pairs, np.full((len(pairs), 1), way)], axis=1), values


def _best(pairs: Ints, likeness: Floats) -> Ints:
    """Places of at most MOST_CANDIDATES pairs for each first row, the most alike."""
    order = np.lexsort((pairs[:, 1], -likeness, pairs[:, 0]))
    first = pairs[order, 0]
    rank = np.arange(len(order)) - np.searchsorted(first, first)
    return np.asarray(order[rank < MOST_CANDIDATES], np.int64)


def _limit(some: _Pictures, labels: NDArray[np.str_]) -> float:
    """CROSS of what pictures leave unexplained of the nearest one of another label."""
    rows = np.unique(np.linspace(0, len(labels) - 1, CALIBRATION).astype(np.int64))
    likeness = some.coarse[rows] @ some.coarse.T
    likeness[labels[rows][:, None] == labels] = -2
    other = likeness.argmax(1)
    known = likeness[np.arange(len(rows)), other] > -2
    if not known.any():  # one class only: there is nothing to learn it from
        return LIMIT
    pairs = np.stack([rows, other], axis=1)[known]
    return CROSS * float(np.quantile(unexplained(some.details, pairs, np.inf), CROSS_QUANTILE))


def _unchained(
    some: _Pictures, labels: NDArray[np.str_], pairs: Ints, left: Floats, limit: float
) -> Ints:
    """The pairs without those by which chains of half-alike pictures swallow a class.

    A group is let be if it is a small part of its classes, or if all its pictures are like the one
    in its middle: copies of one picture are. Else only pairs of half the limit hold: frames of a
    clip are as near as that.
    """
    of_class = Counter(labels.tolist())
    groups = components(len(labels), pairs[:, :2])
    cut = []
    for group, size in Counter(groups.tolist()).items():
        if size > FEW:
            rows = np.flatnonzero(groups == group)
            own = sum(of_class[label] for label in set(labels[rows].tolist()))
            if size > LARGE * own and not _round(some, rows, pairs, limit):
                cut.append(group)
    weak = np.isin(groups[pairs[:, 0]], cut) & (left >= limit / 2)
    return pairs[~weak]


def _round(some: _Pictures, rows: Ints, pairs: Ints, limit: float) -> bool:
    """Whether all of a group's pictures are like the one that most of them are near."""
    degree = np.bincount(pairs[:, :2].ravel(), minlength=len(some.rows))[rows]
    middle = rows[int(degree.argmax())]
    others = rows[rows != middle]
    likeness = [
        some.coarse[others][:, places(SIDE // 2, way)] @ some.coarse[middle] for way in range(WAYS)
    ]
    lying = others + np.argmax(likeness, axis=0) * len(some.rows)
    spokes = np.stack([np.full_like(others, middle), lying], axis=1)
    return bool((unexplained(some.details, spokes, np.inf) < 2 * limit).all())
