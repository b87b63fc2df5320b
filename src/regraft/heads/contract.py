"""What every head promises, checked on small made-up data: for our own heads and for yours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft import heads
from regraft.errors import HeadError
from regraft.heads.fitted import FittedHead
from regraft.heads.newton import log_softmax

TOLERANCE = 1e-4  # of probabilities, between NumPy and torch or between ways to slice the rows


class View:
    """Rows that can only be sliced, like features on disk."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._rows, self.shape = rows, rows.shape

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        if not isinstance(part, slice):
            raise TypeError("rows are read by slices only")
        return self._rows[part].copy()


def clusters(
    n: int, dim: int, n_classes: int, *, seed: int = 0, apart: float = 2.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows (n, dim) around one random centre per class, far from zero; labels in no order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % n_classes)
    centres = rng.normal(size=(n_classes, dim)) * apart / np.sqrt(dim)
    rows = 5.0 + centres[labels] * 2.0 + rng.normal(size=(n, dim))
    return rows.astype(np.float32), labels.astype(np.int64)


def check_head(name: str, **options: Any) -> None:
    """Whether the head called `name` keeps every promise of `regraft.heads.fitted`.

    Raises:
        HeadError: it breaks one; the text says which.
    """
    for n_classes, n, dim in ((2, 40, 6), (4, 60, 90)):
        rows, labels = clusters(n, dim, n_classes, seed=n)
        fitted = heads.fit(name, rows, labels, n_classes, seed=1, **options)
        _answers(fitted, rows, labels, n_classes)
        _validated(fitted, labels)
        _stored(fitted, rows)
        _exported(fitted, rows)
        again = heads.fit(name, View(rows), labels, n_classes, seed=1, **options)
        _require(_same(again, fitted), "two fits with one seed differ, or slicing changes them")
    _held_out(name, options)
    _grouped(name, options)
    _alone(name, options)
    _degenerate(name, options)


def _require(kept: bool, broken: str) -> None:
    if not kept:
        raise HeadError(f"The head breaks its contract: {broken}.")


def _answers(
    fitted: FittedHead, rows: NDArray[Any], labels: NDArray[np.int64], n_classes: int
) -> None:
    scores, p = fitted.scores(rows), fitted.probabilities(rows)
    shape = (len(rows), n_classes)
    _require(scores.shape == p.shape == shape, f"scores and probabilities must be {shape}")
    _require(scores.dtype == p.dtype == np.float32, "scores and probabilities must be float32")
    _require(bool(np.isfinite(scores).all()), "a score is not finite")
    _require(bool(np.abs(p.sum(axis=1) - 1).max() < TOLERANCE), "probabilities do not sum to 1")
    accuracy = float((p.argmax(axis=1) == labels).mean())
    _require(accuracy > 1.5 / n_classes, f"easy rows are answered with accuracy {accuracy:.2f}")
    parts = np.concatenate([fitted.probabilities(rows[:7]), fitted.probabilities(rows[7:])])
    _require(bool(np.abs(parts - p).max() < TOLERANCE), "an answer depends on the rows beside it")


def _validated(fitted: FittedHead, labels: NDArray[np.int64]) -> None:
    seen = fitted.validation
    if seen is None:
        raise HeadError("The head breaks its contract: it has no validation.")
    _require(seen.n == len(labels) == len(seen.scores), "validation must score every row")
    _require(bool((seen.rows == np.arange(seen.n)).all()), "validation names other rows")
    _require(bool((seen.labels == labels).all()), "validation keeps other labels")
    _require(seen.accuracy == float(seen.correct.mean()), "validation accuracy is another")
    _require(bool(np.isfinite(seen.scores).all()), "a validation score is not finite")


def _stored(fitted: FittedHead, rows: NDArray[Any]) -> None:
    back = heads.restore(fitted.config(), fitted.arrays())
    _require(_same(back, fitted), "stored and read back it is another head")
    exact = np.array_equal(back.probabilities(rows), fitted.probabilities(rows))
    _require(exact, "stored and read back it answers otherwise")


def _exported(fitted: FittedHead, rows: NDArray[Any]) -> None:
    import torch

    with torch.inference_mode():
        logits = fitted.module()(torch.from_numpy(rows)).double().numpy()
    gap = float(np.abs(np.exp(log_softmax(logits)) - fitted.probabilities(rows)).max())
    _require(gap < TOLERANCE, f"its module's probabilities differ by {gap:.1e}")


