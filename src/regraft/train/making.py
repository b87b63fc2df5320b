"""The pieces of a training, in order: flows, module, what each phase trains, how to compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from regraft.backbones.info import Tap
from regraft.backbones.tuned import tensors_of
from regraft.data.sources import bare
from regraft.errors import OptionError
from regraft.features import Features, Progress, compute, refuse_nothing
from regraft.flows import flow_name, flows, widened
from regraft.heads.fitted import FittedHead
from regraft.heads.layers import Layers
from regraft.parts import Parts, numbers
from regraft.pipeline import Pipeline, tap_name
from regraft.plans import Phase, Recipe
from regraft.train import adapters, drop, finder, head, names, optim, rates
from regraft.train.above import HEAD, Above
from regraft.train.fastest import fastest, first_batch, loss_on, ready
from regraft.train.fisher import MOST
from regraft.train.guards import guards
from regraft.train.job import Job, Part
from regraft.train.scratch import random_tensors

Say = Callable[[str], None]


class Making:
    """Makes a `Job`.

    Attributes:
        parts: of the data.
        layers: the head's layers as training began with them.
        plain: every tensor before training, by its name in the original network.
    """

    layers: Layers
    plain: dict[str, torch.Tensor]

    def __init__(
        self,
        parts: Parts,
        pipe: Pipeline,
        plan: tuple[Phase, ...],
        recipe: Recipe,
        at: int,
        seed: int,
        say: Say,
        progress: Progress | None,
    ) -> None:
        self.parts, self.pipe, self.say, self.progress = parts, pipe, say, progress
        self.plan, self.recipe, self.at, self.seed = plan, recipe, at, seed
        self.cuts = tuple(sorted({int(phase.cut) for phase in plan if not phase.solve}))

    def job(self, solved: FittedHead | None) -> Job:
        """Everything that training needs, on its device.

        Args:
            solved: the head to begin with; None to begin afresh.
        """
        self._fit_batch()
        train_part = self.part(self.parts.train, views=True, cuts=self.cuts)
        val_part = self.part(self.parts.val, views=False, cuts=self.cuts)
        above = self._above(solved)
        self.plain = above.snapshot()
        trained = self._open(above)
        above.to(self.pipe.device)
        job = Job(
            above,
            self.plan,
            self.recipe,
            train_part,
            val_part,
            len(self.parts.classes),
            self.seed,
            solved=solved is not None,
            device=self.pipe.device,
            trained=trained,
        )
        job = fastest(self._guarded(job), self.pipe.threads, self.say)
        self.recipe = job.recipe
        return self._rated(job)

    def _fit_batch(self) -> None:
        """Refuse a batch larger than the data; the usual one becomes as large as they are."""
        rows = len(self.parts.train.examples)
        if self.recipe.batch <= rows:
            return
        if self.recipe.batch != Recipe().batch:
            raise OptionError(
                f"batch must be at most the number of training rows ({rows}), got "
                f"{self.recipe.batch}."
            )
        self.say(f"batches of {rows} rows, since there are no more to train on")
        accumulate = min(self.recipe.accumulate, rows)
        self.recipe = replace(self.recipe, batch=rows, accumulate=accumulate)

    def part(self, features: Features, *, views: bool, cuts: Sequence[int]) -> Part:
        """The flows of one part of the data at some cuts, with augmented views where asked."""
        labels = numbers(features, self.parts.classes) if features.examples else np.empty(0, int)
        ids = [example.id for example in features.examples]
        if not features.examples:
            return Part({}, labels, ids)
        recipe = self.recipe
        made = flows(
            features,
            self.pipe,
            cuts,
            augment=recipe.augment if views else "",
            views=recipe.views if views else 0,
            seed=self.seed,
            keep=recipe.keep,
            progress=self.progress,
        )
        if views:
            if made.why:
                self.say(made.why)
            kept = made.views if recipe.augment else recipe.views
            self.recipe = replace(recipe, keep=made.keep, views=kept)
        return Part(made.flows, labels, ids)

    def trained_numbers(self, job: Job) -> int:
        """How many numbers some phase trains."""
        return self._count

    def _rows(self) -> Any:
        """The pooled features (N, D) of the training rows at `at`."""
        return self.parts.train.rows[tap_name(Tap(self.at, True))]

    def _above(self, solved: FittedHead | None) -> Above:
        scratch = any(phase.scratch for phase in self.plan)
        if solved is not None:
            self.layers = head.solved(solved, self._rows())
        else:
            rows = None if scratch else self._rows()
            self.layers = head.fresh(self._rows().shape[1], len(self.parts.classes), rows)
        above = Above(self.pipe.backbone, self.cuts[0], self.at, self.layers)
        if scratch:
            random = random_tensors(self.pipe.backbone, self.seed)
            begun = above.stages[int(self.plan[0].cut) - above.first :]
            own = tensors_of(begun, self.pipe.info.name)
            above.restore(above.tensors() | {n: random.get(n, t) for n, t in own.items()})
        above.keep_statistics = self.recipe.batch_norm == "keep" and not scratch
        if above.counts():
            _refuse_single_rows(self.recipe)
        above.recompute = self.recipe.checkpoint
        above.dropout = self.recipe.dropout
        return above

    def _open(self, above: Above) -> tuple[tuple[str, ...], ...]:
        """What each phase trains, by name; adapters and drop paths are put in."""
        found: list[tuple[str, ...]] = []
        for phase in self.plan:
            found.append(() if phase.solve else self._names(above, phase))
        if self.recipe.drop_path:
            drop.drop_paths(above.stages, self.recipe.drop_path)
        sizes = {n: p.numel() for n, p in above.parameters_by_name().items()}
        # LoRA of a later phase moved what earlier phases train into the layer that it wraps.
        now = {name.replace(".base_layer.", "."): name for name in sizes} | {n: n for n in sizes}
        trained = tuple(tuple(now[name] for name in chosen) for chosen in found)
        self._count = sum(sizes[name] for name in set().union(*trained))
        return trained

    def _names(self, above: Above, phase: Phase) -> tuple[str, ...]:
        stages = above.stages[int(phase.cut) - above.first :]
        own = [n for n in above.parameters_by_name() if n.startswith(HEAD)]
        if phase.adapter:
            return (*adapters.apply(stages, phase, self.seed), *own)
        if any(".lora_" in name for name in above.parameters_by_name()):
            raise OptionError(
                "a plan with a lora phase must train nothing but lora from there on: give the "
                "later phases adapter = 'lora' too."
            )
        return tuple(names.choose(stages, phase.only, own))

    def _guarded(self, job: Job) -> Job:
        recipe = self.recipe
        if not (recipe.l2sp or recipe.ewc or recipe.lwf):
            return job

        def make(job: Job, phase: int) -> Any:
            source = self._source_flows if recipe.ewc_source else None
            return guards(job, self.pipe.backbone, phase, self.plain, self.say, source)

        return replace(job, guards=make)

    def _source_flows(self, cut: int) -> Iterator[torch.Tensor]:
        """Flows (1, …) of the source images that the recipe names."""
        found = bare(self.recipe.ewc_source, self.pipe.info.input.modality)
        spread = np.linspace(0, len(found.examples) - 1, min(len(found.examples), MOST))
        some = [found.examples[int(place)] for place in np.unique(spread.astype(int))]
        seen = compute(some, widened(replace(self.pipe, taps=()), [cut], "full"), self.progress)
        refuse_nothing(seen, (*found.skipped, *seen.skipped), self.recipe.ewc_source)
        rows = seen.rows[flow_name(cut)]
        for row in range(len(rows)):
            flow = torch.from_numpy(rows.raw(np.array([row])))
            preamble = self.pipe.info.input.preamble()
            yield preamble(flow) if cut == 0 else flow

    def _rated(self, job: Job) -> Job:
        """With a rate found for each phase that has none."""
        plan = list(job.plan)
        for number, phase in enumerate(plan):
            if not phase.solve and phase.lr == 0.0:
                rate = found_rate(job, number)
                self.say(f"phase {number + 1}: learning rate {rate:.2g}, found by a sweep")
                plan[number] = replace(phase, lr=rate)
        self.plan = tuple(plan)
        return replace(job, plan=self.plan)


def found_rate(job: Job, number: int) -> float:
    """The learning rate that a sweep over batches finds for a phase; weights stay as they are."""
    phase = replace(job.plan[number], lr=1.0)
    ready(job, number)
    own = {n: p for n, p in job.above.parameters_by_name().items() if n in job.trained[number]}
    relative = rates.rates(job.above.stage_of(), phase, job.above.at + 1)

    def loss(batch: int) -> torch.Tensor:
        return loss_on(job, int(phase.cut), first_batch(job, number, batch, job.recipe.batch))

    compiled, job.above.compiled = job.above.compiled, 0  # a few steps repay no compiling
    found = finder.find(
        job.above,
        loss,
        lambda: optim.optimizer(own, relative, job.recipe, phase),
        seed=job.seed,
    )
    job.above.compiled = compiled
    return found.rate


def _refuse_single_rows(recipe: Recipe) -> None:
    """Refuse steps on single rows where BatchNorm counts: a row alone has no spread.

    Raises:
        OptionError: the batch is computed in parts of one row.
    """
    rows = recipe.batch // recipe.accumulate
    if rows < 2:
        parts = f" in {recipe.accumulate} parts" if recipe.accumulate > 1 else ""
        raise OptionError(
            "BatchNorm above the cut is updated and needs 2 rows or more at a time, batches of "
            f"{recipe.batch}{parts} give it {rows}: raise batch, lower accumulate, or set "
            "batch_norm to keep."
        )
