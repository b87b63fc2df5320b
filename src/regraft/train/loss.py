"""What training makes small, and why it sometimes is no number any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from regraft.plans import Recipe

#: A loss that grew by this factor within the steps before is one that a rate drove up.
GROWN = 2.0
NAMED = 3  # rows that a message names


class Loss:
    """Cross entropy of a batch, with smoothed labels and rows weighed by their class.

    The mean is over rows and not over their weights, so that a batch in parts adds up to the
    batch in one piece, whatever classes each part has.

    Args:
        recipe: label smoothing (Szegedy et al. 2016, arXiv:1512.00567) and class weights.
        labels: (N,) classes of the training rows, for the weights.
        n_classes: K.
        device: where the logits are.
    """

    def __init__(
        self, recipe: Recipe, labels: NDArray[np.int64], n_classes: int, device: str
    ) -> None:
        self._smoothing = recipe.label_smoothing
        self._weights: torch.Tensor | None = None
        if recipe.class_weights == "auto":
            weights = classes_weights(labels, n_classes)
            self._weights = torch.from_numpy(weights).float().to(device)

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean loss of the rows, a scalar.

        Args:
            logits: (B, K); computed with as float32.
            target: (B,) int64 classes, or (B, K) shares of classes.
        """
        smooth, weights = self._smoothing, self._weights
        if weights is None:
            return cross_entropy(logits.float(), target, label_smoothing=smooth)
        rows = cross_entropy(logits.float(), target, label_smoothing=smooth, reduction="none")
        own = target @ weights if target.ndim == 2 else weights[target]
        return (rows * own).mean()


def classes_weights(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """(K,) weights by inverse frequency (King & Zeng 2001); their mean over the rows is 1.

    All classes together weigh the same, as they do in balanced accuracy. A class without rows
    has weight 1, which nothing is multiplied by.

    Args:
        labels: (N,) classes 0..K-1.
        n_classes: K.
    """
    counts = np.bincount(labels, minlength=n_classes)
    there = counts > 0
    even = len(labels) / max(int(there.sum()), 1)
    return np.where(there, even / np.maximum(counts, 1), 1.0)


def cause(
    losses: Sequence[float],
    flows: Sequence[NDArray[Any]],
    amp: str,
    names: Sequence[str],
    in_f32: Callable[[], float] | None = None,
) -> str:
    """The likely cause, in words, of a loss that is no finite number.

    Args:
        losses: of the steps before, the newest last.
        flows: the arrays that went into the batch, (B, …) each.
        amp: 'f32' or 'bf16'.
        names: of the batch's rows.
        in_f32: computes the same batch's loss in float32; None if that cannot be asked.
    """
    bad = _not_finite(flows, names)
    if bad:
        return f"what went into it is not finite already, of {bad}: check these files"
    if amp == "bf16" and in_f32 is not None and np.isfinite(in_f32()):
        return "the same batch is finite in float32: set amp = 'f32'"
    rows = f"a batch with {_few(names)}"
    if len(losses) < 2:
        return f"at {rows}, at the beginning: the learning rate is too high, or the weights are bad"
    low = int(np.argmin(losses))
    last = losses[-1]
    if last > GROWN * losses[low]:
        steps = len(losses) - 1 - low
        return (
            f"at {rows}; the loss rose from {losses[low]:.3g} to {last:.3g} over the {steps} "
            "steps before, so the learning rate is too high: divide lr by 10"
        )
    return (
        f"at {rows}; the loss was {last:.3g} a step before and had not risen, so a single step was "
        "too long: divide lr by 10, or set clip = 1"
    )


def _not_finite(flows: Sequence[NDArray[Any]], names: Sequence[str]) -> str:
    """The names of the rows whose flow has numbers that are none; '' if there are none."""
    bad = np.zeros(len(names), bool)
    for array in flows:
        if np.issubdtype(array.dtype, np.floating):
            bad |= ~np.isfinite(array.reshape(len(names), -1)).all(axis=1)
    return _few([name for name, is_bad in zip(names, bad, strict=True) if is_bad])


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:NAMED])
    left = len(names) - NAMED
    return f"{shown} and {left} more" if left > 0 else shown
