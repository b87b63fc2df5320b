"""Ways to compute the same training: which numbers, which order in memory, how many threads, …"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

from regraft.plans import Recipe

#: Batches that are measured with a candidate, after those that warm it up.
WARM_UPS, BATCHES = 1, 2
#: Steps of a training from which on threads and allocator are measured too: they are about 8
#: batches more, so at most a twentieth of it.
WORTH = 160
#: Seconds of a training from which on torch.compile is tried, which takes 10 to 60 s by itself.
LONG = {"cpu": 600.0, "cuda": 120.0}


@dataclass(frozen=True)
class Candidate:
    """One way to compute.

    Attributes:
        amp: 'f32' or 'bf16', of the forward pass.
        memory: 'contiguous' or 'channels_last', of images and convolutions.
        threads: of torch.
        allocator: 'keep' what is freed for the next batch, or give it back to the 'system'.
        compiled: whether torch.compile is used.
    """

    amp: str
    memory: str
    threads: int
    allocator: str = "keep"
    compiled: bool = False

    def __str__(self) -> str:
        told = f"{self.amp} {self.memory}" + " compiled" * self.compiled
        told += f" on {self.threads} thread" + "s" * (self.threads != 1)
        return told + " with the system's allocator" * (self.allocator != "keep")

    def put(self, recipe: Recipe) -> Recipe:
        """The recipe with this way in place of whatever was left to be measured."""
        return replace(
            recipe,
            amp=self.amp,
            memory=self.memory,
            torch_threads=self.threads,
            allocator=self.allocator,
            compile="on" if self.compiled else "off",
        )


def orders(recipe: Recipe, threads: int, *, native_bf16: bool) -> list[Candidate]:
    """Every precision with every memory format that may be used, the plainest first.

    Args:
        recipe: what is 'auto' in it may be any.
        threads: that there are.
        native_bf16: whether the device computes in bf16 itself; where not, it was measured slower.
    """
    precisions = ["f32"] + ["bf16"] * native_bf16 if recipe.amp == "auto" else [recipe.amp]
    formats = ["contiguous", "channels_last"] if recipe.memory == "auto" else [recipe.memory]
    used = recipe.torch_threads or threads
    allocator = "keep" if recipe.allocator == "auto" else recipe.allocator
    return [Candidate(a, m, used, allocator) for a in precisions for m in formats]


def fewer_threads(device: str, recipe: Recipe, best: Candidate) -> list[Candidate]:
    """The best so far with half the threads; nothing on a GPU.

    Threads that are the two halves of one core, or that another process wants, slow each other.
    """
    if recipe.torch_threads or device != "cpu" or best.threads < 2:
        return []
    return [replace(best, threads=best.threads // 2)]


def allocators(device: str, recipe: Recipe, best: Candidate) -> list[Candidate]:
    """The other way to treat freed memory; nothing on a GPU, where torch has a way of its own."""
    if recipe.allocator != "auto" or device != "cpu" or sys.platform != "linux":
        return []
    return [replace(best, allocator="system")]


def steps_of(epochs: Iterable[int], rows: int, batch: int) -> int:
    """Steps of the optimizer at most, in phases of so many epochs over `rows` rows."""
    return sum(epochs) * max(1, -(-rows // batch))
