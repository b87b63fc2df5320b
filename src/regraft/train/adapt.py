"""From parts of the data and a plan to an adapted backbone with its head.

head solved or fresh ─► flows at every cut ─► speed ─► loop ─► WiSE-FT ─► tuned backbone, head
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regraft.backbones import Backbone
from regraft.engine.process import settling
from regraft.features import Progress
from regraft.heads.fitted import FittedHead
from regraft.heads.modules import layers_of
from regraft.parts import Parts, numbers
from regraft.pipeline import Pipeline
from regraft.plans import Phase, Recipe
from regraft.train import adapters, head, wise
from regraft.train.above import HEAD
from regraft.train.fastest import settled
from regraft.train.job import Job, Watch
from regraft.train.loop import Trained, train
from regraft.train.making import Making
from regraft.train.score import BATCH, logits_of, losses_of, score_of
from regraft.train.state import Keeper
from regraft.train.told import lines, rate_tables

Say = Callable[[str], None]
#: What a head is called that training changed: it has no settings to solve it again with.
TRAINED = "trained"


@dataclass(frozen=True)
class Wanted:
    """A training as it was asked for.

    Attributes:
        plan: phases whose cuts are numbers.
        recipe: what holds for all of them.
        at: index of the stage that the head reads.
        solved: the head that was solved on the training rows; None to begin afresh.
        balance: 0..1, see `regraft.heads.fitted.fit_head`.
        seed: of everything random.
        finish: train no further than an earlier attempt did.
    """

    plan: tuple[Phase, ...]
    recipe: Recipe
    at: int
    solved: FittedHead | None
    balance: float
    seed: int
    finish: bool = False


@dataclass(frozen=True)
class Adapted:
    """What training made.

    Attributes:
        backbone: with the trained stages in it.
        head: calibrated on the validation rows.
        test: (M, K) probabilities of the test rows; None without any.
        trained: what the loop tells.
        wise: the curve over alpha and the alpha that was taken, None where none was asked for.
        parameters: how many numbers were trained.
        rates: for each phase what it trains, see `regraft.train.told`.
        reads: (M, D) what the head reads of the test rows; None without any.
    """

    backbone: Backbone
    head: FittedHead
    test: NDArray[np.float32] | None
    trained: Trained
    wise: dict[str, Any] | None
    parameters: int
    rates: list[list[dict[str, Any]]]
    reads: NDArray[np.float32] | None = None

    def json(self) -> dict[str, Any]:
        """What the report tells of it."""
        return {
            "best": self.trained.best,
            "curve": self.trained.curve,
            "stopped": self.trained.stopped,
            "parameters": self.parameters,
            "wise": self.wise,
            "rates": self.rates,
        }


def adapt(
    parts: Parts,
    pipe: Pipeline,
    wanted: Wanted,
    keeper: Keeper,
    say: Say,
    watch: Watch,
    chose: Callable[[tuple[Phase, ...], Recipe], None],
    progress: Progress | None = None,
) -> Adapted:
    """Train what lies above the cut.

    Args:
        parts: with validation rows; their rows hold the plain flow at each cut that is kept.
        pipe: what made them.
        wanted: what was asked.
        keeper: of checkpoints.
        say: called with one line per finding.
        watch: called once per epoch.
        chose: called with the plan and the recipe once nothing is left to be measured.
        progress: called with (pictures done, pictures in all) while views are made.

    Raises:
        RegraftError: in one sentence, if it cannot be done.
    """
    with settling(pipe.threads):
        making = Making(
            parts, pipe, wanted.plan, wanted.recipe, wanted.at, wanted.seed, say, progress
        )
        job = making.job(wanted.solved)
        chose(job.plan, job.recipe)
        tables = rate_tables(job)
        for line in lines(tables):
            say(line)
        plain = making.plain
        done = train(job, keeper, watch, finish=wanted.finish)
        adapters.merge(job.above.stages)
        mixed = _wise(job, plain, say) if done.best["phase"] else None
        logits = logits_of(job, job.val, job.above.first)
        counts = np.bincount(numbers(parts.train, parts.classes), minlength=len(parts.classes))
        layers = layers_of(job.above.head, making.layers)
        fitted = head.fitted(TRAINED, layers, logits, job.val.labels, counts, wanted.balance)
        own = {n: t for n, t in job.above.tensors().items() if not n.startswith(HEAD)}
        reads = _test(making, job)
        return Adapted(
            pipe.backbone.tuned(own),
            fitted,
            None if reads is None else fitted.probabilities(reads),
            done,
            mixed,
            making.trained_numbers(job),
            tables,
            reads,
        )


def _wise(job: Job, plain: dict[str, torch.Tensor], say: Say) -> dict[str, Any] | None:
    """Weights between those before and after, as the recipe asks; the module has them then."""
    asked = job.recipe.wise
    if asked == "off":
        return None
    live = job.above.tensors()
    after = job.above.snapshot()

    def scored() -> tuple[Any, ...]:
        logits = logits_of(job, job.val, job.above.first)
        found = score_of(logits, job.val.labels)
        losses = losses_of(logits, job.val.labels) if np.isfinite(found.log_loss) else None
        return found.accuracy, found.log_loss, losses

    points = wise.curve(live, plain, after, scored)
    alpha = wise.pick(points).alpha if asked == "auto" else float(asked)
    wise.mix(live, plain, after, alpha)
    say(f"WiSE-FT: {alpha:g} of the way from the weights before to those after")
    return {"alpha": alpha, "curve": [point.json() for point in points]}


def _test(making: Making, job: Job) -> NDArray[np.float32] | None:
    """(M, D) what the head reads of the test rows, from their flows at the lowest cut."""
    part = making.part(making.parts.test, views=False, cuts=(job.above.first,))
    if not len(part):
        return None
    features = []
    settled(job)  # the engine has set threads of its own
    job.above.eval()
    with torch.inference_mode():
        for start in range(0, len(part), BATCH):
            index = np.arange(start, min(start + BATCH, len(part)))
            flow = job.send(part.flows[job.above.first].read(index, -1))
            features.append(job.above.features(flow, job.above.first).float().cpu().numpy())
    return np.asarray(np.concatenate(features), np.float32)
