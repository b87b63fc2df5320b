"""Which way to compute is fastest here: measured on a few batches, since it differs by model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from regraft.train.candidates import BATCHES, WARM_UPS, Candidate
from regraft.train.compiled import briefly
from regraft.train.memory import is_out_of_memory
from regraft.train.untouched import untouched

#: A candidate has to be faster than a plainer one by this share, or chance would choose.
MARGIN = 0.03
#: The same for what can only be measured one after the other, while the machine's load changes.
APART = 0.1
#: A later candidate whose first batch takes so many times the best one's is not tried again.
HOPELESS = 1.5
#: Cosine between the gradients in bf16 and those in f32 below which bf16 is not taken.
AGREEING = 0.99

#: From the number of a batch to its mean loss; the same number is the same batch.
Step = Callable[[int], torch.Tensor]


@dataclass(frozen=True)
class Choice:
    """The fastest candidate.

    Attributes:
        best: it.
        seconds: of forward and backward of a batch, for each candidate that was measured.
        first: of the very first batch of each.
        remarks: why the others dropped out.
    """

    best: Candidate
    seconds: Mapping[Candidate, float]
    first: Mapping[Candidate, float]
    remarks: Sequence[str]

    def why(self, rows: int) -> str:
        """What was measured on so many rows, in one sentence without a full stop."""
        if not self.seconds:
            return "; ".join([*self.remarks, f"{self.best} is the plainest"])
        measured = ", ".join(f"{t * 1e3:.0f} ms with {c}" for c, t in self.seconds.items())
        return "; ".join([f"{self.best}: {rows} rows took {measured}", *self.remarks])


def native_bf16(device: str) -> bool:
    """Whether the device computes in bf16 itself; where it does not, bf16 was measured slower."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_capability(device) >= (8, 0)
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return device == "cpu" and bool(flags.get("avx512_bf16") or flags.get("amx_bf16"))


def choose(
    module: nn.Module,
    make_step: Callable[[Candidate], Step],
    candidates: Sequence[Candidate],
    device: str,
    seed: int = 0,
    *,
    later: bool = False,
    in_turns: bool = True,
) -> Choice:
    """Measure a few batches forward and backward with each candidate, and take the fastest.

    The module is the same to the bit afterwards, and so is torch's chance.

    Args:
        module: what is trained.
        make_step: lets the process and the module compute as a candidate says, and gives the
            function from the number of a batch to its mean loss; called before every batch.
        candidates: the plainest first.
        device: where the module is.
        seed: of dropout and the like, the same for every candidate.
        later: the first candidate won before: others may be given up after their first batch.
        in_turns: batch by batch, so that a busy moment hits all alike; else one after the other.
    """
    trial = _Trial(module, make_step, device, seed, later)
    numbers = range(WARM_UPS + BATCHES)
    with untouched(module):
        if in_turns:
            for number in numbers:
                for candidate in candidates:
                    trial.batch(candidate, number)
        else:
            for candidate in candidates:
                for number in numbers:
                    trial.batch(candidate, number)
    took = {c: trial.seconds[c] for c in candidates if c in trial.seconds}
    seconds = {c: min(each[WARM_UPS:] or each) for c, each in took.items()}
    best = _fastest(seconds, MARGIN if in_turns else APART) if seconds else candidates[0]
    return Choice(best, seconds, {c: each[0] for c, each in took.items()}, trial.remarks)


def _fastest(seconds: Mapping[Candidate, float], margin: float) -> Candidate:
    best, *others = seconds
    for other in others:
        if seconds[other] < (1.0 - margin) * seconds[best]:
            best = other
    return best


class _Trial:
    """Computes batches with candidates, and drops those that fail.

    Attributes:
        seconds: of each batch, for each candidate that is left.
        remarks: why the others are not.
    """

    def __init__(
        self,
        module: nn.Module,
        make_step: Callable[[Candidate], Step],
        device: str,
        seed: int,
        later: bool,
    ) -> None:
        self._module, self._make_step = module, make_step
        self._device, self._seed, self._later = device, seed, later
        self._reference: list[torch.Tensor] = []
        self._out: set[Candidate] = set()
        self.seconds: dict[Candidate, list[float]] = {}
        self.remarks: list[str] = []

    def batch(self, candidate: Candidate, number: int) -> None:
        """Forward and backward of one batch; of the first one the gradients are looked at."""
        if candidate in self._out:
            return
        try:
            took = self._took(candidate, number)
        except (MemoryError, RuntimeError) as problem:
            if is_out_of_memory(problem):
                self._drop(candidate, f"{candidate} ran out of memory")
            elif candidate.compiled:  # the way back is compiled only when it is gone
                self._drop(candidate, f"torch.compile failed ({briefly(problem)})")
            else:
                raise
            return
        self.seconds.setdefault(candidate, []).append(took)
        if number == 0:
            self._compare(candidate)
            self._give_up(candidate, took)

    def _took(self, candidate: Candidate, number: int) -> float:
        step = self._make_step(candidate)
        torch.manual_seed(self._seed + number)
        for parameter in self._module.parameters():
            parameter.grad = None
        start = _now(self._device)
        torch.autograd.backward(step(number))
        return _now(self._device) - start

    def _compare(self, candidate: Candidate) -> None:
        found = [p.grad for p in self._module.parameters() if p.grad is not None]
        if not self._reference and (candidate.amp == "f32" or self._later):
            self._reference = found
        elif (
            (candidate.amp != "f32" or candidate.compiled)
            and self._reference
            and (alike := cosine(self._reference, found)) < AGREEING
        ):
            plain = "eager torch" if candidate.compiled else "f32"
            told = f"the gradients of {candidate} are unlike those of {plain} ({alike:.3f})"
            self._drop(candidate, told)

    def _give_up(self, candidate: Candidate, took: float) -> None:
        best = min(each[0] for each in self.seconds.values())
        if self._later and not candidate.compiled and took > HOPELESS * best:
            self._out.add(candidate)

    def _drop(self, candidate: Candidate, why: str) -> None:
        self._out.add(candidate)
        self.remarks.append(why)
        self.seconds.pop(candidate, None)


def cosine(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> float:
    """Between two lists of tensors, each read as one vector; 0 if either is 0 or not finite."""

    def dot(x: Sequence[torch.Tensor], y: Sequence[torch.Tensor]) -> float:
        return sum(float((s.double() * t.double()).sum()) for s, t in zip(x, y, strict=True))

    product = dot(a, a) * dot(b, b)
    found = dot(a, b) / product**0.5 if product > 0 else 0.0
    return found if found == found else 0.0


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter()
