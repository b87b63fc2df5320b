"""The tutorials' head: Dense, ReLU and dropout, once or more, then softmax; trained with torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import HeadError
from regraft.heads.calibrate import log_prior
from regraft.heads.fitted import HELD_OUT, K_FOLD, HeldOut, Tuned
from regraft.heads.folds import fair, split_out
from regraft.heads.layers import Layer, Layers, Relu, Scale, affine
from regraft.heads.logistic import spread_over
from regraft.heads.moments import columns
from regraft.heads.rows import Rows, spans

FOLDS = 5
MOST_EPOCHS = 100
UNLEARNED = 20  # epochs where no row tells


class Mlp:
    """Dense layers with ReLU and dropout on scaled features; one sigmoid for two classes.

    How many epochs to train is chosen where the mean log-loss of left-out rows is least: all folds
    train side by side, and training stops when none of `patience` further epochs was better. The
    final head trains that many epochs on all rows: 20 where every row is alone in its class. Only
    training needs torch; answers do not.

    Args:
        hidden: widths of the dense layers, e.g. (128,), (256,), (512, 128).
        dropout: share of hidden values silenced while training.
        rate: Adam's learning rate.
        batch: rows per step.
        patience: epochs without a better log-loss before the search ends.
        epochs: how many to train; chosen if None.
    """

    SETTLED = ("hidden", "dropout", "rate", "batch", "epochs")

    def __init__(
        self,
        hidden: Sequence[int] = (256,),
        dropout: float = 0.3,
        rate: float = 1e-3,
        batch: int = 64,
        patience: int = 5,
        epochs: int | None = None,
    ) -> None:
        if not hidden or any(width < 1 for width in hidden):
            raise HeadError(f"hidden must be one or more widths above 0, not {hidden!r}.")
        if not 0 <= dropout < 1:
            raise HeadError(f"dropout must lie in 0..1, below 1, not {dropout}.")
        self.hidden, self.dropout = tuple(hidden), dropout
        if epochs is not None and epochs < 1:
            raise HeadError(f"epochs must be 1 or more, not {epochs}.")
        self.rate, self.batch, self.patience, self.epochs = rate, batch, patience, epochs

    def tune(
        self,
        rows: Rows,
        labels: NDArray[np.int64],
        n_classes: int,
        *,
        seed: int,
        groups: NDArray[Any] | None,
        held_out: HeldOut | None,
    ) -> Tuned:
        """Choose the number of epochs; see `Head.tune`."""
        from regraft.heads.mlp_train import best_epochs

        scale = _scaling(rows)
        x = _scaled(rows, scale)
        if held_out is None:
            fold = split_out(labels, FOLDS, seed=seed, groups=groups)
            truth, data, kind, told = labels, x, K_FOLD, fair(labels, fold)
            parts = [np.flatnonzero(fold != f) for f in range(int(fold.max()) + 1)]
            parts = [part for part in parts if len(part)]
        else:
            data = np.concatenate([x, _scaled(held_out.rows, scale)])
            labels = np.concatenate([labels, held_out.labels])
            truth, kind, parts = held_out.labels, HELD_OUT, [np.arange(len(x))]
            told = None
        asked = np.arange(len(x), len(data)) if told is None else np.flatnonzero(told)
        most = MOST_EPOCHS if len(asked) else UNLEARNED
        if self.epochs is not None:  # where nobody asks, all of `most` are trained
            asked, most = asked[:0], self.epochs
        epochs, scores = best_epochs(self, data, labels, n_classes, parts, asked, seed, most)
        settings = {
            "hidden": list(self.hidden),
            "dropout": self.dropout,
            "rate": self.rate,
            "batch": self.batch,
            "epochs": epochs,
        }
        return Tuned(settings, scores[-len(truth) :], kind, fair=told)

    def solve(
        self,
        rows: Rows,
        labels: NDArray[np.int64],
        n_classes: int,
        settings: Mapping[str, Any],
        *,
        seed: int,
    ) -> Layers:
        """Train `settings['epochs']` epochs on all rows."""
        from regraft.heads.mlp_train import train

        scale = _scaling(rows)
        dense = train(self, _scaled(rows, scale), labels, n_classes, int(settings["epochs"]), seed)
        chain: list[Layer] = [scale]
        for weight, bias in dense[:-1]:
            chain += [affine(np.zeros(len(weight)), weight, bias), Relu()]
        weight, bias = dense[-1]
        evidence = spread_over(bias[None])[0] - log_prior(labels, n_classes)
        last = affine(np.zeros(len(weight)), spread_over(weight), evidence)
        return Layers((*chain, last))


def _scaling(rows: Rows) -> Scale:
    shift, scale = columns(rows)
    return Scale(shift.astype(np.float32), (1.0 / scale).astype(np.float32))


def _scaled(rows: Rows, scale: Scale) -> NDArray[np.float32]:
    out = np.empty(rows.shape, np.float32)
    for part in spans(len(rows)):
        out[part] = scale(np.asarray(rows[part], np.float32))
    return out
