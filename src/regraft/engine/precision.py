"""Which precision an engine runs in: the fastest that leaves the answers of a check set unmoved.

Decided once per backbone, engine and machine from a few real rows, recorded, and reused: were it
decided per data set, one new image could make every cached activation stale.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regraft.engine import Engine, Session
from regraft.files import cache_full, digest_of, sealed, touch, unsealed, write_whole
from regraft.inputs import Row

log = logging.getLogger("regraft")

CHECK_ROWS = 32
FEWEST_ROWS = 8
#: Smallest cosine between a row's centred activations in the exact and in the faster precision.
CLOSE_ENOUGH = 0.999


def record_path(cache: Path, engine: Engine, device: str, trunk_key: dict[str, Any]) -> Path:
    """Where the decision is kept: everything that it depends on is in the name."""
    tried = [engine.fingerprint(device, p) for p in engine.precisions(device)]
    return cache / "precision" / f"{digest_of([tried, trunk_key])}.json"


def recorded(path: Path, precisions: tuple[str, ...]) -> str | None:
    """The precision decided before, None if there is no sound record."""
    try:
        chosen = unsealed(path.read_bytes())["precision"]
    except OSError:
        return None
    except (ValueError, KeyError, TypeError) as problem:
        log.warning("cache entry %s is damaged (%s): measuring again", path, problem)
        return None
    touch(path)
    return chosen if chosen in precisions else None


def decide(
    path: Path, precisions: tuple[str, ...], open_in: Callable[[str], Session], rows: Sequence[Row]
) -> str:
    """The precision to use, measured on `rows` and written to `path`.

    With fewer than FEWEST_ROWS rows the exact precision is used and nothing is recorded.

    Args:
        path: where the decision is kept.
        precisions: the exact one first.
        open_in: opens a session in a precision.
        rows: the check set, real examples.
    """
    exact = precisions[0]
    if len(precisions) == 1 or len(rows) < FEWEST_ROWS:
        return exact
    truth, exact_rate = measure(open_in(exact), rows)
    trials = {exact: {"rows_per_second": exact_rate, "cosine": 1.0, "same_neighbours": True}}
    chosen, best = exact, exact_rate
    for name in precisions[1:]:
        got, rate = measure(open_in(name), rows)
        cosine, same = agreement(truth, got)
        trials[name] = {"rows_per_second": rate, "cosine": cosine, "same_neighbours": same}
        if cosine >= CLOSE_ENOUGH and same and rate > best:
            chosen, best = name, rate
    text = sealed({"precision": chosen, "rows": len(rows), "trials": trials})
    try:
        write_whole(path, text)
    except OSError as problem:
        raise cache_full(path.parent, len(text), problem) from problem
    return chosen


def measure(session: Session, rows: Sequence[Row]) -> tuple[np.ndarray, float]:
    """All outputs of each row joined, (N, D) float32, and rows per second after a warm-up."""
    list(session.run(rows[:4]))
    start = time.perf_counter()
    outputs = [np.concatenate([a.ravel() for a in row]) for row in session.run(rows)]
    return np.stack(outputs), len(rows) / (time.perf_counter() - start)


def agreement(truth: np.ndarray, got: np.ndarray) -> tuple[float, bool]:
    """How far `got` is from `truth`, both (N, D).

    Returns:
        The smallest cosine between rows centred by the mean of `truth` (what all rows share says
        nothing about an answer), and whether each row's nearest other row is the same.
    """
    mean = truth.mean(0)
    left, right = unit(truth - mean), unit(got - mean)
    cosine = float((left * right).sum(1).min())
    return cosine, bool((neighbours(left) == neighbours(right)).all())


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row stays zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-30))


def neighbours(rows: np.ndarray) -> np.ndarray:
    """For each unit row the number of the nearest other one, (N,)."""
    near = rows @ rows.T
    np.fill_diagonal(near, -np.inf)
    return np.asarray(near.argmax(1))
