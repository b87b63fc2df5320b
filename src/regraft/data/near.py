"""Near duplicates: pictures that are one picture saved, resized, cropped or filmed twice.

Two pictures are near if little of one is left unexplained once the other is shifted, scaled,
turned, brightened and given more contrast by a little. What is compared is detail: the grey
picture less its own blur, so that a sky or a plain sheet of steel is no likeness. Steps:

    equal bytes, equal pixels ─► one group, whatever they show
    coarse detail, (N, 144), every pair by matrix products ─► few candidates
    registration of each candidate ─► share of the detail left unexplained
    below the limit, colours alike ─► near; chains of near pairs ─► groups

The limit is absolute (distinct photos leave 0.53 and more, steel textures 0.31; 98 % of copies at
most 0.27), and lower where pictures of different classes come closer than photos do. Pictures
without detail, and ones too small to have any, are never near unless their pixels are equal.

Memory is bounded whatever N is; time grows with its square, about a second for 10,000 pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regraft.data.look import SIDE, colours, greys, prints, sizes
from regraft.data.registration import Floats, detail, unexplained

Ints = NDArray[np.int64]

LIMIT = 0.27  # share of the detail that may be left unexplained
SMALL = 32  # pixels of the shorter side below which pictures have no detail to compare
SMALLEST = 12  # the same where a small picture is compared with one that is not
PLAIN = 1.5  # standard deviation of the detail in grey levels, of 255, below which there is none
CROSS = 0.35  # the limit as a share of what the nearest of another class leave
CROSS_QUANTILE = 0.25  # which of those: up to a quarter of the labels may be wrong
CALIBRATION = 64  # pictures that are looked at for it
CANDIDATE = 0.65  # correlation of the coarse detail that makes a pair worth registering
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
    """

    groups: Ints
    pairs: Ints
    limit: float


def near_groups(looks: Floats | None, digests: Sequence[str], labels: Sequence[str | None]) -> Near:
    """Groups of rows that are alike. The order of the rows changes nothing but their numbers.

    Args:
        looks: (N, numbers) as `data.look` makes them; None where there are none.
        digests: of each row's bytes.
        labels: of each row, to learn how near different things come.
    """
    _, same, exact = np.unique(np.array(digests, str), return_index=True, return_inverse=True)
    if looks is None or not len(digests):
        return Near(np.asarray(same[exact], np.int64), np.empty((0, 2), np.int64), 0.0)
    # One row for each content, in the order of the digests: so is all that follows.
    some = np.asarray(looks[same], np.float32)
    _, first, pixels = np.unique(prints(some), return_index=True, return_inverse=True)
    details, spread = detail(greys(some))
    ask = np.zeros(len(some), bool)
    short = sizes(some).min(1)
    ask[first] = (spread[first] >= PLAIN) & (short[first] >= SMALLEST) & (short.max() >= SMALL)
    rows = np.flatnonzero(ask)
    named = np.array([labels[i] or "" for i in same])[rows]
    pairs, limit = _near_pairs(details[rows], some[rows], named)
    inside = np.asarray(rows[pairs], np.int64)
    alike = components(len(some), np.vstack([inside, _chains(pixels)]))
    return Near(np.asarray(same[alike[exact]], np.int64), np.asarray(same[inside], np.int64), limit)


def components(count: int, pairs: Ints) -> Ints:
    """(count,) the smallest row that each row is joined with by a chain of `pairs`."""
    root = list(range(count))

    def top(row: int) -> int:
        while root[row] != row:
            root[row] = root[root[row]]
            row = root[row]
        return row

    for one, other in pairs.tolist():
        a, b = top(one), top(other)
        root[max(a, b)] = min(a, b)
    return np.array([top(row) for row in range(count)], np.int64)


def _chains(values: NDArray[np.int64]) -> Ints:
    """(P, 2) pairs that join all rows of equal value."""
    order = np.argsort(values, kind="stable")
    equal = values[order][1:] == values[order][:-1]
    return np.stack([order[:-1][equal], order[1:][equal]], axis=1)


