"""From parts to a model: a stage and a head, and what lies above the cut, learned.

parts ─► folds? ─► stage and head ─► training? ─► model ─► what it says of the test rows
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from regraft import choose
from regraft.cross import Folds, cross_validate
from regraft.features import Progress
from regraft.model import Model
from regraft.outcome import metrics
from regraft.parts import Parts, numbers
from regraft.prepare import Ready
from regraft.training import Answers, Say, Training, answers, model_of, train_parts

if TYPE_CHECKING:
    from regraft.train.adapt import Adapted


@dataclass(frozen=True)
class Asked:
    """What is to be learned.

    Attributes:
        at: the stage that the head reads, several joined by '+', or 'auto'.
        head: its name, or 'auto'.
        seed: of folds, random features and training.
        balance: 0..1, see `regraft.heads.fitted.fit_head`.
        taps: the stages that were computed, and the names of their features.
        folds: how many, and what each chooses among; None not to cross-validate.
        training: how stages are trained, None if none are.
        settings: every other setting of the fit, as plain data.
    """

    at: str
    head: str
    seed: int
    balance: float
    taps: Mapping[str, str]
    folds: Folds | None
    training: Training | None
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Learned:
    """What was learned.

    Attributes:
        choice: stage and head.
        model: with its metrics.
        answers: what it says of the test rows, None without any.
        training: with what was settled by measuring, None if nothing was trained.
        made: what training made.
    """

    choice: choose.Choice
    model: Model
    answers: Answers | None
    training: Training | None = None
    made: Adapted | None = None


def learn(
    ready: Ready,
    asked: Asked,
    say: Say,
    progress: Progress | None,
    lap: Callable[[str], None],
) -> Learned:
    """Choose and fit the head, and train if that was asked.

    Args:
        ready: features and parts, with validation rows where stages are trained.
        asked: what is to be learned.
        say: called with one line per finding.
        progress: called with (pictures done, pictures in all).
        lap: called with what the time since its last call was spent on.

    Raises:
        RegraftError: in one sentence, if it cannot be done.
    """
    parts, training, made = ready.parts, asked.training, None
    how: dict[str, Any] = {"seed": asked.seed, "balance": asked.balance, "say": say}
    crossed = None
    if asked.folds:
        crossed = cross_validate(parts, asked.taps, dealt=asked.folds, **how)
        lap("folds")
    choice = _choose(parts, asked)
    lap("head")
    say(choice.why)
    if training:
        training, made = train_parts(
            training, parts, ready.pipe, choice,
            asked=_facts(ready, asked), progress=progress, **how,
        )  # fmt: skip
        lap("training")
        model = model_of(training, made, parts, choice, ready.pipe, asked.seed)
    else:
        model = _solved(ready, choice, asked.seed)
    said = answers(model, parts, made)
    scored = said.scores() if said else None
    model = replace(model, metrics=metrics(model, parts, crossed, scored))
    return Learned(choice, model, said, training, made)


def _choose(parts: Parts, asked: Asked) -> choose.Choice:
    """Stage and head, chosen on the validation part or by leaving rows out.

    Where stages are trained the validation part is theirs: the head must not learn from it. And
    training balances once it is through: a head that is balanced already would be so twice.
    """
    held = None
    if parts.val.examples and asked.training is None:
        rows = {name: parts.val.rows[tap] for name, tap in asked.taps.items()}
        held = (rows, numbers(parts.val, parts.classes))
    return choose.choose(
        {name: parts.train.rows[tap] for name, tap in asked.taps.items()},
        numbers(parts.train, parts.classes),
        len(parts.classes),
        validation=held,
        groups=parts.groups,
        at=asked.at,
        head=asked.head,
        seed=asked.seed,
        balance=0.0 if asked.training else asked.balance,
    )


def _facts(ready: Ready, asked: Asked) -> dict[str, Any]:
    """What a training depends on, besides the pictures: where it differs none is taken up again."""
    pipe = ready.pipe
    return {
        **asked.settings,
        "backbone": pipe.info.digest,
        "at": asked.at,
        "head": asked.head,
        "size": pipe.info.input.json().get("size"),
        "geometry": ready.geometry.name,
        "device": pipe.device,
        "engine": pipe.engine.name,
        "precision": pipe.precision,
    }


def _solved(ready: Ready, choice: choose.Choice, seed: int) -> Model:
    """The model of a head on frozen stages, without its metrics."""
    return Model(
        ready.pipe.backbone,
        choice.at,
        choice.fitted,
        ready.parts.classes,
        {},
        ready.pipe.facts(),
        seed,
        trained=frozenset(ready.parts.pool.digests),
    )
