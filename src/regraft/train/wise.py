"""WiSE-FT: between the weights before training and those after.

theta(alpha) = (1 - alpha) · before + alpha · after, over all tensors, the head's too (Wortsman et
al. 2022, arXiv:2109.01903). Before is the network with its solved head; a mix often keeps most of
what was gained and loses less of what was known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regraft.errors import OptionError

Tensors = Mapping[str, torch.Tensor]
ALPHAS = tuple(step / 10 for step in range(11))
#: Log-losses nearer than this share of the least are one: validation cannot tell them apart.
TIE = 1e-3
HALF = 0.5


@dataclass(frozen=True)
class Point:
    """One place on the way, measured on the validation rows.

    Attributes:
        alpha: 0 is before training, 1 after.
        accuracy: 0..1.
        log_loss: mean negative log-probability of the true class.
        losses: (M,) of each row, if they are known.
    """

    alpha: float
    accuracy: float
    log_loss: float
    losses: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    def json(self) -> dict[str, float]:
        """Plain data."""
        return {"alpha": self.alpha, "accuracy": self.accuracy, "log_loss": self.log_loss}


def mix(live: Tensors, before: Tensors, after: Tensors, alpha: float) -> None:
    """Set the tensors of a module to theta(alpha), in place; at 0 and 1 to the bit.

    Args:
        live: the module's own tensors, by name.
        before: a value for each of them.
        after: a value for each of them. What is not a floating-point number is taken from here.
        alpha: 0..1.

    Raises:
        OptionError: alpha is out of range, or `before` lacks a tensor or has another shape.
    """
    if not 0.0 <= alpha <= 1.0:
        raise OptionError(f"wise must be 'off', 'auto' or an alpha in 0..1, not {alpha}.")
    with torch.no_grad():
        for name, tensor in live.items():
            end = after[name].to(tensor.device)
            if tensor.is_floating_point() and alpha < 1.0:
                start = _before(before, name, tensor)
                # An attention mask may hold infinity, of which no mean can be taken.
                mixed = torch.where(start == end, end, torch.lerp(start, end, alpha))
                end = start if alpha == 0.0 else mixed
            tensor.copy_(end)


def _before(before: Tensors, name: str, tensor: torch.Tensor) -> torch.Tensor:
    if name not in before or before[name].shape != tensor.shape:
        raise OptionError(
            f"wise mixes the weights before and after, and '{name}' had no such value before: it "
            "needs a plan whose first phase solves the head, as lpft, and adapters that are merged."
        )
    return before[name].to(tensor.device)


def curve(
    live: Tensors,
    before: Tensors,
    after: Tensors,
    score: Callable[[], tuple[Any, ...]],
    alphas: Sequence[float] = ALPHAS,
) -> list[Point]:
    """The validation at each alpha; the module is left at the last of them.

    Args:
        live: the module's own tensors, by name, changed in place.
        before: a value for each of them.
        after: a value for each of them.
        score: accuracy and log-loss of the module as it is at the moment, and perhaps the loss of
            each row.
        alphas: each 0..1.
    """
    found = []
    for alpha in alphas:
        mix(live, before, after, alpha)
        accuracy, log_loss, *losses = score()
        found.append(Point(alpha, float(accuracy), float(log_loss), losses[0] if losses else None))
    return found


def pick(points: Sequence[Point]) -> Point:
    """The point half way, unless another is better by more than noise.

    Half way is what the paper takes without any data to choose on. Another point has to beat it
    by one standard error of the paired difference over the rows, so that a few validation rows do
    not choose by luck. Where the losses of the rows are not known it is the point with the least
    log-loss, of those within 0.1 % of it the one nearest to before. Points without a finite
    log-loss are not taken.

    Raises:
        OptionError: there is no finite log-loss at all.
    """
    finite = [point for point in points if math.isfinite(point.log_loss)]
    if not finite:
        raise OptionError("wise=auto needs a finite validation log-loss at some alpha; got none.")
    least = min(point.log_loss for point in finite)
    near = [point for point in finite if point.log_loss <= least * (1 + TIE)]
    best = min(near, key=lambda point: point.alpha)
    half = next((point for point in finite if point.alpha == HALF), None)
    if half is None or half.losses is None or best.losses is None:
        return best
    gain = half.losses - best.losses
    noise = float(gain.std(ddof=1)) / len(gain) ** 0.5 if len(gain) > 1 else math.inf
    return best if float(gain.mean()) > noise else half
