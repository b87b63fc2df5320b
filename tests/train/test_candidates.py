"""What is worth measuring, and what a candidate is called."""

from __future__ import annotations

import sys

from regraft.plans import Recipe
from regraft.train.candidates import (
    Candidate,
    allocators,
    fewer_threads,
    orders,
    steps_of,
)

PLAIN = Candidate("f32", "contiguous", 4)


def test_every_precision_comes_with_every_memory_format() -> None:
    found = [(c.amp, c.memory) for c in orders(Recipe(), 4, native_bf16=True)]
    formats = ("contiguous", "channels_last")
    assert found == [(amp, memory) for amp in ("f32", "bf16") for memory in formats]
    assert {c.threads for c in orders(Recipe(), 4, native_bf16=True)} == {4}
    assert {c.amp for c in orders(Recipe(), 4, native_bf16=False)} == {"f32"}


def test_what_the_recipe_names_is_not_varied() -> None:
    settled = Recipe(amp="f32", memory="contiguous", torch_threads=2, allocator="system")
    only = Candidate("f32", "contiguous", 2, "system")
    assert orders(settled, 4, native_bf16=True) == [only]
    assert fewer_threads("cpu", settled, only) == []
    assert allocators("cpu", settled, only) == []


def test_half_the_threads_each_time() -> None:
    def counts(threads: int) -> list[int]:
        best = Candidate("f32", "contiguous", threads)
        return [c.threads for c in fewer_threads("cpu", Recipe(), best)]

    assert [counts(n) for n in (1, 2, 3, 16)] == [[], [1], [1], [8]]


def test_a_gpu_has_neither() -> None:
    assert fewer_threads("cuda", Recipe(), PLAIN) == []
    assert allocators("cuda", Recipe(), PLAIN) == []
    other = [c.allocator for c in allocators("cpu", Recipe(), PLAIN)]
    assert other == ["system"] * (sys.platform == "linux")


def test_what_it_is_called() -> None:
    assert str(PLAIN) == "f32 contiguous on 4 threads"
    one = Candidate("bf16", "channels_last", 1, "system", compiled=True)
    assert str(one) == "bf16 channels_last compiled on 1 thread with the system's allocator"


def test_nothing_is_left_to_measure_once_it_is_put() -> None:
    one = Candidate("bf16", "channels_last", 1, "system", compiled=True)
    put = one.put(Recipe(batch=8))
    assert orders(put, 4, native_bf16=True) == [Candidate("bf16", "channels_last", 1, "system")]
    assert (put.compile, put.batch) == ("on", 8)
    assert PLAIN.put(Recipe()).compile == "off"


def test_steps_of_a_plan() -> None:
    assert steps_of([2, 3], 65, 32) == 15
    assert steps_of([2], 5, 32) == 2
