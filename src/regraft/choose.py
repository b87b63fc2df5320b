"""Which stage a head should read and which head it should be: measured, not assumed.

    every stage ─► ridge, leave-one-out ─► neighbours joined while that helps ─► other heads there

One pass of the engine gives the pooled output of all stages, so all of this is linear algebra on
features that exist already. Everything is compared on rows that the candidate had not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft import heads
from regraft.errors import CutError, HeadError, OptionError, did_you_mean
from regraft.heads.fitted import FittedHead, Validation
from regraft.heads.rows import Joined, Rows

At = tuple[str, ...]

MOST_JOINED = 4  # stages side by side


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
        chosen: whether this is the one.
    """

    at: At
    head: str
    accuracy: float
    accuracy_se: float
    log_loss: float
    log_loss_se: float
    kind: str
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
    """The examples, and what was tried on them so far."""

    features: Mapping[str, Rows]
    labels: NDArray[Any]
    n_classes: int
    seed: int
    groups: NDArray[Any] | None
    validation: tuple[Mapping[str, Rows], NDArray[Any]] | None
    tried: dict[tuple[At, str], FittedHead] = field(default_factory=dict)

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
        at: 'end', a stage's name, or 'auto'.
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
    if at not in ("end", "auto") and at not in features:
        raise CutError(f"There is no stage '{at}' among the features.{did_you_mean(at, stages)}")
    if head != "auto" and head not in heads.HEADS:
        heads.head(head)
    search = _Search(features, labels, n_classes, seed, groups, validation)
    home: At = (stages[-1] if at in ("end", "auto") else at,)
    place, why_at = (home, "") if at != "auto" else _choose_stage(search, stages)
    name, why_head = (head, "") if head != "auto" else _choose_head(search, place)
    why = " and ".join(part for part in (why_at, why_head) if part) or "As asked"
    fitted = search.fit(place, name)
    return Choice(place, name, fitted, _table(search, place, name), why + ".")


def better(new: FittedHead, old: FittedHead) -> bool:
    """Whether `new` beats `old` by more than one standard error of their paired difference.

    Both answered the same unseen rows, so row by row differences of log-loss cancel what is hard
    about a row; log-loss because it moves with every row where accuracy moves with a few.
    """
    gain = losses(old) - losses(new)
    return bool(gain.mean() > gain.std() / len(gain) ** 0.5)


def _choose_stage(search: _Search, stages: list[str]) -> tuple[At, str]:
    end: At = (stages[-1],)
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
        if search.loss(new) >= search.loss(best):
            break
        best = new
    if best == end or not better(search.fit(best, "ridge"), search.fit(end, "ridge")):
        return end, f"no stage beat '{end[0]}' by more than noise"
    a, b = (checked(search.fit(x, "ridge")) for x in (best, end))
    return best, (
        f"{' + '.join(best)} scored {a.accuracy:.3f} (log-loss {a.log_loss:.3f}) on unseen rows, "
        f"'{end[0]}' {b.accuracy:.3f} ({b.log_loss:.3f})"
    )


def _choose_head(search: _Search, place: At) -> tuple[str, str]:
    return "ridge", "ridge has exact leave-one-out"


def _table(search: _Search, place: At, name: str) -> tuple[Tried, ...]:
    rows = []
    for (at, head), fitted in search.tried.items():
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
                chosen=(at, head) == (place, name),
            )
        )
    return tuple(sorted(rows, key=lambda row: row.log_loss))
