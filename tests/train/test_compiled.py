"""Compiled stages compute what eager ones do; where there is no compiler, training goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from regraft.plans import Phase, Recipe
from regraft.train.fastest import fastest, first_batch, loss_on, ready
from regraft.train.job import Job
from regraft.train.loop import train
from regraft.train.state import Keeper, Place, State
from tests.train.jobs import job
from tests.train.nets import Broken

RECIPE = Recipe(batch=8, amp="f32", memory="contiguous", drop_path=0.2)


def first_loss(made: Job, number: int) -> torch.Tensor:
    return loss_on(made, 1, first_batch(made, 0, number, 8))


def gradients(compiled: int) -> tuple[float, list[torch.Tensor]]:
    made = job((Phase(1, 1, 1e-3),), RECIPE)
    ready(made, 0)
    made.above.compiled = compiled
    torch.manual_seed(0)
    loss = first_loss(made, 0)
    torch.autograd.backward(loss)
    assert bool(made.above._chains._made) == bool(compiled)
    assert made.above.uncompiled == ""
    return float(loss.detach()), [p.grad for p in made.above.parameters() if p.grad is not None]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_same_gradients_as_eager() -> None:
    (plain, of_plain), (loss, of_loss) = gradients(0), gradients(8)
    assert loss == pytest.approx(plain, rel=1e-5)
    assert of_plain
    for one, other in zip(of_plain, of_loss, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_same_training_twice(tmp_path: object) -> None:
    def weights() -> dict[str, torch.Tensor]:
        made = job((Phase(1, 2, 1e-3), Phase(0, 2, 1e-3)), RECIPE, n=50)  # a smaller batch last
        made.above.compiled = 8
        done = train(made, Keeper(None), lambda event: None)
        assert done.best["phase"] > 0
        assert set(made.above._chains._made) == {0, 1}
        return made.above.snapshot()

    one, other = weights(), weights()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_a_compiler_it_is_said_and_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def compile(*_: object, **__: object) -> object:
        def fail(flow: object) -> object:
            raise torch._dynamo.exc.BackendCompilerFailed(lambda: 0, RuntimeError("no g++"), None)

        return fail

    monkeypatch.setattr(torch, "compile", compile)
    made = job((Phase(1, 1, 1e-3),), RECIPE)
    ready(made, 0)
    plain = float(first_loss(made, 0).detach())
    made.above.compiled = 8
    assert float(first_loss(made, 0).detach()) == plain
    assert float(first_loss(made, 1).detach()) > 0
    assert "no g++" in made.above.uncompiled
    assert caplog.text.count("torch.compile failed") == 1


def trained(compiled: int, recipe: Recipe = RECIPE) -> tuple[Job, Place]:
    kept: list[Place] = []

    class Kept(Keeper):
        def keep(self, state: State) -> None:
            kept.append(replace(state.place))

    made = job((Phase(1, 2, 1e-3, patience=0),), recipe)
    made.above.compiled = compiled
    keeper = Kept(None)
    keeper.due = lambda better=False: True  # type: ignore[method-assign]
    train(made, keeper, lambda event: None)
    return made, kept[-1]


def test_a_way_back_that_fails_is_gone_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "compile", lambda chain, **_: lambda flow: Broken.apply(chain(flow)))
    made, place = trained(8)
    assert "no compiler" in made.above.uncompiled
    assert place.eager, "a training that goes on from here must compute alike"
    assert caplog.text.count("torch.compile failed") == 1
    plain, place = trained(0)
    assert not place.eager
    after, before = made.above.tensors(), plain.above.tensors()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_parts_of_a_batch_are_compiled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def compile(chain: Any, **_: object) -> Any:
        return lambda flow: seen.append(len(flow)) or chain(flow)

    monkeypatch.setattr(torch, "compile", compile)
    recipe = replace(RECIPE, accumulate=2, compile="on", torch_threads=1, allocator="keep")
    made = fastest(job((Phase(1, 1, 1e-3),), recipe), 1, lambda line: None)
    train(made, Keeper(None), lambda event: None)
    assert seen
    assert set(seen) == {4}
