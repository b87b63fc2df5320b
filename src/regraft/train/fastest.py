"""The way to compute a training that is fastest here, settled before its first step.

precision x memory format ─► threads ─► allocator ─► torch.compile, each with the best so far
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from regraft.engine import process
from regraft.train import candidates as ways
from regraft.train import draw, speed
from regraft.train.candidates import Candidate
from regraft.train.job import Job
from regraft.train.step import Batch

Say = Callable[[str], None]


def fastest(job: Job, threads: int, say: Say) -> Job:
    """The job with whatever its recipe leaves to be measured settled; process and module follow it.

    Args:
        job: its module is on its device.
        threads: that torch may have.
        say: called with one line for each choice.
    """
    best = _Search(job, threads, say).best()
    _use(job, best)
    return replace(job, amp=best.amp, memory=best.memory, recipe=best.put(job.recipe))


def settled(job: Job) -> None:
    """Threads and allocator of the process as the job's recipe has them: engines set their own."""
    if job.recipe.torch_threads:
        process.settle(job.recipe.torch_threads, job.recipe.allocator)


class _Search:
    """Measures what is left open, one setting after the other."""

    def __init__(self, job: Job, threads: int, say: Say) -> None:
        self.job, self.threads, self.say = job, threads, say
        self.number = next(i for i, phase in enumerate(job.plan) if not phase.solve)
        ready(job, self.number)
        epochs = [phase.epochs for phase in job.plan if not phase.solve]
        self.steps = ways.steps_of(epochs, len(job.train), job.recipe.batch)
        self.rows = piece(job)
        self.batches: list[Batch] = []
        #: Of a piece of a batch with the best so far; 0 until something was measured.
        self.seconds = 0.0

    def best(self) -> Candidate:
        """The fastest candidate."""
        recipe, device = self.job.recipe, self.job.device
        native = speed.native_bf16(device)
        first = ways.orders(recipe, self.threads, native_bf16=native)
        lacking = "; bf16 is not native here" * (recipe.amp == "auto" and not native)
        best = self._of(first, lacking) if len(first) > 1 else first[0]
        if self.steps >= ways.WORTH:
            while more := ways.fewer_threads(device, recipe, best):
                best, before = self._of([best, *more], later=True), best
                if best == before:
                    break
            if more := ways.allocators(device, recipe, best):
                best = self._of([best, *more], later=True, in_turns=False)
        return self._compiled(best)

    def _compiled(self, best: Candidate) -> Candidate:
        """The best so far, compiled if that repays its own time in the steps of the training."""
        recipe, tried = self.job.recipe, replace(best, compiled=True)
        if recipe.compile == "on":
            return tried
        if recipe.compile == "off" or recipe.checkpoint:
            return best
        if not self.seconds and self.steps >= ways.WORTH:
            self.seconds = self._measured([best]).seconds.get(best, 0.0)
        times = self.steps * recipe.accumulate
        if self.seconds * times < ways.LONG.get(self.job.device.split(":")[0], np.inf):
            return best
        found = self._measured([best, tried], later=True)
        if self.job.above.uncompiled or tried not in found.seconds or best not in found.seconds:
            self.say(f"{found.why(self.rows)}.")
            return best
        took, gain = found.first[tried], found.seconds[best] - found.seconds[tried]
        pays = took < times * (gain - speed.MARGIN * found.seconds[best])
        told = "pays" if pays else "does not pay"
        self.say(
            f"{found.why(self.rows)}; compiling took {took:.0f} s, which {told} in {self.steps} "
            "steps."
        )
        return tried if pays else best

    def _of(
        self,
        candidates: Sequence[Candidate],
        more: str = "",
        *,
        later: bool = False,
        in_turns: bool = True,
    ) -> Candidate:
        """The fastest of some, and say so."""
        found = self._measured(candidates, later=later, in_turns=in_turns)
        self.seconds = found.seconds.get(found.best, self.seconds)
        self.say(f"{found.why(self.rows)}{more}.")
        return found.best

    def _measured(
        self, candidates: Sequence[Candidate], *, later: bool = False, in_turns: bool = True
    ) -> speed.Choice:
        job, cut = self.job, int(self.job.plan[self.number].cut)
        if not self.batches:  # read once and ahead, as training reads ahead
            tries = range(ways.WARM_UPS + ways.BATCHES)
            self.batches = [first_batch(job, self.number, n, self.rows) for n in tries]

        def make_step(candidate: Candidate) -> speed.Step:
            _use(job, candidate)
            trial = replace(job, amp=candidate.amp, memory=candidate.memory)
            return lambda batch: loss_on(trial, cut, self.batches[batch])

        return speed.choose(
            job.above, make_step, candidates, job.device, job.seed, later=later, in_turns=in_turns
        )


def piece(job: Job) -> int:
    """Rows that are computed at once."""
    return max(1, job.recipe.batch // job.recipe.accumulate)


def _use(job: Job, candidate: Candidate) -> None:
    """Let process and module compute as a candidate says."""
    process.settle(candidate.threads, candidate.allocator)
    order = torch.channels_last if candidate.memory == "channels_last" else torch.contiguous_format
    job.above.to(memory_format=order)
    job.above.compiled = piece(job) if candidate.compiled else 0


def ready(job: Job, number: int) -> None:
    """Let the parameters of a phase have gradients, and no others."""
    job.above.cut = int(job.plan[number].cut)
    for name, parameter in job.above.parameters_by_name().items():
        parameter.requires_grad_(name in job.trained[number])
        parameter.grad = None
    job.above.train()


def first_batch(job: Job, number: int, batch: int, size: int) -> Batch:
    """Batch 0, 1, … of the training rows in a drawn order, plain views of `size` rows."""
    order = draw.order(job.seed, number, 0, len(job.train))
    rows = order[np.arange(batch * size, (batch + 1) * size) % len(order)]
    flows = job.train.flows[int(job.plan[number].cut)].read(rows, -1)
    return Batch(rows, np.full(len(rows), -1), flows)


def loss_on(job: Job, cut: int, batch: Batch) -> torch.Tensor:
    """The mean cross entropy of a batch."""
    flow = job.send(batch.flows)
    with job.autocast():
        logits = job.above(flow, cut)
    target = torch.from_numpy(job.train.labels[batch.rows]).to(job.device)
    return torch.nn.functional.cross_entropy(logits.float(), target)
