"""How much of one picture another explains, once it is shifted, scaled, turned and brightened.

Lucas and Kanade (1981): where pictures differ by a small motion, their difference is a sum of their
gradients. What no such sum explains is what tells them apart; as a measure of likeness this is the
tangent distance of Simard, LeCun and Denker (1993).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from regraft.data.look import SIDE

Floats = NDArray[np.float32]

FARTHEST = 1.5  # cells that anything may move
CHUNK = 256  # pairs that are in memory at once
_WIDE = 7  # blurs that make the background of a picture
_BACKGROUND = np.float32(0.8)  # share of it that is taken away
_PLACES = ((np.arange(SIDE) - (SIDE - 1) / 2) / (SIDE / 2)).astype(np.float32)
_Y, _X = np.meshgrid(_PLACES, _PLACES, indexing="ij")


def detail(greys: Floats) -> tuple[Floats, Floats]:
    """(N, SIDE, SIDE) of mean 0 and length 1 without the background, and (N,) how much there is.

    Args:
        greys: (N, SIDE, SIDE) from 0 to 255.

    Returns:
        the details, and their standard deviations in grey levels.
    """
    once = _blur(1)
    often = np.linalg.matrix_power(once, _WIDE)
    found = once @ greys @ once.T - _BACKGROUND * (often @ greys @ often.T)
    found -= found.mean((1, 2), keepdims=True)
    spread = np.sqrt((found**2).mean((1, 2)))
    found /= (np.maximum(spread, 1e-3) * SIDE)[:, None, None]
    return found, spread


def filled(details: Floats) -> Floats:
    """(N,) over how many cells the detail is spread: 1 for a dot, SIDE squared for even noise.

    The participation ratio (Σd²)² / Σd⁴. One photo in a hundred has less than 43 to 55, a mark on
    plain ground 5 to 18: two of those look alike without being one picture.
    """
    power = (details.reshape(len(details), -1).astype(np.float64)) ** 2
    return np.asarray(power.sum(1) ** 2 / np.maximum((power**2).sum(1), 1e-300), np.float32)


def unexplained(
    details: Callable[[NDArray[np.int64]], Floats], pairs: NDArray[np.int64], finish: float
) -> Floats:
    """(P,) share of the detail, 0 to 1, that is left unexplained; the mean of both ways.

    Args:
        details: for rows their details, (rows, SIDE, SIDE) as `detail` gives them.
        pairs: (P, 2) rows.
        finish: pairs that leave more than this after one step are not looked at any closer: a
            second step explains half of what is left at most.
    """
    out = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), CHUNK):
        one, two = (details(pairs[start : start + CHUNK, side]) for side in (0, 1))
        there, moved = _register(one, two, None)
        back, moved_back = _register(two, one, None)
        go = np.flatnonzero(np.sqrt((there + back) / 2) < finish)
        if len(go):
            again, _ = _register(one[go], two[go], moved[go])
            there[go] = np.minimum(there[go], again)
            again, _ = _register(two[go], one[go], moved_back[go])
            back[go] = np.minimum(back[go], again)
        out[start : start + CHUNK] = np.sqrt((there + back) / 2)
    return out


def _register(moving: Floats, still: Floats, motion: Floats | None) -> tuple[Floats, Floats]:
    """One Gauss-Newton step on brightness, contrast and an affine motion.

    The margins of `still` are left out, since what moves in there is not known.

    Args:
        moving: (P, SIDE, SIDE).
        still: (P, SIDE, SIDE).
        motion: (P, 6) in cells, where an earlier step ended.

    Returns:
        (P,) the squared share of `still` that is left, and (P, 6) the motion found.
    """
    goal = still[:, 1:-1, 1:-1].reshape(len(still), -1)
    goal = goal - goal.mean(1, keepdims=True)
    basis = _tangents(moving if motion is None else _moved(moving, motion))
    matrix = basis @ basis.swapaxes(1, 2)
    firm = 1e-5 * np.einsum("pkk->p", matrix)[:, None, None] / len(matrix[0])
    matrix = matrix + firm * np.eye(len(matrix[0]), dtype=np.float32)
    weights = np.linalg.solve(matrix, basis @ goal[..., None])
    rest = goal - (basis.swapaxes(1, 2) @ weights)[..., 0]
    left = (rest**2).sum(1) / np.maximum((goal**2).sum(1), 1e-9)
    contrast = np.where(np.abs(weights[:, 1]) > 0.1, weights[:, 1], 1)
    moves = weights[:, 2:, 0] / contrast + (0 if motion is None else motion)
    return np.minimum(left, 1), np.clip(moves, -FARTHEST, FARTHEST).astype(np.float32)


def _blur(times: int) -> Floats:
    """(SIDE, SIDE) what gives each cell a quarter, half, quarter of its neighbours."""
    once = np.zeros((SIDE, SIDE), np.float32)
    for cell in range(SIDE):
        for beside, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
            once[cell, min(max(cell + beside, 0), SIDE - 1)] += weight
    return np.linalg.matrix_power(once, times)


def _tangents(pictures: Floats) -> Floats:
    """(P, 8, cells): what brightness, contrast and the six affine motions change."""
    down, across = (np.asarray(side, np.float32) for side in np.gradient(pictures, axis=(1, 2)))
    parts = (
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
