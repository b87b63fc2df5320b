"""Training as a part of a fit: from the parts of the data to a model whose stages have learned.

plan (phases, recipe) ─► flows beside the features ─► head solved ─► regraft.train ─► model
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones import Backbone
from regraft.choose import Choice
from regraft.errors import OptionError
from regraft.evaluate import evaluate
from regraft.features import Features, Progress
from regraft.flows import choose
from regraft.model import Model
from regraft.parts import Parts
from regraft.pipeline import Pipeline
from regraft.plans import Phase, Planned, Recipe

if TYPE_CHECKING:
    from regraft.train.adapt import Adapted

log = logging.getLogger("regraft")

Say = Callable[[str], None]
Watch = Callable[[dict[str, Any]], None]


def _quiet(event: dict[str, Any]) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Answers:
    """What a model says of rows that it did not learn from.

    Attributes:
        rows: they, with their features.
        classes: the columns' names.
        probabilities: (N, K).
        reads: (N, D) what the head read; None if it read what `rows` has.
    """

    rows: Features
    classes: tuple[str, ...]
    probabilities: NDArray[Any]
    reads: NDArray[Any] | None = None

    @property
    def labels(self) -> list[str]:
        """(N) the truth."""
        return [example.label or "" for example in self.rows.examples]

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) whether the most probable class is the true one."""
        names = np.array(self.classes, object)[self.probabilities.argmax(axis=1)]
        return np.asarray(names == np.array(self.labels, object), bool)

    def scores(self) -> dict[str, Any]:
        """See `regraft.evaluate.Scores`, as plain data."""
        return evaluate(self.probabilities, self.labels, self.classes).json()


@dataclass(frozen=True)
class Training:
    """How a fit trains, resolved.

    Attributes:
        name: of the plan.
        plan: phases whose cuts are numbers.
        recipe: what holds for all of them.
        at: index of the stage that the head reads.
        unfinished: where its state is kept while it runs; None keeps none.
        log: 'tensorboard:DIR' or 'mlflow:URI', '' for none.
        finish: train no further than an earlier attempt did.
        begun: what was asked for, before anything was chosen by the room there is.
        watch: called once per epoch with plain data.
    """

    name: str
    plan: tuple[Phase, ...]
    recipe: Recipe
    at: int
    unfinished: Path | None = None
    log: str = ""
    finish: bool = False
    begun: dict[str, Any] = field(default_factory=dict)
    watch: Watch = _quiet

    @property
    def cuts(self) -> list[int]:
        """The cuts at which something is trained, lowest first."""
        return sorted({int(phase.cut) for phase in self.plan if not phase.solve})

    @property
    def solves(self) -> bool:
        """Whether the head is solved in closed form first."""
        return any(phase.solve for phase in self.plan)

    def kept(self, pipe: Pipeline, rows: int, learn: int) -> tuple[Training, str]:
        """With what there is room to keep on disk, and why, '' if nothing was left to choose.

        Args:
            pipe: of the features.
            rows: pictures in all.
            learn: those that may have augmented views.
        """
        recipe = self.recipe
        if before := self._chosen():
            # The room is another one by now; what the earlier attempt kept is what there is.
            settled = replace(recipe, keep=before["keep"], views=before["views"])
            return replace(self, recipe=settled, begun=self.asked()), ""
        views = recipe.views if recipe.augment else 0
        found = choose(
            pipe,
            self.cuts,
            rows,
            viewed=learn,
            augment=recipe.augment,
            views=views,
            keep=recipe.keep,
        )
        views = found.views if recipe.augment else recipe.views
        settled = replace(recipe, keep=found.keep, views=views)
        return replace(self, recipe=settled, begun=self.asked()), found.why

    def _chosen(self) -> dict[str, Any]:
        """The recipe that an earlier attempt settled on; empty if there was none."""
        from regraft.train.started import started

        held = started(self.unfinished) if self.unfinished else None
        return dict(held["chosen"].get("recipe", {})) if held else {}

    def settings(self) -> dict[str, Any]:
        """What run.toml holds of it: the recipe's fields by name, and the phases as tables."""
        return (
            {"plan": self.name}
            | asdict(self.recipe)
            | {"phases": [asdict(phase) for phase in self.plan]}
        )

    def asked(self) -> dict[str, Any]:
        """Plain data: the phases and the recipe."""
        return {
            "plan": self.name,
            "phases": [asdict(phase) for phase in self.plan],
            "recipe": asdict(self.recipe),
        }


def begun(
    planned: Planned,
    net: Backbone,
    at: list[str] | None,
    folds: bool,
    unfinished: Path | None,
    log: str,
    finish: bool,
    watch: Watch | None,
) -> Training:
    """A plan that trains, its cuts as numbers of the backbone's stages; see `Training`.

    Args:
        planned: the plan.
        net: the backbone.
        at: the stages that the head reads, None if they are to be chosen.
        folds: whether folds were asked for.
        unfinished, log, finish: see `Training`.
        watch: called once per epoch with plain data, None for nobody.

    Raises:
        OptionError: the head does not read one stage, or folds; or a cut that does not exist.
    """
    place = one_stage(net, at, folds)
    phases = planned.resolved(net, place)
    return Training(
        planned.name, phases, planned.recipe, place, unfinished, log, finish, watch=watch or _quiet
    )


