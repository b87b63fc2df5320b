"""What a ridge head would have said of each row, had it not seen the row: exact, by algebra.

With H the matrix that turns targets into fits, the residual without a row is its residual over
1 - h (Allen 1974, Golub, Heath and Wahba 1979), and without a group G it is (I - H_GG)⁻¹ times the
group's residuals. The unpenalised intercept is the 1/n in H. A group of more rows than coordinates
is solved on the side of the coordinates (Woodbury).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import HeadError
from regraft.heads.folds import shared
from regraft.heads.moments import Float
from regraft.heads.rows import CHUNK, Rows, spans, take
from regraft.heads.spectrum import Spectrum

MOST_BYTES = 2 << 30  # of one group's coordinates in float64; its rows are looked at together
STEEP = 0.9  # above this share a row's own pull is computed again in float64


def leave_out(
    spectrum: Spectrum,
    t: Float,
    labels: NDArray[np.int64],
    penalty: float,
    groups: NDArray[Any] | None = None,
) -> Float:
    """(B, K) scores of rows with coordinates `t` (B, R) by the head without them.

    Each row alone is left out, or all rows of its group together; groups must be whole here.
    """
    fitted = spectrum.fit(t, penalty)
    own = 1.0 / spectrum.n + (t * t) @ spectrum.shrink(penalty)
    target = np.zeros_like(fitted)
    target[np.arange(len(labels)), labels] = 1.0
    out = target - (target - fitted) / (1.0 - own)[:, None]
    for members in shared(groups):
        rest = target[members] - fitted[members]
        if members.shape[1] <= t.shape[1]:
            half = t[members] * np.sqrt(spectrum.shrink(penalty))
            hat = half @ half.swapaxes(1, 2) + 1.0 / spectrum.n
            gone = np.linalg.solve(np.eye(members.shape[1]) - hat, rest)
        else:
            gone = np.stack([_without_many(spectrum, t[g], r, penalty)
                             for g, r in zip(members, rest, strict=True)])  # fmt: skip
        out[members] = target[members] - gone
    return np.asarray(out)


def _without_many(spectrum: Spectrum, t: Float, rest: Float, penalty: float) -> Float:
    """(M, K) residuals of M rows, more than coordinates, by the head without all of them.

    With T the coordinates and a one for the intercept, H = T S Tᵀ and (I - H)⁻¹ is
    I + T (S⁻¹ - TᵀT)⁻¹ Tᵀ, where S⁻¹ - TᵀT is the penalised Gram matrix of the rows that stay.
    """
    padded = np.concatenate([t, np.ones((len(t), 1))], axis=1)
    stays = np.diag(np.append(1.0 / spectrum.shrink(penalty), spectrum.n)) - padded.T @ padded
    return np.asarray(rest + padded @ np.linalg.solve(stays, padded.T @ rest))


def leave_out_all(
    spectrum: Spectrum,
    rows: Rows,
    labels: NDArray[np.int64],
    penalty: float,
    groups: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """(N, K) scores of all rows in a second streamed pass, in memory that does not grow with N.

    The pull of each row on its own fit is computed in float32 (relative error about 1e-6), and
    again in float64 for the few rows where 1 - h would magnify that, and for those that share a
    group.
    """
    out = np.empty((len(labels), len(spectrum.target)), np.float32)
    weight = spectrum.weight(penalty)
    narrow = (spectrum.vectors * np.sqrt(spectrum.shrink(penalty))).astype(np.float32)
    for part in spans(len(labels), CHUNK):
        x, truth = np.asarray(rows[part]), labels[part]
        wide = np.asarray(x, np.float64) - spectrum.shift
        fitted = wide @ weight + spectrum.target
        half = wide.astype(np.float32) @ narrow
        own = 1.0 / spectrum.n + np.einsum("ij,ij->i", half, half).astype(np.float64)
        target = np.zeros_like(fitted)
        target[np.arange(len(truth)), truth] = 1.0
        out[part] = target - (target - fitted) / (1.0 - own)[:, None]
        steep = np.flatnonzero(own > STEEP)
        if len(steep):
            t = spectrum.coordinates(x[steep])
            out[part.start + steep] = leave_out(spectrum, t, truth[steep], penalty)
    for members in shared(groups):
        index = members.ravel()
        t = spectrum.coordinates(take(rows, index))
        group = np.repeat(np.arange(len(members)), members.shape[1])
        out[index] = leave_out(spectrum, t, labels[index], penalty, group)
    return out


def refuse_large(largest: int, dim: int) -> None:
    """Refuse a group whose rows of `dim` columns do not fit into memory together.

    Raises:
        HeadError: `largest` rows are too many.
    """
    if 8 * largest * dim > MOST_BYTES:
        raise HeadError(
            f"A group of {largest} rows is too large to be left out exactly; groups may have up "
            f"to {MOST_BYTES // (8 * dim)} rows. Give validation rows instead."
        )
