"""Which stage a head should read and which head it should be: measured, not assumed.

    every stage ─► ridge, leave-one-out ─► neighbours joined while that helps ─► other heads there

One pass of the engine gives the pooled output of all stages, so all of this is linear algebra on
features that exist already. Everything is compared on rows that the candidate had not seen.

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
from regraft.heads.fitted import FittedHead, Validation
from regraft.heads.folds import folds
from regraft.heads.rows import Joined, Rows, check_examples, take

At = tuple[str, ...]

MOST_JOINED = 4  # stages side by side
MOST_SEARCHED = 1024  # rows that stages are ranked on; the winner is measured on all of them
STAGE_NOISE = 0.5  # standard errors by which a stage must beat the last one, and a join its part
HEAD_NOISE = 2.0  # standard errors by which a head must beat the usual one
FEW = 5  # rows per class, at the median, up to which nearest means are the usual head
MOST_LOGISTIC = 30_000_000  # rows · min(rows, columns) · classes that logistic takes on: seconds


@dataclass(frozen=True)
class Tried:
    """One candidate.

    Attributes:
        at: stages whose pooled outputs are read side by side.
        head: its name.
        accuracy: on rows it had not seen.
        accuracy_se: one standard error of the accuracy.
        log_loss: on the same rows, calibrated.
        log_loss_se: one standard error of the log-loss.
        kind: how the rows were kept unseen, e.g. 'leave-one-out'.
        n: rows that it answered; stages may be ranked on fewer than there are.
        chosen: whether this is the one.
    """

    at: At
    head: str
    accuracy: float
    accuracy_se: float
    log_loss: float
    log_loss_se: float
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
        table: everything that was tried, best log-loss first.
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
            )
        return self.tried[at, head]

    def smaller(self, most: int) -> _Search:
        """The same search on at most `most` rows, spread over the classes; itself if it has fewer.

        Groups stay: the rows of one that are here are still left out together.
        """
        n = len(self.labels)
        if n <= most:
            return self
        index = np.flatnonzero(folds(self.labels, -(-n // most), seed=self.seed) == 0)
        few = {name: take(rows, index) for name, rows in self.features.items()}
        groups = None if self.groups is None else np.asarray(self.groups)[index]
        return replace(self, features=few, labels=self.labels[index], groups=groups, tried={})

    def loss(self, at: At, head: str = "ridge") -> float:
        return float(losses(self.fit(at, head)).mean())


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
) -> Choice:
    """Choose stage and head by scores on unseen rows, and fit the winner on all rows.

    Args:
        features: stage name -> (N, D) float32 pooled output; from early to late, the last is 'end'.
        labels: (N,) in 0..n_classes-1.
        n_classes: K >= 2.
        at: 'end', a stage's name, several joined with '+', or 'auto'.
        head: 'auto' or a name in `regraft.heads.HEADS`.
        seed: of whatever is random.
        groups: (N,) rows that are left out together, see `regraft.heads.fitted.Head`.
        validation: features and labels to choose on instead of leaving rows out.

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
    search = _Search(features, checked_labels, n_classes, seed, groups, validation)
    place, why_at = (known, "") if known else _choose_stage(search, stages)
    name, why_head = (head, "") if head != "auto" else _choose_head(search, place)
    why = "; ".join(part for part in (why_at, why_head) if part) or "as asked"
    fitted = search.fit(place, name)
    return Choice(place, name, fitted, _table(search, place, name), why[0].upper() + why[1:] + ".")


def _known(at: str, stages: list[str]) -> At | None:
    """The stages that `at` names, None if they are to be chosen."""
    if at == "auto":
        return None
    names = tuple(stages[-1] if name == "end" else name for name in at.split("+"))
    for name in names:
        if name not in stages:
            raise CutError(
                f"There is no stage '{name}' among the features.{did_you_mean(name, stages)}"
            )
    return names


def better(new: FittedHead, old: FittedHead, errors: float = 1.0) -> bool:
    """Whether `new` beats `old` by more than `errors` standard errors of their paired difference.

    Both answered the same unseen rows, so row by row differences of log-loss cancel what is hard
    about a row; log-loss because it moves with every row where accuracy moves with a few.
    """
    gain = losses(old) - losses(new)
    return bool(gain.mean() > errors * gain.std() / len(gain) ** 0.5)


def _choose_stage(search: _Search, stages: list[str]) -> tuple[At, str]:
    """The best stage or run of neighbouring stages, if it beats the last by more than noise."""
    end: At = (stages[-1],)
    small = search.smaller(MOST_SEARCHED)
    best = _best_run(small, stages)
    search.ranked.update(small.tried)
    one, other = search.fit(best, "ridge"), search.fit(end, "ridge")
    if best == end or not better(one, other, STAGE_NOISE):
        return end, f"no stage beat '{end[0]}' by more than noise"
    a, b = checked(one), checked(other)
    return best, (
        f"stage {' + '.join(best)} scored {a.accuracy:.3f} (log-loss {a.log_loss:.3f}) on unseen "
        f"rows, '{end[0]}' {b.accuracy:.3f} ({b.log_loss:.3f})"
    )


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
        if not better(search.fit(new, "ridge"), search.fit(best, "ridge"), STAGE_NOISE):
            break
        best = new
    return best


def _choose_head(search: _Search, place: At) -> tuple[str, str]:
    """The usual head for so many rows, unless another beats it clearly; see the module's text."""
    rows = rows_at(search.features, place)
    n, d = rows.shape
    per_class = float(np.median(np.bincount(search.labels, minlength=search.n_classes)))
    if per_class <= FEW:
        return "prototypes", f"nearest class means for {per_class:g} examples per class"
    if n * min(n, d) * search.n_classes > MOST_LOGISTIC:
        usual, others = "ridge", ["prototypes"]
    else:
        usual, others = "logistic", ["ridge", "prototypes"]
    best = usual
    for name in others:
        if better(search.fit(place, name), search.fit(place, best), HEAD_NOISE):
            best = name
    told = ", ".join(
        f"{name} {checked(search.fit(place, name)).log_loss:.3f}" for name in (usual, *others)
    )
    if best == usual:
        reason = f"{best}, the usual head for so many rows: none beat it by more than noise"
    else:
        reason = f"{best}, which beat {usual} by more than noise"
    return best, f"{reason} (log-loss on unseen rows: {told})"


def _table(search: _Search, place: At, name: str) -> tuple[Tried, ...]:
    rows = []
    for (at, head), fitted in (search.ranked | search.tried).items():
        seen, loss = checked(fitted), losses(fitted)
        n, accuracy = seen.n, seen.accuracy
        rows.append(
            Tried(
                at=at,
                head=head,
                accuracy=accuracy,
                accuracy_se=(accuracy * (1 - accuracy) / n) ** 0.5,
                log_loss=seen.log_loss,
                log_loss_se=float(loss.std()) / n**0.5,
                kind=seen.kind,
                n=n,
                chosen=(at, head) == (place, name),
            )
        )
    return tuple(sorted(rows, key=lambda row: row.log_loss))
