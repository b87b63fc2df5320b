"""The sums of a ridge head, kept with its run: rows come and go, and the head is solved again.

    rows ─► fixed layers (none, or a lift) ─► n, Σx, Σxxᵀ, Σy, Σxyᵀ in float64 ─► weights

At one penalty the weights depend on the rows only through these sums, so what is added, removed or
merged gives the head that a fit on the resulting rows would give, to float64 rounding. The sums can
give rows away (the difference of two of them is a row), so they stay with the owner of the run.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import BundleError, HeadError
from regraft.files import digest
from regraft.heads.calibrate import Calibration, balanced, unlearned_of
from regraft.heads.layers import Layer, Layers, chain_of, checked_array
from regraft.heads.lift import Lifted
from regraft.heads.moments import Float, Moments
from regraft.heads.ridge import layers_of
from regraft.heads.rows import Rows
from regraft.tensors import listed, strict_json

FORMAT = 1
META, ARRAYS = "sums.json", "sums.safetensors"
MOST_BYTES = {META: 64 * 2**20, ARRAYS: 4 * 2**30}
KEYS = {"format", "n", "classes", "at", "settings", "seed", "layers", "digest"}


@dataclass(frozen=True)
class Sums:
    """All that a ridge head at one penalty needs to know of its rows.

    Attributes:
        moments: of the rows, D columns after `before`, and their one-hot classes.
        classes: names, sorted, in the order of the targets.
        at: the stages whose pooled outputs, joined, the rows are.
        settings: the head's, with its 'penalty'.
        seed: of the run.
        before: fixed layers that rows pass before they are summed: a lift and its scale, or none.
    """

    moments: Moments
    classes: tuple[str, ...]
    at: tuple[str, ...]
    settings: dict[str, Any]
    seed: int
    before: tuple[Layer, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many rows each class has."""
        return {name: round(float(y)) for name, y in zip(self.classes, self.moments.y, strict=True)}

    def of(self, rows: Rows, labels: Sequence[str]) -> Sums:
        """The sums of other rows (N, D), for the same head; classes are those that occur."""
        classes = tuple(sorted(set(labels)))
        lifted, numbers = self._lifted(rows), _numbers(labels, classes)
        return replace(self, moments=Moments.of(lifted, numbers, len(classes)), classes=classes)

    def plus(self, rows: Rows, labels: Sequence[str]) -> Sums:
        """With these rows (N, D) and their classes, new ones in their sorted place.

        Raises:
            HeadError: a value is not finite.
        """
        return self.join(self.of(rows, labels)) if len(rows) else self

    def minus(self, rows: Rows, labels: Sequence[str]) -> Sums:
        """As if these rows (N, D) had never been there; a class without a row disappears.

        Raises:
            HeadError: there are no such rows in the sums.
        """
        gone = set(labels) - set(self.classes)
        if gone:
            raise HeadError(f"The sums hold no row of the class '{min(gone)}'.")
        left = self._spread(self.classes)
        left.remove(self._lifted(rows)[0 : len(rows)], _numbers(labels, self.classes))
        kept = np.flatnonzero(left.y > 0.5)
        moments = replace(left, y=left.y[kept], xy=left.xy[:, kept])
        return replace(self, moments=moments, classes=tuple(self.classes[k] for k in kept))

    def join(self, other: Sums) -> Sums:
        """The sums of the rows of both.

        Raises:
            HeadError: the rows are not of one kind.
        """
        if not same_layers(self.before, other.before):
            raise HeadError("Sums of rows that passed different layers do not add.")
        classes = tuple(sorted({*self.classes, *other.classes}))
        total = self._spread(classes) + other._spread(classes)
        return replace(self, moments=total, classes=classes)

    def solve(self) -> Layers:
        """The head of these rows at `settings['penalty']`."""
        shift, weight, target = self.weights()
        return Layers((*self.before, *layers_of(shift, weight, target).chain))

    def weights(self) -> tuple[Float, Float, Float]:
        """Shift (D,), weight (D, K) and target (K,) in float64: (x - shift) @ weight + target.

        One penalty needs no spectrum: a linear system is solved, a tenth of the work.
        """
        sums = self.moments
        shift, scale = sums.centre()
        gram, cross = sums.standardised()
        np.fill_diagonal(gram, np.diagonal(gram) + sums.n * float(self.settings["penalty"]))
        weight = np.linalg.solve(gram, cross) / scale[:, None]
        return shift, weight, sums.y / sums.n

    def neutral(self, layers: Layers, balance: float) -> Calibration:
        """What the sums alone say of probabilities: the classes' shares and the scores' spread.

        Args:
            layers: the head of these sums.
            balance: see `regraft.heads.fitted.fit_head`.
        """
        weight = np.asarray(getattr(layers.chain[-1], "weight"), np.float64)  # noqa: B009
        mean = self.moments.x / self.moments.n
        square = self.moments.xx / self.moments.n - np.outer(mean, mean)
        apart = weight - weight.mean(axis=1, keepdims=True)
        power = float(np.einsum("dk,dk->", apart, square @ apart)) / len(self.classes)
        sharpness = unlearned_of(np.sqrt(max(power, 0.0)), len(self.classes))
        return Calibration(sharpness, balanced(self.moments.y, balance))

    def _lifted(self, rows: Rows) -> Rows:
        return Lifted(rows, self.before, len(self.moments.x)) if self.before else rows

    def _spread(self, classes: tuple[str, ...]) -> Moments:
        """A copy of the moments with a target for each of `classes`."""
        sums = self.moments
        place = [classes.index(name) for name in self.classes]
        y, xy = np.zeros(len(classes)), np.zeros((len(sums.x), len(classes)))
        y[place], xy[:, place] = sums.y, sums.xy
        return Moments(sums.n, sums.x.copy(), sums.xx.copy(), y, xy, sums.peak)

    def files(self) -> dict[str, bytes]:
        """The two files that hold it, by name; `read` takes them back."""
        from safetensors.numpy import save

        sums = self.moments
        upper = np.concatenate([row[place:] for place, row in enumerate(sums.xx)])
        arrays = {"x": sums.x, "xx": upper, "y": sums.y, "xy": sums.xy, "peak": sums.peak}
        fixed = Layers(self.before)
        arrays |= {f"before.{name}": array for name, array in fixed.arrays().items()}
        body = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        meta = {
            "format": FORMAT,
            "n": sums.n,
            "classes": list(self.classes),
            "at": list(self.at),
            "settings": self.settings,
            "seed": self.seed,
            "layers": fixed.names(),
            "digest": digest(body),
        }
        text = json.dumps(meta, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return {META: (text + "\n").encode(), ARRAYS: body}


def sums_of(
    layers: Layers,
    rows: Rows,
    labels: Sequence[str],
    *,
    at: Sequence[str],
    settings: Mapping[str, Any],
    seed: int,
) -> Sums:
    """The sums of the rows (N, D) that the ridge head `layers` was fitted on, in one pass."""
    before = layers.chain[:-1]
    width = len(getattr(layers.chain[-1], "shift"))  # noqa: B009
    empty = Sums(Moments.empty(width, 0), (), tuple(at), dict(settings), seed, before)
    return empty.of(rows, labels)


def same_layers(one: Iterable[Layer], other: Iterable[Layer]) -> bool:
    """Whether two chains compute the same."""
    a, b = Layers(tuple(one)), Layers(tuple(other))
    if a.names() != b.names():
        return False
    left, right = a.arrays(), b.arrays()
    return all(np.array_equal(left[name], right[name]) for name in left)


def read(folder: Path) -> Sums | None:
    """The sums that a run folder keeps; None if it keeps none. Nothing in them is trusted.

    Raises:
        BundleError: they are not what was written.
    """
    meta, body = folder / META, folder / ARRAYS
    if not meta.exists() and not body.exists():
        return None
    try:
        return _parsed(_bytes(meta), _bytes(body))
    except OSError as problem:
        raise BundleError(f"{problem.filename} cannot be read: {problem.strerror}.") from problem
    except (HeadError, ValueError, TypeError, KeyError, RecursionError) as problem:
        told = " ".join(str(problem).split()).rstrip(".")
        raise BundleError(
            f"the sums in {meta} and {body.name} are not what was written ({told}); fit again."
        ) from problem


def _bytes(path: Path) -> bytes:
    if path.is_symlink() or path.stat().st_size > MOST_BYTES[path.name]:
        raise ValueError(f"{path.name} is a link or larger than it can be")
    return path.read_bytes()


def _parsed(text: bytes, body: bytes) -> Sums:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    meta = strict_json(text)
    if not isinstance(meta, dict) or set(meta) != KEYS or meta["format"] != FORMAT:
        raise ValueError("its keys or its format are not known")
    if meta["digest"] != digest(body):
        raise ValueError("the checksum differs")
    listed(io.BytesIO(body), len(body), most_bytes=2**16, most_tensors=256)
    try:
        left = load(body)
    except SafetensorError as problem:
        raise ValueError(str(problem)) from problem
    classes, at = _words(meta["classes"]), _words(meta["at"])
    if not isinstance(meta["settings"], dict):
        raise ValueError("the settings are no table")
    penalty = meta["settings"].get("penalty")
    if not isinstance(penalty, float) or not 0 < penalty < np.inf:
        raise ValueError(f"the penalty {penalty!r} is no number above 0")
    if type(meta["seed"]) is not int or sorted(classes) != list(classes):
        raise ValueError("the seed or the classes are none")
    own = {n.removeprefix("before."): left.pop(n) for n in list(left) if n.startswith("before.")}
    before = chain_of(meta["layers"], own) if meta["layers"] else ()
    if own:
        raise ValueError("there are arrays that no layer reads")
    moments = _moments(meta["n"], left, len(classes))
    return Sums(moments, classes, at, meta["settings"], meta["seed"], before)


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ValueError("classes and stages must be lists of names")
    if not value or len(set(value)) != len(value):
        raise ValueError("classes and stages must be there and differ")
    return tuple(value)


def _moments(n: Any, left: dict[str, NDArray[Any]], n_classes: int) -> Moments:
    double = np.dtype(np.float64)
    axes = {"x": 1, "xx": 1, "y": 1, "xy": 2, "peak": 1}
    x, half, y, xy, peak = (checked_array(left, name, double, k) for name, k in axes.items())
    d = len(x)
    fits = half.shape == (d * (d + 1) // 2,) and y.shape == (n_classes,)
    if left or not fits or xy.shape != (d, n_classes) or peak.shape != x.shape or peak.min() < 0:
        raise ValueError("the arrays do not fit together")
    if type(n) is not int or n < 1 or (y != np.round(y)).any() or y.min() < 1 or y.sum() != n:
        raise ValueError("the counts of the classes are none")
    xx = np.empty((d, d))
    start = 0
    for place in range(d):
        xx[place, place:] = xx[place:, place] = half[start : start + d - place]
        start += d - place
    return Moments(n, x, xx, y, xy, peak)


def _numbers(labels: Sequence[str], classes: tuple[str, ...]) -> NDArray[np.int64]:
    place = {name: number for number, name in enumerate(classes)}
    return np.array([place[label] for label in labels], np.int64)
