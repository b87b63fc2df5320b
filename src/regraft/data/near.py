"""Near duplicates: pictures that are one picture saved, resized, cropped or filmed twice.

Two pictures are near if little of one is left unexplained once the other is shifted, scaled,
turned, brightened and given more contrast by a little. What is compared is detail: the grey
picture less its own blur, so that a sky or a plain sheet of steel is no likeness. Steps:

    equal bytes, equal pixels ─► one group, whatever they show
    coarse detail, (N, 144), every pair by matrix products ─► few candidates
    registration of each candidate (Lucas and Kanade 1981; tangent distance, Simard et al. 1993)
    ─► share of the detail left unexplained, 0 to 1; near below a limit ─► connected components

The limit is absolute (distinct photos leave 0.53 and more, steel textures 0.31, copies at most
0.27), and lower where pictures of different classes come closer than photos do. Pictures without
detail, and ones too small to have any, are never near unless their pixels are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regraft.data.look import SIDE, greys, prints, sizes

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

LIMIT = 0.27  # share of the detail that may be left unexplained
SMALLEST = 32  # pixels of the shorter side below which a picture has no detail to compare
PLAIN = 1.5  # standard deviation of the detail in grey levels, of 255, below which there is none
CROSS = 0.4  # the limit as a share of what the nearest of another class leave
CROSS_QUANTILE = 0.25  # which of those: up to a quarter of the labels may be wrong
CALIBRATION = 128  # pictures that are looked at for it
CANDIDATE = 0.7  # correlation of the coarse detail that makes a pair worth registering
MOST_CANDIDATES = 16  # per picture, the best
STEPS = 3  # of registration
BLOCK = 2048  # pictures whose pairs are in memory at once: BLOCK x BLOCK float32
CHUNK = 256  # pairs that are registered at once


@dataclass(frozen=True)
class Near:
    """Which rows are alike.

    Attributes:
        groups: (N,) equal for rows of equal bytes, equal pixels or near ones, and for rows that
            a chain of such pairs joins.
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
        return Near(exact.astype(np.int64), np.empty((0, 2), np.int64), 0.0)
    # `same` is one row for each content, in the order of the digests: so is all that follows.
    some = np.asarray(looks[same], np.float32)
    _, first, pixels = np.unique(prints(some), return_index=True, return_inverse=True)
    detail, can = _detail(some)
    ask = np.zeros(len(some), bool)
    ask[first] = True
    rows = np.flatnonzero(ask & can)
    named = np.array([labels[i] or "" for i in same])[rows]
    pairs, limit = _near_pairs(detail[rows], named)
    inside = rows[pairs]
    alike = components(len(some), np.vstack([inside, _chains(pixels)]))
    return Near(alike[exact], same[inside].astype(np.int64), limit)


def components(count: int, pairs: Ints) -> Ints:
    """(count,) the smallest row that each row is joined with by a chain of `pairs`."""
    root = np.arange(count)

    def top(row: int) -> int:
        while root[row] != row:
            root[row] = root[root[row]]
            row = root[row]
        return row

    for one, other in pairs.tolist():
        a, b = top(one), top(other)
        root[max(a, b)] = min(a, b)
    return np.array([top(row) for row in range(count)], np.int64)


def _chains(labels: NDArray[np.int64]) -> Ints:
    """(P, 2) pairs of rows that join all rows of equal label."""
    order = np.argsort(labels, kind="stable")
    equal = labels[order][1:] == labels[order][:-1]
    return np.stack([order[:-1][equal], order[1:][equal]], axis=1)


