"""What each depth of a backbone is worth: a head there, judged on rows that it had not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import OptionError
from regraft.evaluate import Z95, Interval
from regraft.evidence.scores import coordinates, h_score_of, knn_of, log_me
from regraft.evidence.unseen import answers, error_of_mean, independent, interval
from regraft.heads.fitted import Validation
from regraft.heads.folds import thinned, units
from regraft.heads.rows import Rows, check_examples, check_groups, take
from regraft.heads.spectrum import decompose

MOST = 1024  # rows that depths are judged on


@dataclass(frozen=True)
class Depth:
    """One stage.

    Attributes:
        stage: its name.
        n: rows that the head answered without having seen them, or one of their group; rows that
            are alone in their class do not count.
        accuracy: share of them that is right; None if n is 0, as are the next five.
        accuracy_ci95: its interval, rows of one group counted as one.
        log_loss: mean negative log-probability of the truth, calibrated.
        knn: accuracy of the nearest rows' vote, see `scores.knn`.
        behind: how much less accurate than the best stage, on the same rows.
        behind_se: one standard error of that difference, paired row by row.
        log_me: see `scores.log_me`.
        h_score: see `scores.h_score`.
    """

    stage: str
    n: int
    accuracy: float | None
    accuracy_ci95: Interval | None
    log_loss: float | None
    knn: float | None
    behind: float | None
    behind_se: float | None
    log_me: float
    h_score: float

    def json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class _Judged:
    """The answers at one stage, and its scores."""

    seen: Validation
    knn: float | None
    log_me: float
    h_score: float


def depths(
    features: Mapping[str, Rows],
    labels: NDArray[Any],
    n_classes: int,
    *,
    seed: int = 0,
    groups: NDArray[Any] | None = None,
    most: int = MOST,
) -> tuple[Depth, ...]:
    """Every stage by a ridge head on rows left out, early to late, each compared with the best.

    The best is the most accurate one, of equals that of the least log-loss. Its own accuracy is
    that of a winner, a little too good: the more stages tie with it, the more.

    Args:
        features: stage name -> (N, D) pooled output of training rows, early to late.
        labels: (N,) in 0..n_classes-1.
        n_classes: K >= 2.
        seed: of the choice of rows, where there are more than `most`.
        groups: (N,) rows that are left out together.
        most: about how many rows to judge on; the time grows with its square at wide stages.

    Raises:
        HeadError: shapes, labels or values do not fit.
        OptionError: there are no features.
    """
    if not features:
        raise OptionError("features must hold at least one stage.")
    labels = check_examples(next(iter(features.values())), labels, n_classes)
    groups = check_groups(groups, labels)
    index = thinned(labels, most, seed=seed, groups=groups)
    truth = labels[index]
    kin = None if groups is None else groups[index]
    judged: dict[str, _Judged] = {}
    before: NDArray[Any] | None = None
    for stage, rows in features.items():
        check_examples(rows, labels, n_classes)
        x = take(rows, index)
        if before is not None and np.array_equal(x, before):  # a pooling of what is pooled already
            judged[stage] = judged[next(reversed(judged))]
        else:
            judged[stage] = _judge(x, truth, n_classes, kin)
        before = x
    return _compared(judged, units(kin, len(truth)))


def ties(depths: Sequence[Depth]) -> tuple[str, ...]:
    """The stages that are not worse than the best by more than noise, in the order given.

    A stage is worse if it is behind by 1.96 standard errors of the paired difference. Where no row
    could be answered all tie.
    """
    return tuple(
        depth.stage
        for depth in depths
        if depth.behind is None or depth.behind_se is None or depth.behind <= Z95 * depth.behind_se
    )


def _judge(
    x: NDArray[Any], labels: NDArray[np.int64], n_classes: int, groups: NDArray[Any] | None
) -> _Judged:
    spectrum = decompose(x, labels, n_classes)
    t = coordinates(spectrum, x)
    return _Judged(
        answers(spectrum, x, labels, groups),
        knn_of(t, labels, groups),
        log_me(x, labels, n_classes),
        h_score_of(spectrum, t),
    )


def _compared(judged: Mapping[str, _Judged], unit: NDArray[np.int64]) -> tuple[Depth, ...]:
    """All stages beside the best one; `unit` (N,) is what each row was left out with."""

    def rank(one: _Judged) -> tuple[float, float]:
        return -(one.seen.accuracy or 0.0), one.seen.log_loss or 0.0

    best = min(judged.values(), key=rank).seen
    out = []
    for stage, one in judged.items():
        seen = one.seen
        ci = behind = behind_se = None
        if seen.accuracy is not None:
            among = unit[seen.rows]
            ci = interval(seen.accuracy, independent(among))
            gap = best.correct.astype(np.float64) - seen.correct
            behind, behind_se = float(gap.mean()), error_of_mean(gap, among)
        out.append(
            Depth(
                stage=stage,
                n=seen.n,
                accuracy=seen.accuracy,
                accuracy_ci95=ci,
                log_loss=seen.log_loss,
                knn=one.knn,
                behind=behind,
                behind_se=behind_se,
                log_me=one.log_me,
                h_score=one.h_score,
            )
        )
    return tuple(out)
