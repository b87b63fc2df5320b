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

Say = Callable[[str], None]


def fastest(job: Job, threads: int, say: Say) -> Job:
    """The job with whatever its recipe leaves to be measured settled; process and module follow it.

    Args:
        job: its module is on its device.
        threads: that torch may have.
        say: called with one line for each choice.
    """
    number = next(i for i, phase in enumerate(job.plan) if not phase.solve)
    ready(job, number)
    steps = _steps(job)
    native = speed.native_bf16(job.device)
    first = ways.orders(job.recipe, threads, native_bf16=native)
    best, seconds = first[0], 0.0
    if len(first) > 1:
        found = _measured(job, number, first)
        best, seconds = found.best, found.seconds.get(found.best, 0.0)
        say(found.why + _not_native(job, native) + ".")
    if steps >= ways.WORTH:
        for others, in_turns in ((ways.fewer_threads, True), (ways.allocators, False)):
            if more := others(job.device, job.recipe, best):
                found = _measured(job, number, [best, *more], later=True, in_turns=in_turns)
                best, seconds = found.best, found.seconds.get(found.best, seconds)
                say(found.why + ".")
    if not seconds and steps >= ways.WORTH and job.recipe.compile == "auto":
        seconds = _measured(job, number, [best]).seconds.get(best, 0.0)
    best = _compiled(job, number, best, seconds * steps, steps, say)
    _use(job, best)
    return replace(job, amp=best.amp, memory=best.memory, recipe=best.put(job.recipe))


def _compiled(
    job: Job, number: int, best: Candidate, left: float, steps: int, say: Say
) -> Candidate:
    """The best so far, compiled if that repays its own time in the seconds that are `left`."""
    tried = replace(best, compiled=True)
    if job.recipe.compile == "off" or job.recipe.checkpoint:
        return best
    if job.recipe.compile == "on":
        return tried
    if left < ways.LONG.get(job.device.split(":")[0], np.inf):
        return best
    found = _measured(job, number, [best, tried], later=True)
    if job.above.uncompiled or tried not in found.seconds:
        return best
    took, gain = found.first[tried], found.seconds[best] - found.seconds[tried]
    pays = took < steps * (gain - speed.MARGIN * found.seconds[best])
    told = "pays" if pays else "does not pay"
    say(f"{found.why}; compiling took {took:.0f} s, which {told} in {steps} steps.")
    return tried if pays else best


def _steps(job: Job) -> int:
    epochs = [phase.epochs for phase in job.plan if not phase.solve]
    return ways.steps_of(epochs, len(job.train), job.recipe.batch)


def _not_native(job: Job, native: bool) -> str:
    return "" if native or job.recipe.amp != "auto" else "; bf16 is not native here"


def _measured(
    job: Job,
    number: int,
    candidates: Sequence[Candidate],
    *,
    later: bool = False,
    in_turns: bool = True,
) -> speed.Choice:
    def make_step(candidate: Candidate) -> speed.Step:
        _use(job, candidate)
        trial = replace(job, amp=candidate.amp, memory=candidate.memory)
        return lambda batch: first_loss(trial, number, batch)

    return speed.choose(
        job.above, make_step, candidates, job.device, job.seed, later=later, in_turns=in_turns
    )


def _use(job: Job, candidate: Candidate) -> None:
    """Let process and module compute as a candidate says."""
    process.settle(candidate.threads, candidate.allocator)
    order = torch.channels_last if candidate.memory == "channels_last" else torch.contiguous_format
    job.above.to(memory_format=order)
    job.above.compiled = job.recipe.batch if candidate.compiled else 0


def ready(job: Job, number: int) -> None:
    """Let the parameters of a phase have gradients, and no others."""
    job.above.cut = int(job.plan[number].cut)
    for name, parameter in job.above.parameters_by_name().items():
        parameter.requires_grad_(name in job.trained[number])
        parameter.grad = None
    job.above.train()


def first_loss(job: Job, number: int, batch: int) -> torch.Tensor:
    """The mean cross entropy of batch 0, 1, … of the training rows in a drawn order."""
    cut, size = int(job.plan[number].cut), job.recipe.batch
    order = draw.order(job.seed, number, 0, len(job.train))
    rows = order[np.arange(batch * size, (batch + 1) * size) % len(order)]
    flow = job.send(job.train.flows[cut].read(rows, -1))
    with job.autocast():
        logits = job.above(flow, cut)
    target = torch.from_numpy(job.train.labels[rows]).to(job.device)
    return torch.nn.functional.cross_entropy(logits.float(), target)
