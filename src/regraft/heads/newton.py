"""Minimising a smooth convex function: Newton's method, its steps by conjugate gradients.

NumPy only, because importing scipy.optimize costs more than the whole fit of a small head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Product = Callable[[Float], Float]
Local = Callable[[Float], tuple[float, Float, Product]]


def minimise(
    local: Local, start: Float, *, tolerance: float = 1e-6, most: int = 100, inner: int = 200
) -> Float:
    """Where the gradient is below `tolerance` times (1 + its size at `start`).

    Truncated Newton (Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.1) with a
    backtracking line search.

    Args:
        local: point -> value, gradient, and a function that multiplies by the Hessian there.
        start: (P,) the first point.
        tolerance: of the largest entry of the gradient.
        most: Newton steps at most.
        inner: conjugate gradient steps per Newton step at most.
    """
    x = start
    value, gradient, product = local(x)
    goal = tolerance * (1.0 + float(np.abs(gradient).max(initial=0.0)))
    for _ in range(most):
        size = float(np.abs(gradient).max(initial=0.0))
        if size <= goal:
            break
        step = _newton_step(gradient, product, inner)
        slope = float(gradient @ step)
        length = 1.0
        while length > 1e-10:
            new = local(x + length * step)
            if new[0] <= value + 1e-4 * length * slope + 1e-15 * abs(value):
                break
            length *= 0.5
        else:
            break  # rounding hides any further descent
        x = x + length * step
        value, gradient, product = new
    return x


def _newton_step(gradient: Float, product: Product, inner: int) -> Float:
    """About -H⁻¹g; looser far from the minimum, where precision is wasted."""
    norm = float(np.sqrt(gradient @ gradient))
    enough = norm * min(0.5, norm**0.5)
    step = np.zeros_like(gradient)
    rest = -gradient
    direction = rest.copy()
    power = float(rest @ rest)
    for _ in range(inner):
        if power**0.5 <= enough:
            break
        curved = product(direction)
        curvature = float(direction @ curved)
        if curvature <= 1e-14 * float(direction @ direction):
            break
        length = power / curvature
        step += length * direction
        rest -= length * curved
        fresh = float(rest @ rest)
        direction = rest + (fresh / power) * direction
        power = fresh
    return step if step.any() else -gradient


def log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Row-wise logarithm of softmax of (N, K), without overflow."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
