"""Whether the labels have anything to do with the rows: an exact permutation test.

The score of a ridge head on rows left out is compared with those that shuffled labels get. At a
fixed penalty a left-out score is linear in the labels, so one matrix per stage serves every
shuffle. Several stages are looked at; each shuffle, and the labels as given, are represented by the
stage where they stand out most, so that the luck of the best of several stages is on both sides of
the comparison (the maximum statistic; Westfall and Young 1993).

On five sets of pictures the labels as they are passed in all of 25 draws at 10 and at 20 rows per
class, and at 5 as well but for two classes, where 0.72 of them did; the rest are said to be too few
to tell. Shuffled labels passed in 0.009 of 1,500 cases. What is compared is the margin, not the
accuracy, with which fewer passed (0.6 where the margin has 0.8, at another level).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import exp, lgamma
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import OptionError
from regraft.evidence.scores import coordinates
from regraft.heads.folds import thinned, units
from regraft.heads.leave_out import leave_out
from regraft.heads.rows import Rows, check_examples, check_groups, take
from regraft.heads.spectrum import decompose

LEVEL = 0.01  # how often shuffled labels may pass for learnable
FEW_LEVEL = 0.02  # the same where labels can be dealt in so few ways that the best would not pass
FEW = 20  # rows or groups per class, on average, with which a "no" is believed
DOUBT = 0.2  # half as many will do where the p-value is above this
SHUFFLES = 299
MOST = 1024  # rows to look at
STAGES = 4  # spread over the depth, the last among them
AT_ONCE = 1 << 22  # scores that are computed together
ALIKE = 1e-4  # of a spread, by which float32 may miss that two shuffles are the same

Labels = NDArray[np.int64]
Real = NDArray[np.float32]


@dataclass(frozen=True)
class Learnable:
    """What the test says.

    Attributes:
        learnable: whether the labels do better than shuffled ones: so well do these in `LEVEL` of
            the cases, or in `FEW_LEVEL` where there are hardly any ways to shuffle.
        enough: whether there are enough rows to say so; if not, `learnable` is False and only means
            that nothing was shown.
        p_value: how likely shuffled labels do as well; None if there was nothing to compare.
        accuracy: of the labels as they are: the share of right answers on rows left out, by
            evidence alone, as a mean over classes; None if there was nothing to compare.
        chance: the same of shuffled labels, on average.
        n: rows that were looked at; those that are alone in their class are not among them.
        why: one sentence.
    """

    learnable: bool
    enough: bool
    p_value: float | None
    accuracy: float | None
    chance: float | None
    n: int
    why: str

    def json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def learnable(
    features: Mapping[str, Rows],
    labels: NDArray[Any],
    n_classes: int,
    *,
    seed: int = 0,
    groups: NDArray[Any] | None = None,
) -> Learnable:
    """Whether anything can be learned from these rows.

    Args:
        features: stage name -> (N, D) pooled output of training rows, early to late.
        labels: (N,) in 0..n_classes-1.
        n_classes: K >= 2.
        seed: of the shuffles, and of the choice of rows where there are more than `MOST`.
        groups: (N,) rows that are left out together; they take the labels of another group
            together where labels are shuffled.

    Raises:
        HeadError: shapes, labels or values do not fit.
        OptionError: there are no features.
    """
    if not features:
        raise OptionError("features must hold at least one stage.")
    stages = _some(list(features))
    labels = check_examples(features[stages[-1]], labels, n_classes)
    groups = check_groups(groups, labels)
    index = _in_company(labels, units(groups, len(labels)))
    said = _left_away(labels, index)
    if len(np.unique(labels[index])) < 2:
        return _unknown(
            len(index), f"fewer than two classes have two examples that are apart{said}"
        )
    chosen = index[thinned(labels[index], MOST, seed=seed, groups=_at(groups, index))]
    truth = np.unique(labels[chosen], return_inverse=True)[1]
    unit = units(_at(groups, chosen), len(chosen))
    apart = int(unit.max()) + 1
    seen = f"{len(chosen)} examples" + (f" in {apart} groups" if apart < len(chosen) else "")
    least = _least_p(truth, unit)
    level = LEVEL if 2 * least <= LEVEL else FEW_LEVEL
    if least > level:
        few = f"{seen} are too few to tell what is learned from luck{said}"
        return _unknown(len(chosen), few)
    shuffled = _shuffles(truth, unit, np.random.default_rng(seed))
    told = []
    for stage in stages:
        check_examples(features[stage], labels, n_classes)
        operator = _operator(take(features[stage], chosen), unit)
        if operator is not None:
            told.append(_scores(operator, shuffled))
    if not told:
        same = f"to the network all {len(chosen)} examples look the same{said}"
        return Learnable(False, True, None, None, None, len(chosen), _sentence(same))
    p, accuracy, chance = _compare(np.stack([m for m, _ in told]), np.stack([a for _, a in told]))
    good = p <= level
    enough = good or apart >= FEW * (int(truth.max()) + 1) * (0.5 if p > DOUBT else 1.0)
    if good:
        verdict = "the labels go with the examples"
    elif enough:
        verdict = "nothing can be learned here"
    else:
        verdict = f"{seen} are too few to tell what is learned from luck"
    scored = f"left out in turn they score {accuracy:.3f}, with shuffled labels {chance:.3f}"
    why = _sentence(f"{verdict}: {scored} (p = {p:.3f}){said}")
    return Learnable(good, enough, p, accuracy, chance, len(chosen), why)


def _unknown(n: int, why: str) -> Learnable:
    return Learnable(False, False, None, None, None, n, _sentence(why))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _some(stages: list[str]) -> list[str]:
    """At most `STAGES` names, evenly spread, the last among them."""
    if len(stages) <= STAGES:
        return stages
    last = len(stages) - 1
    places = np.rint(np.linspace(last, 0, STAGES + 1)[:-1]).astype(int)
    return [stages[place] for place in places[::-1]]


def _at(groups: Labels | None, index: NDArray[np.intp]) -> Labels | None:
    return None if groups is None else groups[index]


def _in_company(labels: Labels, unit: Labels) -> NDArray[np.intp]:
    """The rows whose class occurs in more than one unit."""
    classes = np.unique(np.stack([labels, unit], axis=1), axis=0)[:, 0]
    return np.flatnonzero(np.bincount(classes, minlength=int(labels.max()) + 1)[labels] > 1)


def _left_away(labels: Labels, index: NDArray[np.intp]) -> str:
    """What to say of the classes none of whose rows counts."""
    lone = len(np.unique(labels)) - len(np.unique(labels[index]))
    if not lone:
        return ""
    return (
        f"; {lone} class{'es' if lone > 1 else ''} with one example (or copies of it) not counted"
    )


def _least_p(labels: Labels, unit: Labels) -> float:
    """The least p-value any labels could get: one over the ways to deal them to the units.

    Classes of one size may change names, which is no other way.
    """
    held = np.zeros((int(unit.max()) + 1, int(labels.max()) + 1), np.int64)
    np.add.at(held, (unit, labels), 1)
    kinds, counts = np.unique(held > 0, axis=0, return_counts=True)
    ways = lgamma(len(held) + 1) - sum(lgamma(count + 1) for count in counts)
    same = np.unique(counts[kinds.sum(axis=1) == 1], return_counts=True)[1]
    return exp(-max(ways - sum(lgamma(names + 1) for names in same), 0.0))


def _shuffles(labels: Labels, unit: Labels, rng: np.random.Generator) -> Labels:
    """(1 + SHUFFLES, N): the labels, then shuffled ones.

    Each unit takes the labels of another, in random order, repeated where that one has fewer rows.
    With units of one size that keeps all that is exchangeable; with single rows it is a
    permutation.
    """
    sizes = np.bincount(unit)
    starts = np.cumsum(sizes) - sizes
    order = np.argsort(unit, kind="stable")
    place = np.empty(len(unit), np.int64)
    place[order] = np.arange(len(unit)) - starts[unit[order]]
    out = [labels]
    for _ in range(SHUFFLES):
        donor = rng.permutation(len(sizes))[unit]
        mixed = np.lexsort((rng.random(len(unit)), unit))
        out.append(labels[mixed[starts[donor] + place % sizes[donor]]])
    return np.stack(out)


def _operator(x: NDArray[Any], unit: Labels) -> Real | None:
    """(N, N) from one-hot labels to left-out scores; None if no column varies.

    A head that tells every row apart has as its scores the weights by which each label enters. Its
    penalty is the mean eigenvalue. The intercept, that is how common the classes are among the
    rows that stay, is taken away: it tells against the class that was left out.
    """
    n = len(x)
    every = np.arange(n)
    spectrum = decompose(x, every, n)
    if not len(spectrum.values):
        return None
    t = coordinates(spectrum, x)
    weights = leave_out(spectrum, t, every, float(spectrum.values.mean()) / n, unit)
    away = unit[:, None] != unit
    weights -= 1.0 / away.sum(axis=1, keepdims=True)
    return np.asarray(weights * away, np.float32)


def _scores(operator: Real, shuffled: Labels) -> tuple[NDArray[Any], NDArray[Any]]:
    """(P,) mean margins and mean accuracies of P labellings (P, N).

    The margin is the evidence for a row's class less the mean of that for the others. Classes
    weigh the same, however many rows they have.
    """
    k = int(shuffled.max()) + 1
    share = np.bincount(shuffled[0], minlength=k) / shuffled.shape[1]
    spread = np.sqrt(share * (1 - share)).astype(np.float32)
    step = max(1, AT_ONCE // (k * shuffled.shape[1]))
    margins, rights = [], []
    for start in range(0, len(shuffled), step):
        some = shuffled[start : start + step]
        one_hot = (some.T[:, :, None] == np.arange(k)).astype(np.float32)
        scores = (operator @ one_hot.reshape(len(operator), -1)).reshape(one_hot.shape) / spread
        own = np.take_along_axis(scores, some.T[:, :, None], axis=2)[:, :, 0]
        margin = own - (scores.sum(axis=2) - own) / (k - 1)
        counts = one_hot.sum(axis=0)  # of each class in each labelling
        here = (counts > 0).sum(axis=1)
        weight = 1.0 / np.take_along_axis(counts, some, axis=1).T / here
        margins.append((margin * weight).sum(axis=0))
        rights.append(((scores.argmax(axis=2) == some.T) * weight).sum(axis=0))
    return np.concatenate(margins), np.concatenate(rights)


def _compare(margins: NDArray[Any], rights: NDArray[Any]) -> tuple[float, float, float]:
    """p-value, accuracy and chance from (S, P) margins and accuracies at S stages.

    The first labelling is the one as given. Margins of a stage are measured against all of its
    labellings, so that stages may be compared.
    """
    wide = margins.astype(np.float64)
    spread = wide.std(axis=1, keepdims=True)
    apart = (wide - wide.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    stage = apart.argmax(axis=0)
    most = apart.max(axis=0)
    reached = rights[stage, np.arange(len(stage))]
    p = float((most >= most[0] - ALIKE).mean())
    return p, float(reached[0]), float(reached[1:].mean())