def _near_pairs(details: Floats, looks: Floats, labels: NDArray[np.str_]) -> tuple[Ints, float]:
    """(P, 2) pairs of rows that are near, sorted, and the limit."""
    coarse = _coarse(details)
    candidates = _candidates(coarse)
    fair = sizes(looks).min(1)[candidates].max(1) >= SMALL
    candidates = candidates[fair & _same_colours(colours(looks), candidates)]
    if not len(candidates):
        return candidates, LIMIT
    limit = min(LIMIT, _limit(details, coarse, labels))
    left = unexplained(details, candidates, finish=2 * limit)
    near = left < limit
    return _unchained(details, labels, candidates[near], left[near], limit), limit


def _same_colours(tones: Floats, pairs: Ints) -> NDArray[np.bool_]:
    """(P,) whether colours differ in strength at most, or one picture has none."""
    one, two = tones[pairs[:, 0]], tones[pairs[:, 1]]
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
    """(P, 2) pairs worth registering, each once and sorted, the smaller row first.

    Every pair is looked at, BLOCK x BLOCK at a time.
    """
    best: list[Ints] = [np.empty((0, 2), np.int64)]
    for start in range(0, len(coarse), BLOCK):
        rows = coarse[start : start + BLOCK]
        pairs, values = np.empty((0, 2), np.int64), np.empty(0, np.float32)
        for other in range(0, len(coarse), BLOCK):
            likeness = rows @ coarse[other : other + BLOCK].T
            if other == start:
                np.fill_diagonal(likeness, -1)
            found = np.flatnonzero(likeness > CANDIDATE)
            if len(found):
                one, two = np.divmod(found, likeness.shape[1])
                pairs = np.concatenate([pairs, np.stack([one + start, two + other], axis=1)])
                values = np.concatenate([values, likeness.ravel()[found]])
                keep = _best(pairs, values)
                pairs, values = pairs[keep], values[keep]
        best.append(pairs)
    return np.unique(np.sort(np.concatenate(best), axis=1), axis=0)


def _best(pairs: Ints, likeness: Floats) -> Ints:
    """Places of at most MOST_CANDIDATES pairs for each first row, the most alike."""
    order = np.lexsort((pairs[:, 1], -likeness, pairs[:, 0]))
    first = pairs[order, 0]
    rank = np.arange(len(order)) - np.searchsorted(first, first)
    return np.asarray(order[rank < MOST_CANDIDATES], np.int64)


def _limit(details: Floats, coarse: Floats, labels: NDArray[np.str_]) -> float:
    """CROSS of what pictures leave unexplained of the nearest one of another label."""
    rows = np.unique(np.linspace(0, len(labels) - 1, CALIBRATION).astype(np.int64))
    likeness = coarse[rows] @ coarse.T
    likeness[labels[rows][:, None] == labels] = -2
    other = likeness.argmax(1)
    known = likeness[np.arange(len(rows)), other] > -2
    if not known.any():  # one class only: there is nothing to learn it from
        return LIMIT
    pairs = np.stack([rows, other], axis=1)[known]
    return CROSS * float(np.quantile(unexplained(details, pairs, np.inf), CROSS_QUANTILE))


def _unchained(
    details: Floats, labels: NDArray[np.str_], pairs: Ints, left: Floats, limit: float
) -> Ints:
    """The pairs without those by which chains of half-alike pictures swallow a class.

    A group is let be if it is a small part of its classes, or if all its pictures are like the one
    in its middle: copies of one picture are. Else only pairs of half the limit hold: frames of a
    clip are as near as that.
    """
    of_class = Counter(labels.tolist())
    groups = components(len(details), pairs)
    cut = []
    for group, size in Counter(groups.tolist()).items():
        if size > FEW:
            rows = np.flatnonzero(groups == group)
            own = sum(of_class[label] for label in set(labels[rows].tolist()))
            if size > LARGE * own and not _round(details, rows, pairs, limit):
                cut.append(group)
    weak = np.isin(groups[pairs[:, 0]], cut) & (left >= limit / 2)
    return pairs[~weak]


def _round(details: Floats, rows: Ints, pairs: Ints, limit: float) -> bool:
    """Whether all of a group's pictures are like the one that most of them are near."""
    degree = np.bincount(pairs.ravel(), minlength=len(details))[rows]
    middle = rows[int(degree.argmax())]
    others = rows[rows != middle]
    spokes = np.stack([np.full_like(others, middle), others], axis=1)
    return bool((unexplained(details, spokes, np.inf) < 2 * limit).all())