def _detail(looks: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """(N, SIDE, SIDE) of mean 0 and length 1, and (N,) whether there is any to compare."""
    fine = _blur(greys(looks), 1)
    detail = fine - 0.8 * _blur(fine, 6)
    detail = detail - detail.mean((1, 2), keepdims=True)
    spread = np.sqrt((detail**2).mean((1, 2)))
    detail /= np.maximum(spread, 1e-3)[:, None, None] * SIDE
    return detail, (spread >= PLAIN) & (sizes(looks).min(1) >= SMALLEST)


def _blur(pictures: Floats, times: int) -> Floats:
    """Each cell as a quarter, half, quarter of its neighbours, along both axes."""
    for _ in range(times):
        for axis in (1, 2):
            wide = [(0, 0)] * 3
            wide[axis] = (1, 1)
            padded = np.pad(pictures, wide, "edge")
            at = [slice(None)] * 3
            parts = []
            for start in range(3):
                at[axis] = slice(start, start + SIDE)
                parts.append(padded[tuple(at)])
            pictures = (parts[0] + 2 * parts[1] + parts[2]) * np.float32(0.25)
    return pictures


def _near_pairs(detail: Floats, labels: NDArray[np.str_]) -> tuple[Ints, float]:
    """(P, 2) pairs of rows that are near, sorted, and the limit."""
    candidates = _candidates(_coarse(detail))
    left = _unexplained(detail, candidates)
    limit = LIMIT
    if (left < limit).any():
        limit = min(limit, _limit(detail, labels))
    return candidates[left < limit], limit


def _coarse(detail: Floats) -> Floats:
    """(N, 144) of length 1: the detail at half the resolution."""
    half = SIDE // 2
    small = detail.reshape(-1, half, 2, half, 2).mean((2, 4)).reshape(len(detail), half * half)
    length = np.linalg.norm(small, axis=1, keepdims=True)
    return np.asarray(small / np.maximum(length, 1e-6), np.float32)


def _candidates(coarse: Floats) -> Ints:
    """(P, 2) pairs worth registering, each once, the smaller row first.

    All pairs are looked at, BLOCK x BLOCK at a time.
    """
    best: list[Ints] = [np.empty((0, 2), np.int64)]
    for start in range(0, len(coarse), BLOCK):
        rows = coarse[start : start + BLOCK]
        found: list[Ints] = []
        values: list[Floats] = []
        for other in range(0, len(coarse), BLOCK):
            likeness = rows @ coarse[other : other + BLOCK].T
            if other == start:
                np.fill_diagonal(likeness, -1)
            one, two = np.nonzero(likeness > CANDIDATE)
            found.append(np.stack([one + start, two + other], axis=1))
            values.append(likeness[one, two])
        best.append(_best(np.concatenate(found), np.concatenate(values)))
    pairs = np.sort(np.concatenate(best), axis=1)
    return np.unique(pairs, axis=0) if len(pairs) else pairs


def _best(pairs: Ints, likeness: Floats) -> Ints:
    """Of each first row at most MOST_CANDIDATES pairs, the most alike."""
    order = np.lexsort((pairs[:, 1], -likeness, pairs[:, 0]))
    pairs = pairs[order]
    starts = np.searchsorted(pairs[:, 0], pairs[:, 0])
    return pairs[np.arange(len(pairs)) - starts < MOST_CANDIDATES]


def _limit(detail: Floats, labels: NDArray[np.str_]) -> float:
    """CROSS of what pictures of different labels leave unexplained at their nearest."""
    rows = np.unique(np.linspace(0, len(labels) - 1, CALIBRATION).astype(np.int64))
    coarse = _coarse(detail)
    nearest = []
    for row in rows.tolist():
        likeness = coarse @ coarse[row]
        likeness[labels == labels[row]] = -2
        other = int(likeness.argmax())
        if likeness[other] > -2:
            nearest.append((row, other))
    if not nearest:  # one class only: there is nothing to learn it from
        return LIMIT
    left = _unexplained(detail, np.array(nearest, np.int64), finish=2.0)
    return CROSS * float(np.quantile(left, CROSS_QUANTILE))


def _unexplained(detail: Floats, pairs: Ints, finish: float = 2 * LIMIT) -> Floats:
    """(P,) share of the detail that registration leaves unexplained, the mean of both ways.

    Pairs that start above `finish` are not registered further: no photo comes from there to LIMIT.
    """
    out = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), CHUNK):
        one, two = detail[pairs[start : start + CHUNK]].swapaxes(0, 1)
        there, back = _registered(one, two, 0), _registered(two, one, 0)
        left = np.sqrt((there + back) / 2)
        go = np.flatnonzero(left < finish)
        if len(go):
            there, back = _registered(one[go], two[go], STEPS), _registered(two[go], one[go], STEPS)
            left[go] = np.sqrt((there + back) / 2)
        out[start : start + CHUNK] = left
    return out