def train_parts(
    training: Training,
    parts: Parts,
    pipe: Pipeline,
    choice: Choice,
    *,
    asked: dict[str, Any],
    seed: int,
    balance: float,
    say: Say,
    progress: Progress | None,
) -> tuple[Training, Adapted]:
    """Train on the parts; what was left to be measured is settled in the training returned.

    Args:
        training: the plan.
        parts: with validation rows.
        pipe: what made their features.
        choice: the head, solved on the training rows.
        asked: every other setting of the fit, as plain data.
        seed: of everything random.
        balance: 0..1, see `regraft.heads.fitted.fit_head`.
        say: called with one line per finding.
        progress: called with (pictures done, pictures in all).

    Raises:
        RegraftError: in one sentence, if it cannot be done.
    """
    from regraft.train.adapt import Wanted, adapt
    from regraft.train.started import begin, note
    from regraft.train.state import Keeper

    every = asked | (training.begun or training.asked()) | {"seed": seed, "balance": balance}
    plain = json.loads(json.dumps(every))
    rows = rows_of(parts)
    chosen = begin(training.unfinished, plain, rows)
    settled = settle(training, chosen) if chosen else training
    wanted = Wanted(
        settled.plan,
        settled.recipe,
        training.at,
        choice.fitted if training.solves else None,
        balance,
        seed,
        training.finish,
    )

    def chose(plan: tuple[Phase, ...], recipe: Recipe) -> None:
        nonlocal settled
        settled = replace(settled, plan=plan, recipe=recipe)
        held = {"phases": [asdict(p) for p in plan], "recipe": asdict(recipe)}
        note(training.unfinished, plain, rows, held)

    keeper = Keeper(training.unfinished)
    with logged(training) as watch:
        made = adapt(parts, pipe, wanted, keeper, say, watch, chose, progress)
    if made.trained.stopped:
        say(f"training stopped and the best so far is kept: {made.trained.stopped}")
    return settled, made


def rows_of(parts: Parts) -> dict[str, str]:
    """What training depends on of each row, its digest, label and part, by the row's id.

    Data to test on may have the ids of data to learn from, so theirs begin with 'test: '.
    """
    named = (("train", "", parts.train), ("val", "", parts.val), ("test", "test: ", parts.test))
    return {
        before + example.id: f"{digest} {name} {example.label}"
        for name, before, part in named
        for example, digest in zip(part.examples, part.digests, strict=True)
    }


@contextmanager
def logged(training: Training) -> Iterator[Watch]:
    """A watch that tells the caller's, and writes to where `log` says."""
    if not training.log:
        yield training.watch
        return
    from regraft.train.logs import sink

    with sink(training.log, training.name, str(training.unfinished or "")) as log:

        def watch(event: dict[str, Any]) -> None:
            log(event)
            training.watch(event)

        yield watch


def settle(training: Training, chosen: dict[str, Any]) -> Training:
    """The training with what an earlier attempt chose by measuring."""
    plan = tuple(Phase(**phase) for phase in chosen["phases"])
    return replace(training, plan=plan, recipe=Recipe(**chosen["recipe"]))


def model_of(
    training: Training,
    made: Adapted,
    parts: Parts,
    choice: Choice,
    pipe: Pipeline,
    seed: int,
) -> Model:
    """The model that training made, without its metrics."""
    told = {
        "name": training.name,
        "phases": [asdict(phase) for phase in training.plan],
        "recipe": asdict(training.recipe),
    }
    return Model(
        made.backbone,
        choice.at,
        made.head,
        parts.classes,
        {},
        pipe.facts(),
        seed,
        trained=frozenset(parts.pool.digests),
        plan=told,
    )


def answers(model: Model, parts: Parts, made: Adapted | None) -> Answers | None:
    """What the model says of the test rows; None without any."""
    if not parts.test.examples:
        return None
    if made is None or made.test is None:
        return Answers(parts.test, parts.classes, model.probabilities(parts.test))
    return Answers(parts.test, parts.classes, made.test, made.reads)


def one_stage(net: Backbone, at: list[str] | None, folds: bool) -> int:
    """The index of the one stage that the head of a plan that trains reads.

    Raises:
        OptionError: several stages, or one that is still to be chosen, or folds.
    """
    if folds:
        raise OptionError(
            "--folds measures plans that solve a head (probe, early); for a plan that trains use "
            "'regraft compare --seeds'."
        )
    if at is None or len(at) != 1:
        raise OptionError(
            "--at must name one stage for a plan that trains; 'auto' and several joined are for "
            "the plan probe."
        )
    return net.index(at[0])
