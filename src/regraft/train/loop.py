"""A plan from its first phase to its last, top to bottom.

phase ─► epoch ─► steps ─► validation ─► better? kept : patience ─► next phase from the best
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from regraft.errors import TrainingError
from regraft.plans import Phase
from regraft.train import draw, ema, loss, memory, optim, rates
from regraft.train.fastest import settled
from regraft.train.job import Job, Watch
from regraft.train.score import Score, score
from regraft.train.state import Keeper, Place, State, Tensors
from regraft.train.step import Batch, forward_backward, loss_of, seeded

ENDED = "ended as asked, before the plan was through"
AHEAD = 2  # batches that are read while one is computed


@dataclass(frozen=True)
class Trained:
    """What came of a plan; the module holds the best weights of all phases.

    Attributes:
        best: where they were reached: phase, epoch, accuracy, log_loss.
        curve: one entry per epoch.
        before: the tensors with which training began.
        stopped: why it ended early, '' if it did not.
        parts: that batches had to be computed in.
    """

    best: dict[str, Any]
    curve: list[dict[str, Any]]
    before: Tensors
    stopped: str
    parts: int


def train(job: Job, keeper: Keeper, watch: Watch, *, finish: bool = False) -> Trained:
    """Run the phases of a plan that train, from where an earlier attempt stopped.

    Args:
        job: what to train on what; its module is changed.
        keeper: keeps checkpoints.
        watch: called once per epoch with plain data.
        finish: train no further than an earlier attempt did.

    Raises:
        TrainingError: it diverged before anything was better than the beginning.
    """
    with _random():
        before = job.above.snapshot()
        state = keeper.found() or _begin(job)
        if finish and not state.place.stopped:
            state.place.stopped = ENDED
        while state.place.phase < len(job.plan) and not state.place.stopped:
            if not job.plan[state.place.phase].solve:
                _Phase(job, state, keeper, watch).run()
            _next_phase(state)
        job.above.restore(state.best)
        job.above.eval()
        place = state.place
        return Trained(place.best, place.curve, before, place.stopped, place.parts)


def _begin(job: Job) -> State:
    """The state before the first step; what is there already is the best so far."""
    now = job.above.snapshot()
    place = Place(parts=job.recipe.accumulate)
    first = score(job, job.val, min(job.val.flows))
    place.best = {"phase": 0, "epoch": 0} | first.json()
    return State(place, now, {name: t.clone() for name, t in now.items()}, {})


def _next_phase(state: State) -> None:
    """Go on from the best weights so far."""
    place = state.place
    place.phase, place.epoch, place.step, place.since = place.phase + 1, 0, 0, 0
    place.phase_best, place.loss, place.rows = float("inf"), 0.0, 0
    state.now, state.more = state.best, {}


@contextmanager
def _random() -> Iterator[None]:
    """torch's global generators are seeded at every step: the caller's stay as they were."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield


