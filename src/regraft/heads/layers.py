"""What every head is once it is fitted: a short chain of plain steps from features to scores.

A chain is data (names and arrays), so one function stores it, one checks what is read back, one
runs it with NumPy alone, and one (`regraft.heads.modules`) makes it a torch module for export.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import HeadError
from regraft.heads.rows import Rows, refuse_non_finite, spans

Float32 = NDArray[np.float32]

MOST_LAYERS = 16
TINY = 1e-12


@dataclass(frozen=True)
class Affine:
    """(x - shift) @ weight + bias: (B, D) to (B, M).

    The shift stays apart from the bias because features lie far from zero: folded into the bias
    in float32 it would cost digits.

    Attributes:
        shift: (D,) float32.
        weight: (D, M) float32.
        bias: (M,) float32.
    """

    shift: Float32
    weight: Float32
    bias: Float32

    def __call__(self, x: Float32) -> Float32:
        return np.asarray((x - self.shift) @ self.weight + self.bias)


@dataclass(frozen=True)
class Scale:
    """(x - shift) * factor, column by column: (B, D) to (B, D).

    Attributes:
        shift: (D,) float32.
        factor: (D,) float32; 0 silences a column.
    """

    shift: Float32
    factor: Float32

    def __call__(self, x: Float32) -> Float32:
        return np.asarray((x - self.shift) * self.factor)


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""

    def __call__(self, x: Float32) -> Float32:
        return np.maximum(x, 0)


@dataclass(frozen=True)
class Unit:
    """Every row divided by its Euclidean length."""

    def __call__(self, x: Float32) -> Float32:
        length = np.sqrt((x * x).sum(axis=1, keepdims=True))
        return np.asarray(x / np.maximum(length, np.float32(TINY)))


@dataclass(frozen=True)
class Signs:
    """x times a matrix of +1 and -1: (B, D) to (B, 8·M).

    Attributes:
        bits: (D, M) uint8, eight signs a byte, the highest bit first; 1 is +1.
    """

    bits: NDArray[np.uint8]

    @cached_property
    def weight(self) -> Float32:
        """(D, 8·M) float32."""
        return np.unpackbits(self.bits, axis=1).astype(np.float32) * 2 - 1

    def __call__(self, x: Float32) -> Float32:
        return np.asarray(x @ self.weight)


Layer = Affine | Scale | Signs | Relu | Unit
KINDS: dict[str, type[Layer]] = {
    "affine": Affine, "scale": Scale, "signs": Signs, "relu": Relu, "unit": Unit,
}  # fmt: skip
REAL, BYTE = np.dtype(np.float32), np.dtype(np.uint8)
ARRAYS: dict[str, tuple[tuple[str, np.dtype[Any], int], ...]] = {  # name, type, number of axes
    "affine": (("shift", REAL, 1), ("weight", REAL, 2), ("bias", REAL, 1)),
    "scale": (("shift", REAL, 1), ("factor", REAL, 1)),
    "signs": (("bits", BYTE, 2),),
    "relu": (),
    "unit": (),
}


def affine(shift: NDArray[Any], weight: NDArray[Any], bias: NDArray[Any]) -> Affine:
    """An `Affine` layer in float32, whatever precision it was solved in."""
    return Affine(*(np.ascontiguousarray(a, np.float32) for a in (shift, weight, bias)))


@dataclass(frozen=True)
class Layers:
    """A chain of layers that ends in one score per class."""

    chain: tuple[Layer, ...]

    @property
    def dim(self) -> int:
        """Columns of the features that go in."""
        return next(len(layer.shift) for layer in self.chain if isinstance(layer, Affine | Scale))

    @property
    def n_classes(self) -> int:
        """Scores that come out."""
        return next(len(layer.bias) for layer in self.chain[::-1] if isinstance(layer, Affine))

    def __call__(self, rows: Rows) -> Float32:
        """(N, D) features to (N, K) float32 scores, in chunks; every one is a finite number.

        Raises:
            HeadError: columns are missing, or a row has no finite scores.
        """
        if len(rows.shape) != 2 or rows.shape[1] != self.dim:
            raise HeadError(
                f"This head reads rows of shape (N, {self.dim}), not {tuple(rows.shape)}."
            )
        out = np.empty((len(rows), self.n_classes), np.float32)
        for part in spans(len(rows)):
            given = np.asarray(rows[part])
            refuse_non_finite(given, part.start)
            x = given.astype(np.float32, copy=False)
            with np.errstate(over="ignore", invalid="ignore"):
                for layer in self.chain:
                    x = layer(x)
            if not np.isfinite(x).all():
                row = part.start + int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
                raise HeadError(
                    f"Row {row} of the features lies so far from those that the head was fitted on "
                    "that its scores are not finite; leave that example out."
                )
            out[part] = x
        return out

    def names(self) -> list[str]:
        """The kind of every layer, in order."""
        return [type(layer).__name__.lower() for layer in self.chain]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The numbers: '0.shift', '0.weight', '0.bias' for the first layer if it is affine, …"""
        return {
            f"{place}.{name}": getattr(layer, name)
            for place, layer in enumerate(self.chain)
            for name, _, _ in ARRAYS[type(layer).__name__.lower()]
        }


