"""Which stage a head should read and which head it should be: measured, not assumed.

    every stage ─► ridge, leave-one-out ─► neighbours joined while that helps ─► other heads there

One pass of the engine gives the pooled output of all stages, so all of this is linear algebra on
features that exist already. Everything is compared on rows that the candidate had not seen and
whose class it had; with one row per class there are none, so nothing is compared.

What `auto` prefers was measured on four sets of photos (ants and bees, flowers, steel, small
pictures) at 2 to 60 and all rows per class, against scores of the test part. Up to 5 rows per
class nearest means are best (log-loss 0.97, ridge 1.43, logistic 1.51). Above that logistic
regression is (at 40 rows 0.832 against 0.830 and log-loss 0.475 against 0.499), so another head
has to beat it by two standard errors. Where it would take many seconds ridge, which is as good to
a point, stands in. An MLP was never better and is slow: it runs only when asked for. Neither is
the random lift of ridge tried: it gained nothing at these sizes.

A stage, or up to four neighbours side by side, has to beat the last stage by half a standard
error, so that the best of twenty does not win by luck alone: over 15, 40 and 100 rows per class
that scored 0.834 (log-loss 0.508) where the last stage had 0.822 (0.568), no margin 0.832 (0.517),
one standard error 0.828 (0.520) and two 0.826 (0.547).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft import heads
from regraft.errors import CutError, HeadError, OptionError, did_you_mean
from regraft.heads.fitted import HELD_OUT, FittedHead, Validation
from regraft.heads.folds import LEAST, thinned, units
from regraft.heads.rows import Joined, Rows, check_examples, check_groups, take

At = tuple[str, ...]

MOST_JOINED = 4  # stages side by side
MOST_SEARCHED = 1024  # rows that stages are ranked on; the winner is measured on all of them
STAGE_NOISE = 0.5  # standard errors by which a stage must beat the last one, and a join its part
HEAD_NOISE = 2.0  # standard errors by which a head must beat the usual one
EARLY = "early"  # the best stage below the last
FEW = 5  # rows or groups per class, at the median, up to which nearest means are the usual head
MOST_LOGISTIC = 30_000_000  # rows · min(rows, columns) · classes that logistic takes on: seconds


@dataclass(frozen=True)
class Tried:
    """One candidate.

    Attributes:
        at: stages whose pooled outputs are read side by side.
        head: its name.
        accuracy: on rows it had not seen; None if n is 0, as are the next three.
        accuracy_se: one standard error of the accuracy.
        log_loss: on the same rows, calibrated.
        log_loss_se: one standard error of the log-loss.
        kind: how the rows were kept unseen, e.g. 'leave-one-out'.
        n: rows that it answered; stages may be ranked on fewer than there are, and rows that are
            alone in their class do not count.
        chosen: whether this is the one.
    """

    at: At
    head: str
    accuracy: float | None
    accuracy_se: float | None
    log_loss: float | None
    log_loss_se: float | None
    kind: str
    n: int
    chosen: bool = False

    def json(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "at": list(self.at)}


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        at: stages to read, in order; more than one are joined side by side.
        head: its name.
        fitted: it, fitted on everything.
        table: everything that was tried, best log-loss first, those without one last.
        why: one sentence.
    """

    at: At
    head: str
    fitted: FittedHead
    table: tuple[Tried, ...]
    why: str


@dataclass
class _Search:
    """The examples, what was tried on them so far, and what was tried on a part of them."""

    features: Mapping[str, Rows]
    labels: NDArray[np.int64]
    n_classes: int
    seed: int
    groups: NDArray[Any] | None
    validation: tuple[Mapping[str, Rows], NDArray[Any]] | None
    balance: float = 0.0
    tried: dict[tuple[At, str], FittedHead] = field(default_factory=dict)
    ranked: dict[tuple[At, str], FittedHead] = field(default_factory=dict)

    def fit(self, at: At, head: str) -> FittedHead:
        """The candidate, fitted once."""
        if (at, head) not in self.tried:
            held = None
            if self.validation is not None:
                held = (rows_at(self.validation[0], at), self.validation[1])
            self.tried[at, head] = heads.fit(
                head,
                rows_at(self.features, at),
                self.labels,
                self.n_classes,
                seed=self.seed,
                groups=self.groups,
                validation=held,
                balance=self.balance,
            )
        return self.tried[at, head]

    def smaller(self, most: int) -> _Search:
        """The same search on about `most` rows, see `thinned`; itself if it has fewer."""
        index = thinned(self.labels, most, seed=self.seed, groups=self.groups)
        if len(index) == len(self.labels):
            return self
        few = {name: take(rows, index) for name, rows in self.features.items()}
        groups = None if self.groups is None else np.asarray(self.groups)[index]
        return replace(self, features=few, labels=self.labels[index], groups=groups, tried={})

    def loss(self, at: At, head: str = "ridge") -> float:
        return float(losses(self.fit(at, head)).mean())

    def better(self, new: FittedHead, old: FittedHead, errors: float) -> bool:
        """`better`, rows of one group taken as one."""
        return better(new, old, errors, None if self.validation is not None else self.groups)