def _held_out(name: str, options: dict[str, Any]) -> None:
    rows, labels = clusters(60, 8, 3, seed=3)
    held = (rows[40:], labels[40:])
    fitted = heads.fit(name, rows[:40], labels[:40], 3, seed=1, validation=held, **options)
    seen = fitted.validation
    _require(seen is not None and seen.kind == "held out", "validation.kind must be 'held out'")
    _require(seen is not None and seen.n == 20, "validation must be the rows held out")
    made = heads.head(name, **options)
    whole = made.solve(rows, labels, 3, fitted.settings, seed=1)
    _require(
        all(np.allclose(a, fitted.arrays()[k], atol=1e-4) for k, a in whole.arrays().items()),
        "the final head must be fitted on train and validation rows",
    )


def _grouped(name: str, options: dict[str, Any]) -> None:
    """Copies of noise, which only a head that saw a copy can tell apart; uneven groups."""
    rng = np.random.default_rng(7)
    copies = np.r_[np.full(40, 3), 20, 25]
    groups = rng.permutation(np.repeat(np.arange(len(copies)), copies))
    kinds = np.arange(len(copies)) % 2
    kinds[-1] = 2  # a class that is in one group only
    rows = rng.normal(size=(len(copies), 120)).astype(np.float32)[groups]
    fitted = heads.fit(name, rows, kinds[groups], 3, seed=1, groups=groups, **options)
    seen = fitted.validation
    _require(seen is not None and seen.kind in ("leave-group-out", "k-fold"), "groups are not left")
    if seen is not None and seen.accuracy is not None:
        _require(seen.n == len(groups) - 25, "a class of one group must not count")
        _require(seen.accuracy < 0.75, f"copies of noise are known to {seen.accuracy:.2f}")
    one = heads.fit(name, rows, kinds[groups], 3, groups=np.zeros(len(rows)), **options)
    _require(one.validation is not None and one.validation.n == 0, "one group cannot be left out")


def _alone(name: str, options: dict[str, Any]) -> None:
    """One row per class: nothing to validate on, and new rows are answered better than by chance.

    By log-loss, which neither equal probabilities nor wrong certainty would pass.
    """
    rows, labels = clusters(120, 30, 12, seed=2, apart=6.0)
    first = np.unique(labels, return_index=True)[1]
    for more in (0, 1):  # with one row more a single class can be left out: no more to learn from
        train = np.r_[first, np.setdiff1d(np.arange(120), first)[:more]]
        fitted = heads.fit(name, rows[train], labels[train], 12, seed=1, **options)
        seen = fitted.validation
        _require(seen is not None and seen.n == 2 * more, "a row alone in its class must not count")
        if not more:
            _require(seen is not None and seen.accuracy is None, "no row gives no accuracy")
        new = np.setdiff1d(np.arange(120), train)
        picked = fitted.probabilities(rows[new])[np.arange(len(new)), labels[new]]
        loss = -float(np.log(np.maximum(picked, 1e-7)).mean())
        _require(loss < 0.6 * np.log(12), f"one row per class gives a log-loss of {loss:.2f}")


def _degenerate(name: str, options: dict[str, Any]) -> None:
    """Constant and duplicate columns, duplicate rows, one column, a class with one row, NaN."""
    rows, labels = clusters(12, 3, 2, seed=5)
    odd = np.concatenate([rows, rows, np.full((12, 2), 7.0, np.float32)], axis=1)
    lonely = np.r_[np.zeros(11, np.int64), 1]
    for x, y in ((odd, labels), (np.repeat(rows, 2, axis=0), np.repeat(labels, 2)),
                 (rows[:, :1], labels), (rows, lonely), (np.ones_like(rows), labels)):  # fmt: skip
        p = heads.fit(name, x, y, 2, **options).probabilities(x)
        _require(bool(np.isfinite(p).all()), "degenerate rows give probabilities that are not")
    rows[4, 1] = np.nan
    try:
        heads.fit(name, rows, labels, 2, **options)
    except HeadError as problem:
        _require("Row 4" in str(problem), "a row with NaN must be named")
    else:
        raise HeadError("The head breaks its contract: a row with NaN goes unnoticed.")


def _same(one: FittedHead, other: FittedHead) -> bool:
    a, b = one.arrays(), other.arrays()
    return (
        one.config() == other.config()
        and set(a) == set(b)
        and all(a[key].dtype == b[key].dtype and np.array_equal(a[key], b[key]) for key in a)
    )