def restore(names: Any, arrays: Mapping[str, NDArray[Any]]) -> Layers:
    """The chain that `Layers.names` and `Layers.arrays` describe; nothing is trusted.

    Raises:
        HeadError: an unknown layer, or arrays missing, left over, misshapen or not finite.
    """
    if not isinstance(names, list) or not 0 < len(names) <= MOST_LAYERS:
        raise HeadError(f"A stored head lists 1 to {MOST_LAYERS} layers, not {names!r:.80}.")
    left = dict(arrays)
    chain = chain_of(names, left)
    if left:
        raise HeadError(f"A stored head has an array {min(left)!r:.80} that no layer reads.")
    if not isinstance(chain[-1], Affine):
        raise HeadError("The last layer of a stored head must be affine.")
    return Layers(chain)


def chain_of(names: list[Any], left: dict[str, NDArray[Any]]) -> tuple[Layer, ...]:
    """The layers called `names`; their arrays are taken out of `left`.

    Raises:
        HeadError: an unknown layer, or arrays missing, misshapen or not finite.
    """
    chain: list[Layer] = []
    width: int | None = None
    for place, name in enumerate(names):
        if not isinstance(name, str) or name not in KINDS:
            raise HeadError(f"A stored head has an unknown layer {name!r:.80}.")
        numbers = [
            checked_array(left, f"{place}.{key}", dtype, axes) for key, dtype, axes in ARRAYS[name]
        ]
        chain.append(KINDS[name](*numbers))
        width = _fit_width(place, chain[-1], width)
    return tuple(chain)


def _fit_width(place: int, layer: Layer, width: int | None) -> int | None:
    """Columns after `layer`, when `width` columns come in; None where that is not known yet."""
    if isinstance(layer, Affine):
        before, after = int(layer.weight.shape[0]), int(layer.weight.shape[1])
        fits = layer.shift.shape == (before,) and layer.bias.shape == (after,)
    elif isinstance(layer, Scale):
        before = after = len(layer.shift)
        fits = layer.factor.shape == (before,)
    elif isinstance(layer, Signs):
        before, after, fits = len(layer.bits), 8 * layer.bits.shape[1], True
    else:
        return width
    if not fits or width not in (None, before):
        raise HeadError(f"The arrays of layer {place} of a stored head do not fit together.")
    return after


def checked_array(
    left: dict[str, NDArray[Any]], name: str, dtype: np.dtype[Any], axes: int
) -> NDArray[Any]:
    """Take `name` out of `left` if it is what it must be.

    Raises:
        HeadError: it is missing, or its type, number of axes or values are wrong.
    """
    array = left.pop(name, None)
    if array is None:
        raise HeadError(f"A stored head lacks its array '{name}'.")
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != axes:
        raise HeadError(f"The array '{name}' of a stored head must be {dtype} with {axes} axes.")
    if array.size == 0 or not np.isfinite(array).all():
        raise HeadError(f"The array '{name}' of a stored head is empty or holds no finite number.")
    return array