def rows_at(features: Mapping[str, Rows], at: Sequence[str]) -> Rows:
    """The rows of one stage, or of several side by side."""
    return features[at[0]] if len(at) == 1 else Joined([features[name] for name in at])


def checked(fitted: FittedHead) -> Validation:
    """The validation of a head that was just fitted.

    Raises:
        HeadError: the head was stored and read back, without its validation.
    """
    if fitted.validation is None:
        raise HeadError("A head that was read back has no validation scores to compare.")
    return fitted.validation


def losses(fitted: FittedHead) -> NDArray[np.float64]:
    """(n,) negative log-probability of each unseen row's class."""
    seen = checked(fitted)
    picked = seen.probabilities[np.arange(seen.n), seen.labels]
    return -np.log(np.maximum(picked.astype(np.float64), 1e-12))


def choose(
    features: Mapping[str, Rows],
    labels: NDArray[Any],
    n_classes: int,
    *,
    at: str = "end",
    head: str = "auto",
    seed: int = 0,
    groups: NDArray[Any] | None = None,
    validation: tuple[Mapping[str, Rows], NDArray[Any]] | None = None,
    balance: float = 0.0,
) -> Choice:
    """Choose stage and head by scores on unseen rows, and fit the winner on all rows.

    Args:
        features: stage name -> (N, D) float32 pooled output; from early to late, the last is 'end'.
        labels: (N,) in 0..n_classes-1.
        n_classes: K >= 2.
        at: 'end', a stage's name, several joined with '+', 'auto', or 'early' for the best one
            below the last.
        head: 'auto' or a name in `regraft.heads.HEADS`.
        seed: of whatever is random, any whole number from 0.
        groups: (N,) rows that are left out together, such as copies of one file; see
            `regraft.heads.fitted.Head`. A group counts as one example where heads are compared
            and where the usual head depends on how many there are.
        validation: features and labels to choose on instead of leaving rows out.
        balance: see `regraft.heads.fitted.fit_head`.

    Raises:
        CutError: there is no such stage.
        HeadError: there is no such head, or the rows do not fit one.
        OptionError: there are no features.
    """
    stages = list(features)
    if not stages:
        raise OptionError("features must hold at least one stage.")
    known = _known(at, stages)
    if head != "auto" and head not in heads.HEADS:
        heads.head(head)
    checked_labels = check_examples(features[stages[-1]], labels, n_classes)
    groups = check_groups(groups, checked_labels)
    search = _Search(features, checked_labels, n_classes, seed, groups, validation, balance)
    if at == EARLY:
        place, why_at = _choose_earlier(search, stages)
    else:
        place, why_at = (known, "") if known else _choose_stage(search, stages)
    name, why_head = (head, "") if head != "auto" else _choose_head(search, place)
    why = "; ".join(part for part in (why_at, why_head) if part) or "as asked"
    fitted = search.fit(place, name)
    return Choice(place, name, fitted, _table(search, place, name), why[0].upper() + why[1:] + ".")


def _known(at: str, stages: list[str]) -> At | None:
    """The stages that `at` names, None if they are to be chosen."""
    if at in ("auto", EARLY):
        return None
    names = tuple(stages[-1] if name == "end" else name for name in at.split("+"))
    for name in names:
        if name not in stages:
            raise CutError(
                f"There is no stage '{name}' among the features.{did_you_mean(name, stages)}"
            )
    return names


def better(
    new: FittedHead, old: FittedHead, errors: float = 1.0, groups: NDArray[Any] | None = None
) -> bool:
    """Whether `new` beats `old` by more than `errors` standard errors of their paired difference.

    Row by row differences of log-loss on the unseen rows that both answered cancel what is hard
    about a row; log-loss because it moves with every row where accuracy moves with a few. Rows of
    one group err together: the standard error is that of the sums over groups. Without a row that
    both answered nothing is better.
    """
    one, other = checked(new).rows, checked(old).rows
    rows, a, b = np.intersect1d(one, other, assume_unique=True, return_indices=True)
    if not len(rows):
        return False
    gain = losses(old)[b] - losses(new)[a]
    unit = units(None if groups is None else np.asarray(groups)[rows], len(rows))
    apart = np.bincount(unit, weights=gain - gain.mean())
    return bool(gain.mean() > errors * float(np.sqrt((apart**2).sum())) / len(gain))


