"""A training is computed in the way that was measured to be fastest, and the recipe says which."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from regraft.engine import process
from regraft.plans import Phase, Recipe
from regraft.train import candidates, fastest, speed
from regraft.train.candidates import Candidate
from regraft.train.job import Job
from tests.train.jobs import job

LINUX = sys.platform == "linux"
SETTLED = Recipe(batch=8, amp="f32", memory="contiguous", torch_threads=1, allocator="keep")
SETTLED_BUT_THREADS = replace(SETTLED, torch_threads=0, compile="off")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Threads and allocator hold for the whole process."""
    threads = torch.get_num_threads()
    yield
    process.settle(threads)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds that a batch takes by what its candidate's name contains; 1 if nothing fits."""
    told: dict[str, float] = {}

    def choose(
        module: object, make_step: object, tried: list[Candidate], *_: object, **__: object
    ) -> speed.Choice:
        took = {c: next((told[name] for name in told if name in str(c)), 1.0) for c in tried}
        first = {c: 30.0 if c.compiled else took[c] for c in tried}
        return speed.Choice(min(took, key=lambda c: took[c]), took, first, [])

    monkeypatch.setattr(speed, "choose", choose)
    return told


def done(made: Job, threads: int = 4) -> tuple[Recipe, list[str]]:
    said: list[str] = []
    return fastest.fastest(made, threads, said.append).recipe, said


def long(recipe: Recipe | None = None, epochs: int = 100) -> Job:
    """Six steps an epoch."""
    return job((Phase(1, epochs, 1e-3),), recipe or Recipe(batch=8))


def test_a_long_training_takes_the_fastest_of_each(seconds: dict[str, float]) -> None:
    seconds |= {"1 thread": 0.5, "2 threads": 0.7}
    recipe, said = done(long(Recipe(batch=8, amp="f32", memory="contiguous", compile="off")))
    assert (recipe.torch_threads, recipe.allocator, recipe.compile) == (1, "keep", "off")
    assert torch.get_num_threads() == 1
    assert [line.split(":")[0] for line in said] == [
        "f32 contiguous on 2 threads",  # of 4
        "f32 contiguous on 1 thread",
        *["f32 contiguous on 1 thread"] * LINUX,
    ]


def test_threads_are_halved_for_as_long_as_it_helps(seconds: dict[str, float]) -> None:
    seconds |= {"on 8": 0.5, "on 4": 0.7, "on 2": 0.1}
    recipe, said = done(long(SETTLED_BUT_THREADS), threads=16)
    assert recipe.torch_threads == 8
    assert len(said) == 2


@pytest.mark.skipif(not LINUX, reason="glibc has these settings")
def test_the_allocator_is_that_of_the_faster(seconds: dict[str, float]) -> None:
    seconds["allocator"] = 0.1
    recipe, _ = done(long())
    assert recipe.allocator == "system"
    assert process._settled in ("system", "")  # '' where the C library is another


def test_a_short_training_measures_no_threads(seconds: dict[str, float]) -> None:
    seconds["1 thread"] = 0.5
    recipe, said = done(long(epochs=candidates.WORTH // 6))
    assert (recipe.torch_threads, recipe.allocator, len(said)) == (4, "keep", 1)


def test_what_is_settled_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> speed.Choice:
        raise AssertionError

    monkeypatch.setattr(speed, "choose", never)
    for compile in ("on", "off"):
        asked = Candidate("f32", "contiguous", 1, compiled=compile == "on").put(SETTLED)
        made = long(asked)
        assert done(made) == (asked, [])
        assert bool(made.above.compiled) == (compile == "on")


@pytest.mark.parametrize(
    ("eager", "compiled", "epochs", "taken"),
    [
        (10.0, 8.0, 30, "on"),  # 1800 s; 360 s less for 30 s
        (10.0, 9.9, 30, "off"),  # 18 s less for 30 s
        (0.2, 0.1, 100, "off"),  # too short to be tried at all
    ],
)
def test_compiling_has_to_repay_its_time(
    seconds: dict[str, float], eager: float, compiled: float, epochs: int, taken: str
) -> None:
    seconds |= {"compiled": compiled, "f32": eager}
    recipe, said = done(long(SETTLED, epochs))
    assert recipe.compile == taken
    assert ["compiling took 30 s" in line for line in said] == [True] * (eager > 1)


def test_what_is_measured_is_what_will_be_computed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With accumulation a part of a batch; and it is read before the clock starts."""
    rows: list[int] = []
    made = long(Recipe(batch=8, accumulate=2, amp="f32", compile="off"))
    monkeypatch.setattr(fastest, "loss_on", lambda job, cut, batch: measured(len(batch.rows)))

    def measured(count: int) -> torch.Tensor:
        rows.append(count)
        return next(iter(made.above.head.parameters())).sum()

    _, said = done(made, 1)
    assert set(rows) == {4}
    assert all(": 4 rows took" in line for line in said)
    assert fastest.piece(made) == 4


def test_recomputed_activations_are_not_compiled(seconds: dict[str, float]) -> None:
    seconds |= {"compiled": 1.0, "f32": 10.0}
    recipe, _ = done(long(Recipe(batch=8, checkpoint=True, allocator="keep", torch_threads=1)))
    assert recipe.compile == "off"


def test_measured_on_the_network_itself_without_a_trace() -> None:
    made = long(Recipe(batch=8, compile="off"))
    before = made.above.snapshot()
    recipe, said = done(made, 2)
    assert recipe.amp in ("f32", "bf16")
    assert recipe.memory in ("contiguous", "channels_last")
    assert recipe.torch_threads in (1, 2)
    assert recipe.allocator in ("keep", "system")
    assert len(said) == 3
    after = made.above.tensors()
    assert all(torch.equal(before[name], after[name]) for name in before)
