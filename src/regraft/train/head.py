"""The head as training wants it, from a solved one or afresh, and back again.

A solved head gives scores; training wants logits of features of spread 1, so that one learning
rate suits every backbone. Both are the same function, written otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regraft.heads.calibrate import Calibration, balanced
from regraft.heads.fitted import HELD_OUT, FittedHead, Tuned, validate
from regraft.heads.layers import Affine, Layers, Scale, affine
from regraft.heads.rows import Rows, spans
from regraft.train.score import temperature

LEAST_SPREAD = 1e-6


def spread_of(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the columns of (N, D) features, (D,) each."""
    total = np.zeros(rows.shape[1])
    square = np.zeros(rows.shape[1])
    first = np.asarray(rows[slice(0, 1)], np.float64)[0]
    for part in spans(len(rows)):
        x = np.asarray(rows[part], np.float64) - first
        total += x.sum(axis=0)
        square += (x * x).sum(axis=0)
    mean = total / len(rows)
    return mean + first, np.sqrt(np.maximum(square / len(rows) - mean**2, 0.0))


def solved(fitted: FittedHead, rows: Rows) -> Layers:
    """The solved head as logits of standardised features: (B, D) to (B, K), the same function.

    Args:
        fitted: with its calibration, which becomes part of the last layer.
        rows: (N, D) features, for their spread. A column that is constant stays as it is.
    """
    chain = fitted.layers.chain
    last = chain[-1]
    assert isinstance(last, Affine)  # `heads.layers.restore` holds every head to it
    sharpness = fitted.calibration.sharpness
    weight = np.asarray(last.weight, np.float64) * sharpness
    bias = np.asarray(last.bias, np.float64) * sharpness + fitted.calibration.bias
    if len(chain) > 1:
        return Layers((*chain[:-1], affine(last.shift, weight, bias)))
    mean, spread = spread_of(rows)
    wide = np.where(spread > LEAST_SPREAD, spread, 1.0)
    bias = bias + (mean - last.shift) @ weight
    scale = Scale(mean.astype(np.float32), (1.0 / wide).astype(np.float32))
    return Layers((scale, affine(np.zeros(len(mean)), weight * wide[:, None], bias)))


def fresh(dim: int, n_classes: int, rows: Rows | None = None) -> Layers:
    """A head that knows nothing yet: all logits are 0.

    Args:
        dim: D, columns of the features.
        n_classes: K.
        rows: (N, D) features to standardise by; None where they will change beyond recognition.
    """
    mean, factor = np.zeros(dim, np.float32), np.ones(dim, np.float32)
    if rows is not None:
        centre, spread = spread_of(rows)
        mean = centre.astype(np.float32)
        factor = (1.0 / np.where(spread > LEAST_SPREAD, spread, 1.0)).astype(np.float32)
    plain = affine(np.zeros(dim), np.zeros((dim, n_classes)), np.zeros(n_classes))
    return Layers((Scale(mean, factor), plain))


def fitted(
    name: str,
    layers: Layers,
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    counts: NDArray[np.int64],
    balance: float,
) -> FittedHead:
    """A trained head that answers, its temperature from rows that it did not learn from.

    Args:
        name: the kind of the head it began as.
        layers: what training made of it.
        logits: (M, K) of the validation rows.
        labels: (M,) their classes.
        counts: (K,) training rows per class.
        balance: 0..1, see `regraft.heads.fitted.fit_head`.
    """
    found = temperature(logits, labels)
    bias = found.bias + (balanced(counts, balance) - balanced(counts, 0.0))
    calibration = Calibration(found.sharpness, np.asarray(bias, np.float64))
    told = validate(Tuned({}, logits, HELD_OUT), labels, calibration)
    return FittedHead(name, layers, calibration, {}, told)
