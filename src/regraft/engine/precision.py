"""Which precision an engine runs in: the fastest that leaves what a network says unmoved.

Decided once per network, engine and machine, on drawn rows, by a rule without a clock, and recorded
before anything is computed: neither the data that come first, nor the stages that are asked for,
nor the load of the machine have a say, so the same command gives the same bits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regraft.engine import Activations, Engine, Session
from regraft.files import cache_full, digest_of, sealed, touch, unsealed, write_whole
from regraft.inputs import Row

log = logging.getLogger("regraft")

RULE = 2  # raise it whenever the same network may be decided otherwise
CHECK_ROWS = 32
#: Smallest cosine between a row's centred activations in the exact and in the faster precision, at
#: every stage. A cautious bound and no proof that answers stay: docs/benchmarks.md has what moves.
CLOSE_ENOUGH = 0.999


def record_path(cache: Path, engine: Engine, device: str, trunk_key: dict[str, Any]) -> Path:
    """Where the decision is kept: everything that it depends on is in the name."""
    tried = [engine.fingerprint(device, p) for p in engine.precisions(device)]
    return cache / "precision" / f"{digest_of([RULE, tried, trunk_key])}.json"


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
) -> tuple[str, bool]:
    """The last of `precisions` whose activations are close to the exact ones, written to `path`.

    Without rows to measure on it is the exact one, and nothing is written.

    Args:
        path: where the decision is kept.
        precisions: the exact one first, then others, the faster the later.
        open_in: opens a session with every stage's pooled output in a precision.
        rows: what to measure on.

    Returns:
        The precision, and whether the network had to be compiled for it.
    """
    exact = precisions[0]
    if len(precisions) == 1 or not rows:
        return exact, False
    session = open_in(exact)
    truth, built = list(session.run(rows)), session.built
    chosen, trials = exact, {}
    for name in precisions[1:]:
        close = agreement(truth, list(open_in(name).run(rows)))
        trials[name] = {"cosine": close}
        if close is not None and close >= CLOSE_ENOUGH:
            chosen = name
    text = sealed({"precision": chosen, "rows": len(rows), "trials": trials})
    try:
        write_whole(path, text)
    except OSError as problem:
        raise cache_full(path.parent, len(text), problem) from problem
    return chosen, built


def agreement(truth: Sequence[Activations], got: Sequence[Activations]) -> float | None:
    """How close `got` is to `truth`, both one tuple of outputs per row.

    Returns:
        The smallest cosine of any row at any output, each output centred by its mean over the rows
        of `truth` (what all rows share says nothing about an answer); None if a number of them is
        not finite.
    """
    least = 1.0
    for number in range(len(truth[0])):
        left, right = (np.stack([row[number].ravel() for row in rows]) for rows in (truth, got))
        if not (np.isfinite(left).all() and np.isfinite(right).all()):
            return None
        mean = left.mean(0, dtype=np.float64)
        left, right = left - mean, right - mean
        alike = (unit(left) * unit(right)).sum(1)
        # A row that is its output's mean has no direction to lose.
        alike = np.where(np.abs(left).max(1) + np.abs(right).max(1) < 1e-6, 1.0, alike)
        least = min(least, float(alike.min()))
    return least


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row stays zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-30))


def measure(session: Session, rows: Sequence[Row]) -> tuple[np.ndarray, float]:
    """All outputs of each row joined, (N, D) float32, and rows per second after a warm-up."""
    list(session.run(rows[:4]))
    start = time.perf_counter()
    outputs = [np.concatenate([a.ravel() for a in row]) for row in session.run(rows)]
    return np.stack(outputs), len(rows) / (time.perf_counter() - start)