class _Phase:
    """One phase: its optimizer, its epochs."""

    def __init__(self, job: Job, state: State, keeper: Keeper, watch: Watch) -> None:
        self.job, self.state, self.keeper, self.watch = job, state, keeper, watch
        self.place = state.place
        self.number = self.place.phase
        self.phase: Phase = job.plan[self.number]
        self.cut = int(self.phase.cut)
        full, rest = divmod(len(job.train), job.recipe.batch)
        # One row alone has no statistics for BatchNorm: it joins the batch before.
        self.steps = full + (rest > 1 or not full)
        self.parameters = self._open()
        self.guards = job.guards(job, self.number)
        rate_of = rates.rates(job.above.stage_of(), self.phase, job.above.at + 1)
        # L2-SP pulls towards the weights before in the place of a pull towards 0.
        recipe = replace(job.recipe, weight_decay=0.0) if job.recipe.l2sp else job.recipe
        self.optimizer = optim.optimizer(self.parameters, rate_of, recipe, self.phase)
        self.base = [group["lr"] for group in self.optimizer.param_groups]
        self.mean = ema.Ema(self.parameters, job.recipe.ema) if job.recipe.ema else None
        if state.more:
            self._take_back(state.more)
        self.loss = loss.Loss(job.recipe, job.train.labels, job.n_classes, job.device)
        self.recent: list[float] = []
        if self.place.eager:
            job.above.compiled = 0
        settled(job)  # a guard may have opened an engine, which sets threads of its own

    def _open(self) -> dict[str, torch.nn.Parameter]:
        """Load the weights, and let only what this phase trains have gradients."""
        above, chosen = self.job.above, set(self.job.trained[self.number])
        above.restore(self.state.now)
        above.cut = self.cut
        for name, parameter in above.parameters_by_name().items():
            parameter.requires_grad_(name in chosen)
            parameter.grad = None
        return {n: p for n, p in above.parameters_by_name().items() if n in chosen}

    def run(self) -> None:
        """The epochs that are left."""
        while self.place.epoch < self.phase.epochs:
            start = time.perf_counter()
            if not self._epoch():
                return
            better = self._validate(time.perf_counter() - start)
            if self.phase.patience and self.place.since >= self.phase.patience:
                return
            if self.keeper.due(better=better):
                self._keep()

    def _epoch(self) -> bool:
        """The steps that are left of one epoch; False if the loss is no number any more."""
        job, place = self.job, self.place
        job.above.train()
        for batch in self._batches():
            seed = seeded(job, self.number, place.epoch, place.step)
            factor = optim.schedule(
                place.epoch * self.steps + place.step, self.phase.epochs * self.steps, self.phase
            )
            for group, base in zip(self.optimizer.param_groups, self.base, strict=True):
                group["lr"] = base * factor
            value = self._step(batch, seed)
            if not np.isfinite(value):
                self._diverged(batch, value)
                return False
            self.recent = [*self.recent[-31:], value]
            place.loss += value * len(batch.rows)
            place.rows += len(batch.rows)
            place.step += 1
            if place.step < self.steps and self.keeper.due():
                self._keep()
        return True

    def _step(self, batch: Batch, seed: int) -> float:
        """Forward, backward and one step of the optimizer; the batch's mean loss."""
        job = self.job

        buffers = [] if job.above.keep_statistics else list(job.above.buffers())
        before = [buffer.clone() for buffer in buffers]

        def attempt(parts: int) -> float:
            self.optimizer.zero_grad(set_to_none=True)
            torch.manual_seed(seed)
            for buffer, held in zip(buffers, before, strict=True):
                buffer.copy_(held)  # an attempt that ran out of memory has counted rows already
            return forward_backward(job, batch, self.cut, self.loss, self.guards, seed, parts)

        value, self.place.parts = self._computed(attempt, len(batch.rows))
        if not np.isfinite(value):
            return value
        for guard in self.guards:
            value += guard.pull()
        norm = optim.clip(self.parameters.values(), job.recipe.clip)
        if not np.isfinite(norm):
            return float("nan")
        self.optimizer.step()
        if self.mean is not None:
            self.mean.update()
        return value

    def _computed(self, attempt: Callable[[int], float], rows: int) -> tuple[float, int]:
        """A batch in as many parts as memory wants, without torch.compile if that fails."""
        place, above = self.place, self.job.above
        try:
            return memory.fit_in_memory(attempt, place.parts, rows)
        except RuntimeError as problem:
            if not above.gave_up(problem):
                raise
            return memory.fit_in_memory(attempt, place.parts, rows)
        finally:
            place.eager = place.eager or bool(above.uncompiled)

    def _batches(self) -> Iterator[Batch]:
        """The batches of this epoch that are left, read in a thread ahead of their use."""
        job, place = self.job, self.place
        n, size = len(job.train), job.recipe.batch
        flows = job.train.flows[self.cut]
        order = draw.order(job.seed, self.number, place.epoch, n)
        view = draw.views(job.seed, self.number, place.epoch, n, flows.views)

        def read(step: int) -> Batch:
            rows = order[step * size : (step + 1) * size if step + 1 < self.steps else None]
            return Batch(rows, view[rows], flows.read(rows, view[rows]))

        todo = list(range(place.step, self.steps))
        with ThreadPoolExecutor(1, thread_name_prefix="read") as pool:
            waiting: list[Future[Batch]] = [pool.submit(read, step) for step in todo[:AHEAD]]
            try:
                for step in todo:
                    batch = waiting.pop(0).result()
                    if step + AHEAD < self.steps:
                        waiting.append(pool.submit(read, step + AHEAD))
                    yield batch
            finally:
                for future in waiting:
                    future.cancel()

    def _validate(self, seconds: float) -> bool:
        """Score this epoch's weights, and keep them if none were better; whether they were."""
        job, place = self.job, self.place
        with self.mean.swapped() if self.mean else nullcontext():
            found = score(job, job.val, self.cut)
            finite = bool(np.isfinite(found.log_loss))
            better = finite and (found.log_loss < place.best["log_loss"] or self._must_move())
            if better:
                self.state.best = job.above.snapshot()
                place.best = {"phase": self.number + 1, "epoch": place.epoch + 1} | found.json()
        place.since = 0 if found.log_loss < place.phase_best else place.since + 1
        place.phase_best = min(place.phase_best, found.log_loss)
        self._tell(found, seconds)
        place.epoch, place.step, place.loss, place.rows = place.epoch + 1, 0, 0.0, 0
        return better

    def _must_move(self) -> bool:
        """Whether what was there before counts for nothing: WiSE-FT goes back to it by itself."""
        return self.job.recipe.wise != "off" and self.place.best["phase"] == 0

    def _tell(self, found: Score, seconds: float) -> None:
        place = self.place
        entry = {
            "phase": self.number + 1,
            "epoch": place.epoch + 1,
            "train_loss": place.loss / max(place.rows, 1),
        } | found.json()
        place.curve.append(entry)
        left = seconds * (self.phase.epochs - place.epoch - 1)
        epochs = {
            "number": len(place.curve),
            "epochs": self.phase.epochs,
            "phases": len(self.job.plan),
        }
        self.watch(entry | epochs | {"seconds": seconds, "left_seconds": left})

    def _diverged(self, batch: Batch, value: float) -> None:
        """End the plan with the best weights so far, or refuse if none are any good."""
        names = [self.job.train.names[row] for row in batch.rows]
        why = loss.cause(
            self.recent, batch.flows, self.job.amp, names, partial(self._in_f32, batch)
        )
        place = self.place
        told = (
            f"the loss was no finite number in phase {self.number + 1}, epoch {place.epoch + 1}, "
            f"step {place.step + 1}: {why}"
        )
        if place.best["phase"] == 0 and not self.job.solved:
            raise TrainingError(f"{told}; nothing was learned before that: use a smaller lr.")
        place.stopped = told

    def _in_f32(self, batch: Batch) -> float:
        """The loss of a batch in float32."""
        plain = replace(self.job, amp="f32")
        with torch.no_grad():
            return float(loss_of(plain, batch, self.cut, self.loss, self.guards, 0))

    def _keep(self) -> None:
        """Write a checkpoint of this very step."""
        self.state.now = self.job.above.tensors()
        more = {f"optimizer/{n}": t for n, t in optim.state_of(self.optimizer).items()}
        if self.mean is not None:
            more |= {f"ema/{n}": t for n, t in self.mean.state().items()}
        self.state.more = more
        self.keeper.keep(self.state)

    def _take_back(self, more: Tensors) -> None:
        """Optimizer and running mean as they were at the checkpoint."""
        held = {kind: {} for kind in ("optimizer", "ema")}  # type: dict[str, Tensors]
        for name, tensor in more.items():
            kind, _, rest = name.partition("/")
            held[kind][rest] = tensor
        optim.restore(self.optimizer, held["optimizer"])
        if self.mean is not None:
            self.mean.restore(held["ema"])
