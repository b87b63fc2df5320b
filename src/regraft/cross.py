"""Repeated k-fold cross-validation of the whole choice: how much a score owes to the split.

Stage and head are chosen anew in every fold on its training rows alone, so the rows that are scored
had no part in any choice but the geometry's. What belongs together is in one fold.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft import choose
from regraft.choose import rows_at
from regraft.data.split import folds as deal
from regraft.errors import OptionError
from regraft.evaluate import Z95, Interval, evaluate, wilson
from regraft.parts import Parts, numbers

MOST_FITS = 1000
_SPELLING = re.compile(r"(\d{1,4})(?:x(\d{1,4}))?(?::([^:]+):([a-z]+))?")


@dataclass(frozen=True)
class Folds:
    """What is cross-validated.

    Attributes:
        k: folds.
        repeats: how often the rows are dealt anew.
        at: what each fold chooses its stage among, '' for what the final fit does.
        head: the same for the head.
    """

    k: int
    repeats: int = 1
    at: str = ""
    head: str = ""

    def __str__(self) -> str:
        chosen = f":{self.at}:{self.head}" if self.at else ""
        return f"{self.k}x{self.repeats}{chosen}"


def parse(folds: str) -> Folds:
    """'5', '5x3', or as a run.toml has it '5x3:auto:ridge'.

    The last two say what the folds choose among: a resolved run has chosen, its folds have not.

    Raises:
        OptionError: it is spelled otherwise, or asks for too few or too many.
    """
    found = _SPELLING.fullmatch(folds)
    k, repeats = (int(found[1]), int(found[2] or 1)) if found else (0, 0)
    if found is None or k < 2 or repeats < 1 or k * repeats > MOST_FITS:
        raise OptionError(
            f"--folds must be a number from 2, or one with repeats such as 5x3 (at most {MOST_FITS}"
            f" fits in all), got '{folds}'."
        )
    return Folds(k, repeats, found[3] or "", found[4] or "")


def cross_validate(
    parts: Parts,
    taps: Mapping[str, str],
    *,
    dealt: Folds,
    seed: int,
    balance: float,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Scores of every row that is learned from, each by heads fitted without its fold.

    Args:
        parts: of a fit; its test part is not touched.
        taps: the stages to choose among, name -> tap.
        dealt: how many folds, and what each chooses among.
        seed: as `choose.choose` takes it, and so is `balance`; repeat r is dealt with seed + r.
        say: called with one line per repeat.

    Returns:
        accuracy, balanced accuracy and log-loss, each the mean over the repeats; the standard
        deviation of the folds' accuracies, a 95 % interval of the accuracy (see `interval`), and
        each fold's own scores.

    Raises:
        OptionError: there are fewer things to deal than folds.
    """
    pool, k, repeats = parts.pool, dealt.k, dealt.repeats
    labels = [example.label or "" for example in pool.examples]
    rows = {name: pool.rows[tap] for name, tap in taps.items()}
    how: dict[str, Any] = {"at": dealt.at, "head": dealt.head, "balance": balance}
    each: list[dict[str, Any]] = []
    scores = []
    for repeat in range(repeats):
        fold = deal(labels, pool.digests, k, seed + repeat, parts.pool_groups)
        p = np.zeros((len(labels), len(parts.classes)), np.float32)
        for number in range(k):
            out = np.flatnonzero(fold == number)
            p[out], facts = _fold(parts, rows, out, seed=seed, **how)
            held = evaluate(p[out], [labels[i] for i in out], parts.classes)
            each.append({"repeat": repeat, "fold": number, "n": len(out)} | facts
                        | {"accuracy": held.accuracy, "log_loss": held.log_loss})  # fmt: skip
        scores.append(evaluate(p, labels, parts.classes))
        say(f"cross-validation {repeat + 1} of {repeats}: accuracy {scores[-1].accuracy:.3f}")
    accuracies = [one["accuracy"] for one in each]
    return {
        "k": k,
        "repeats": repeats,
        "n": len(labels),
        "accuracy": statistics.fmean(s.accuracy for s in scores),
        "accuracy_sd": statistics.stdev(accuracies),
        "accuracy_ci95": interval(accuracies, [one["n"] for one in each], k),
        "balanced_accuracy": statistics.fmean(s.balanced_accuracy or 0.0 for s in scores),
        "log_loss": statistics.fmean(s.log_loss or 0.0 for s in scores),
        "folds": each,
    }


def _fold(
    parts: Parts,
    rows: Mapping[str, Any],
    out: NDArray[np.intp],
    *,
    at: str,
    head: str,
    seed: int,
    balance: float,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Probabilities (n, K) of the rows `out` by what is chosen and fitted on all others.

    A class that no other row has keeps the probability 0: nobody could have known it.
    """
    pool = parts.pool
    kept = np.setdiff1d(np.arange(len(pool.examples)), out)
    groups = None if parts.pool_groups is None else parts.pool_groups[kept]
    present, labels = np.unique(numbers(pool, parts.classes)[kept], return_inverse=True)
    if len(present) < 2:
        raise OptionError(
            "--folds: without one fold only one class is left to learn from; use fewer folds, or "
            "groups that do not hold a whole class each."
        )
    some = {name: one.take(kept) for name, one in rows.items()}
    made = choose.choose(
        some, labels, len(present), at=at, head=head, seed=seed, groups=groups, balance=balance
    )
    held = {name: one.take(out) for name, one in rows.items()}
    p = np.zeros((len(out), len(parts.classes)), np.float32)
    p[:, present] = made.fitted.probabilities(rows_at(held, made.at))
    return p, {"at": "+".join(made.at), "head": made.head}


def interval(accuracies: list[float], sizes: list[int], k: int) -> Interval:
    """The 95 % interval of the accuracy of all rows, which lies in it.

    It is the t interval of Nadeau and Bengio (Machine Learning 52, 2003), which allows for folds
    sharing training rows. Groups make folds of different sizes: each fold then counts as much as it
    has rows, and what spreads is how many more it has right than its share (a ratio estimate,
    Cochran 1977, section 6.3). Folds that agree by luck do not make a score more certain than so
    many rows can: the interval is never narrower than Wilson's.

    Args:
        accuracies: of each fold of each repeat.
        sizes: rows of each fold, in the same order.
        k: folds per repeat.
    """
    count, usual = len(accuracies), statistics.fmean(sizes)
    mean = statistics.fmean(accuracies, sizes)
    apart = [n / usual * (one - mean) for one, n in zip(accuracies, sizes, strict=True)]
    spread = math.sqrt(math.fsum(one**2 for one in apart) / (count - 1))
    half = t975(count - 1) * spread * math.sqrt(1 / count + 1 / (k - 1))
    rows = round(usual * k)
    low, high = wilson(mean * rows, rows)
    return max(0.0, min(low, mean - half)), min(1.0, max(high, mean + half))


def t975(df: int) -> float:
    """The 97.5 % point of Student's t with `df` degrees of freedom, to 1 % from df 2 on.

    Exact for 1 and 2; the expansion in 1/df around the normal point (Abramowitz and Stegun
    26.7.5) above, since scipy would take longer to load than a fit.
    """
    if df == 1:
        return math.tan(math.pi * 0.475)
    if df == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    z = Z95
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(z + sum(term / df**power for power, term in enumerate(terms, start=1)))