def _choose_stage(search: _Search, stages: list[str]) -> tuple[At, str]:
    """The best stage or run of neighbouring stages, if it beats the last by more than noise."""
    end: At = (stages[-1],)
    if checked(search.fit(end, "ridge")).n == 0:
        return end, f"'{end[0]}', since no class has a second row to compare stages on"
    small = search.smaller(MOST_SEARCHED)
    best = _best_run(small, stages)
    search.ranked.update(small.tried)
    one, other = search.fit(best, "ridge"), search.fit(end, "ridge")
    if best == end or not search.better(one, other, STAGE_NOISE):
        return end, f"no stage beat '{end[0]}' by more than noise"
    a, b = checked(one), checked(other)
    return best, (
        f"stage {' + '.join(best)} scored {_told(a.accuracy)} (log-loss {_told(a.log_loss)}) "
        f"{_where(one)}, '{end[0]}' {_told(b.accuracy)} ({_told(b.log_loss)})"
    )


def _choose_earlier(search: _Search, stages: list[str]) -> tuple[At, str]:
    """The best single stage whose features are not those of the last one."""
    last = np.asarray(search.features[stages[-1]][slice(0, LEAST)])
    earlier = [
        name
        for name in stages[:-1]
        if not np.array_equal(np.asarray(search.features[name][slice(0, LEAST)]), last)
    ]
    if not earlier:
        raise CutError(
            "the plan 'early' needs a stage below the last one, and there is none: use --plan "
            "probe."
        )
    small = search.smaller(MOST_SEARCHED)
    best = min(earlier, key=lambda name: small.loss((name,)))
    search.ranked.update(small.tried)
    told = _told(checked(search.fit((best,), "ridge")).log_loss)
    return (best,), f"stage {best}, the best of {len(earlier)} below the last (log-loss {told})"


def _best_run(search: _Search, stages: list[str]) -> At:
    """The best single stage, grown by the better neighbour while that pays."""
    singles: list[At] = [(name,) for name in stages]
    best = min(singles, key=search.loss)
    while len(best) < MOST_JOINED:
        first, last = stages.index(best[0]), stages.index(best[-1])
        wider = [
            tuple(stages[a : b + 1])
            for a, b in ((first - 1, last), (first, last + 1))
            if a >= 0 and b < len(stages)
        ]
        new = min(wider, key=search.loss, default=best)
        if not search.better(search.fit(new, "ridge"), search.fit(best, "ridge"), STAGE_NOISE):
            break
        best = new
    return best


def _choose_head(search: _Search, place: At) -> tuple[str, str]:
    """The usual head for so many rows, unless another beats it clearly; see the module's text."""
    rows = rows_at(search.features, place)
    n, d = rows.shape
    unit = units(search.groups, n)
    distinct = np.unique(np.stack([search.labels, unit], axis=1), axis=0)[:, 0]
    per_class = float(np.median(np.bincount(distinct, minlength=search.n_classes)))
    if per_class <= FEW:
        plural = "" if per_class == 1 else "s"
        return "prototypes", f"nearest class means for {per_class:g} example{plural} per class"
    if n * min(n, d) * search.n_classes > MOST_LOGISTIC:
        usual, others = "ridge", ["prototypes"]
    else:
        usual, others = "logistic", ["ridge", "prototypes"]
    best = usual
    for name in others:
        if search.better(search.fit(place, name), search.fit(place, best), HEAD_NOISE):
            best = name
    told = ", ".join(
        f"{name} {_told(checked(search.fit(place, name)).log_loss)}" for name in (usual, *others)
    )
    if best == usual:
        reason = f"{best}, the usual head for so many rows: none beat it by more than noise"
    else:
        reason = f"{best}, which beat {usual} by more than noise"
    where = _where(search.fit(place, best))
    return best, f"{reason} (log-loss {where}: {told})"


def _where(fitted: FittedHead) -> str:
    """On which rows a head was scored, in words."""
    seen = checked(fitted)
    if seen.kind == HELD_OUT:
        return f"on {seen.n} validation images"
    return f"in cross-validation on {seen.n} training images"


def _told(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _table(search: _Search, place: At, name: str) -> tuple[Tried, ...]:
    rows = []
    for (at, head), fitted in (search.ranked | search.tried).items():
        seen, loss = checked(fitted), losses(fitted)
        n, right = seen.n, seen.accuracy
        rows.append(
            Tried(
                at=at,
                head=head,
                accuracy=right,
                accuracy_se=None if right is None else (right * (1 - right) / n) ** 0.5,
                log_loss=seen.log_loss,
                log_loss_se=float(loss.std()) / n**0.5 if n else None,
                kind=seen.kind,
                n=n,
                chosen=(at, head) == (place, name),
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.n == 0, row.log_loss or 0.0)))