_PLACES = ((np.arange(SIDE) - (SIDE - 1) / 2) / (SIDE / 2)).astype(np.float32)
_Y, _X = np.meshgrid(_PLACES, _PLACES, indexing="ij")


def _registered(moving: Floats, still: Floats, steps: int) -> Floats:
    """(P,) squared share of `still` that `moving` leaves unexplained, (P, SIDE, SIDE) both.

    Gauss-Newton on brightness, contrast and an affine motion of up to a cell and a half; the best
    of all steps. Margins are left out, since what moves in there is not known.
    """
    goal = still[:, 1:-1, 1:-1].reshape(len(still), -1)
    goal = goal - goal.mean(1, keepdims=True)
    whole = np.maximum((goal**2).sum(1), 1e-9)
    motion = np.zeros((len(still), 6), np.float32)
    best = np.full(len(still), np.inf, np.float32)
    for step in range(steps + 1):
        basis = _tangents(_moved(moving, motion) if step else moving)
        matrix = basis @ basis.swapaxes(1, 2)
        trace = np.einsum("pkk->p", matrix)[:, None, None] / len(matrix[0])
        matrix = matrix + 1e-5 * trace * np.eye(len(matrix[0]), dtype=np.float32)
        weights = np.linalg.solve(matrix, basis @ goal[..., None])
        rest = goal - (basis.swapaxes(1, 2) @ weights)[..., 0]
        best = np.minimum(best, (rest**2).sum(1) / whole)
        contrast = np.where(np.abs(weights[:, 1]) > 0.1, weights[:, 1], 1)
        moves = weights[:, 2:, 0] / contrast
        motion = np.clip(motion + moves, -1.5, 1.5).astype(np.float32)
    return best


def _tangents(pictures: Floats) -> Floats:
    """(P, 8, cells): what brightness, contrast and the six affine motions change."""
    down, across = np.gradient(pictures, axis=(1, 2))
    parts: tuple[Floats, ...] = (
        np.ones_like(pictures),
        pictures,
        across,
        down,
        _X * across,
        _Y * down,
        _Y * across,
        _X * down,
    )
    cut = [part[:, 1:-1, 1:-1].reshape(len(pictures), -1) for part in parts]
    return np.stack(cut, axis=1).astype(np.float32, copy=False)


def _moved(pictures: Floats, motion: Floats) -> Floats:
    """Each picture read at places that `motion` moves, in cells, linearly between cells."""
    right, down, wider, taller, slant, lean = (motion[:, i, None, None] for i in range(6))
    cells = np.arange(SIDE, dtype=np.float32)
    x = np.clip(cells + right + wider * _X + slant * _Y, 0, SIDE - 1.001)
    y = np.clip(cells[:, None] + down + taller * _Y + lean * _X, 0, SIDE - 1.001)
    left, top = x.astype(np.int64), y.astype(np.int64)
    u, v = x - left, y - top
    which = np.arange(len(pictures))[:, None, None]
    upper = pictures[which, top, left] * (1 - u) + pictures[which, top, left + 1] * u
    lower = pictures[which, top + 1, left] * (1 - u) + pictures[which, top + 1, left + 1] * u
    return np.asarray(upper * (1 - v) + lower * v, np.float32)
