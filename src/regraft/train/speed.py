"""Which numbers and which order in memory are fastest here: measured, since it differs by model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from regraft.train.memory import fit_in_memory as fit_in_memory
from regraft.train.memory import is_out_of_memory
from regraft.train.untouched import untouched

WARM_UPS, BATCHES = 1, 2
#: A candidate has to be faster than a plainer one by this share, or chance would choose.
MARGIN = 0.03
#: Cosine between the gradients in bf16 and those in f32 below which bf16 is not taken.
AGREEING = 0.99

#: From the number of a batch to its mean loss; the same number is the same batch.
Step = Callable[[int], torch.Tensor]


@dataclass(frozen=True)
class Candidate:
    """One way to compute.

    Attributes:
        amp: 'f32' or 'bf16', of the forward pass.
        memory: 'contiguous' or 'channels_last', of images and convolutions.
        compiled: whether torch.compile is used.
    """

    amp: str
    memory: str
    compiled: bool = False

    def __str__(self) -> str:
        return " ".join([self.amp, self.memory] + ["compiled"] * self.compiled)


@dataclass(frozen=True)
class Choice:
    """The fastest candidate.

    Attributes:
        amp: 'f32' or 'bf16'.
        memory: 'contiguous' or 'channels_last'.
        compiled: whether torch.compile is used.
        seconds: of forward and backward of a batch, for each candidate that was measured.
        why: one sentence.
    """

    amp: str
    memory: str
    compiled: bool
    seconds: Mapping[str, float]
    why: str


def candidates(
    device: str, *, amp: str = "auto", memory: str = "auto", compile: bool = False
) -> list[Candidate]:
    """What is worth measuring on a device, the plainest first.

    Args:
        device: 'cpu', 'cuda', 'cuda:1', ….
        amp: 'auto', or the only one wanted.
        memory: 'auto', or the only one wanted.
        compile: whether to try torch.compile, which takes many seconds before its first batch.
    """
    precisions = ["f32"] + ["bf16"] * native_bf16(device) if amp == "auto" else [amp]
    formats = ["contiguous", "channels_last"] if memory == "auto" else [memory]
    plain = [Candidate(a, m) for a in precisions for m in formats]
    return plain + ([Candidate(precisions[-1], formats[-1], True)] if compile else [])


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
) -> Choice:
    """Measure a few batches forward and backward with each candidate, and take the fastest.

    The module is the same to the bit afterwards, and so is torch's chance.

    Args:
        module: what is trained; it is in each candidate's memory format when its step is made.
        make_step: for a candidate the function that gives the mean loss of batch 0, 1 or 2.
        candidates: the plainest first; a single one is not measured.
        device: where the module is.
        seed: of dropout and the like, the same for every candidate.
    """
    if len(candidates) == 1:
        only = candidates[0]
        return Choice(only.amp, only.memory, only.compiled, {}, "nothing else was allowed.")
    trial = _Trial(module, make_step, device, seed)
    with untouched(module):
        for number in range(WARM_UPS + BATCHES):  # in turns: a busy moment should hit all alike
            for candidate in candidates:
                trial.batch(candidate, number)
    seconds = {c: min(took[WARM_UPS:]) for c, took in trial.seconds.items()}
    remarks = list(trial.remarks.values())
    best = _fastest(seconds) if seconds else candidates[0]
    told = {str(candidate): took for candidate, took in seconds.items()}
    return Choice(best.amp, best.memory, best.compiled, told, _why(best, seconds, remarks, device))


def _fastest(seconds: Mapping[Candidate, float]) -> Candidate:
    best, *others = seconds
    for other in others:
        if seconds[other] < (1.0 - MARGIN) * seconds[best]:
            best = other
    return best


def _why(
    best: Candidate, seconds: Mapping[Candidate, float], remarks: Sequence[str], device: str
) -> str:
    if not seconds:
        return f"{'; '.join(remarks)}: {best} is the plainest."
    measured = ", ".join(f"{took * 1e3:.0f} ms with {c}" for c, took in seconds.items())
    notes = list(remarks)
    if all(c.amp == "f32" for c in seconds) and not remarks and not native_bf16(device):
        notes.append("bf16 is not native here")
    return f"{best}: a batch took {measured}" + "".join(f"; {note}" for note in notes) + "."


class _Trial:
    """Computes batches with candidates, and drops those that fail.

    Attributes:
        seconds: of each batch, for each candidate that is left.
        remarks: why the others are not.
    """

    def __init__(
        self, module: nn.Module, make_step: Callable[[Candidate], Step], device: str, seed: int
    ) -> None:
        self._module, self._make_step = module, make_step
        self._device, self._seed = device, seed
        self._steps: dict[Candidate, Step] = {}
        self._reference: list[torch.Tensor] = []
        self.seconds: dict[Candidate, list[float]] = {}
        self.remarks: dict[Candidate, str] = {}

    def batch(self, candidate: Candidate, number: int) -> None:
        """Forward and backward of one batch; of the first one the gradients are looked at."""
        if candidate in self.remarks:
            return
        try:
            took = self._took(candidate, number)
        except (MemoryError, RuntimeError) as problem:
            if not is_out_of_memory(problem):
                raise
            self._drop(candidate, f"{candidate} ran out of memory")
            return
        self.seconds.setdefault(candidate, []).append(took)
        if number == 0:
            self._compare(candidate)

    def _took(self, candidate: Candidate, number: int) -> float:
        shaped(self._module, candidate.memory)
        if candidate not in self._steps:
            self._steps[candidate] = self._make_step(candidate)
        torch.manual_seed(self._seed + number)
        for parameter in self._module.parameters():
            parameter.grad = None
        start = _now(self._device)
        torch.autograd.backward(self._steps[candidate](number))
        return _now(self._device) - start

    def _compare(self, candidate: Candidate) -> None:
        found = [p.grad for p in self._module.parameters() if p.grad is not None]
        if candidate.amp == "f32":
            self._reference = self._reference or found
        elif self._reference and (alike := cosine(self._reference, found)) < AGREEING:
            told = f"the gradients of {candidate} are unlike those of f32 ({alike:.3f})"
            self._drop(candidate, told)

    def _drop(self, candidate: Candidate, why: str) -> None:
        self.remarks[candidate] = why
        self.seconds.pop(candidate, None)


def shaped(module: nn.Module, memory: str) -> nn.Module:
    """The module, its convolutions' weights brought into a memory format in place."""
    order = torch.channels_last if memory == "channels_last" else torch.contiguous_format
    return module.to(memory_format=order)


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
