"""Optimizers, schedules, clipping, and states that go on to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from regraft.errors import OptionError, TrainingError
from regraft.plans import Phase, Recipe
from regraft.train import optim
from tests.train.nets import convolutions, copied, loss_of, same

PHASE = Phase(cut=0, epochs=1, lr=1e-2)


def opened(net: nn.Module, kind: str) -> torch.optim.Optimizer:
    named = dict(net.named_parameters())
    rates = {name: PHASE.lr if name.startswith("2.") else PHASE.lr / 2 for name in named}
    return optim.optimizer(named, rates, Recipe(optimizer=kind), PHASE)


def steps(net: nn.Module, optimizer: torch.optim.Optimizer, numbers: range) -> None:
    for number in numbers:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss_of(net, number))
        optim.clip(net.parameters(), 1.0)
        optimizer.step()


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
def test_a_resumed_training_is_bit_equal(
    kind: str, order: torch.memory_format, tmp_path: Path
) -> None:
    straight = convolutions().to(memory_format=order)
    optimizer = opened(straight, kind)
    steps(straight, optimizer, range(4))
    held = optim.state_of(optimizer)
    save_file(held, tmp_path / "optimizer.safetensors")
    weights = copied(straight)
    steps(straight, optimizer, range(4, 9))

    again = convolutions(seed=5).to(memory_format=order)
    again.load_state_dict(weights)
    restored = opened(again, kind)
    optim.restore(restored, load_file(tmp_path / "optimizer.safetensors"))
    steps(again, restored, range(4, 9))
    assert same(copied(straight), copied(again))
    assert same(optim.state_of(optimizer), optim.state_of(restored))


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_what_is_remembered_comes_back_in_its_order_in_memory(kind: str) -> None:
    net = convolutions().to(memory_format=torch.channels_last)
    optimizer = opened(net, kind)
    steps(net, optimizer, range(2))
    weight = net[1][0].weight
    before = {k: v.stride() for k, v in optimizer.state[weight].items()}
    optim.restore(optimizer, optim.state_of(optimizer))
    assert {k: v.stride() for k, v in optimizer.state[weight].items()} == before
    assert weight.stride() in before.values()
    assert not weight.is_contiguous()


def test_a_state_is_a_copy() -> None:
    net = convolutions()
    optimizer = opened(net, "adamw")
    steps(net, optimizer, range(1))
    held = optim.state_of(optimizer)
    was = {name: tensor.clone() for name, tensor in held.items()}
    steps(net, optimizer, range(1, 3))
    assert same(held, was)
    assert not same(held, optim.state_of(optimizer))


def test_restoring_keeps_the_rates_of_now() -> None:
    net = convolutions()
    optimizer = opened(net, "sgd")
    steps(net, optimizer, range(1))
    held = optim.state_of(optimizer)
    for group in optimizer.param_groups:
        group["lr"] *= 0.1
    rates = [group["lr"] for group in optimizer.param_groups]
    optim.restore(optimizer, held)
    assert [group["lr"] for group in optimizer.param_groups] == rates


@pytest.mark.parametrize(
    "wrong",
    [{"exp_avg/no.such": torch.zeros(3)}, {"exp_avg/0.0.weight": torch.zeros(2, 2)}],
)
def test_the_state_of_other_parameters_is_refused(wrong: Mapping[str, torch.Tensor]) -> None:
    with pytest.raises(TrainingError, match="fits no parameter"):
        optim.restore(opened(convolutions(), "adamw"), wrong)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_norms_and_biases_are_not_decayed(kind: str) -> None:
    net = convolutions()
    optimizer = opened(net, kind)
    for parameter in net.parameters():
        nn.init.constant_(parameter, 1.0)
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in net.named_parameters():
        assert bool((parameter < 1.0).all()) == (parameter.ndim > 1), name


def test_each_parameter_has_its_own_rate() -> None:
    optimizer = opened(convolutions(), "adamw")
    found = {name: group["lr"] for group in optimizer.param_groups for name in group["param_names"]}
    assert found["2.2.weight"] == found["2.2.bias"] == 1e-2
    assert found["0.0.weight"] == found["1.1.bias"] == 5e-3


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(OptionError, match="trains nothing"):
        optim.optimizer({}, {}, Recipe(), PHASE)


def test_the_schedule_rises_then_falls() -> None:
    phase = Phase(cut=0, epochs=1, warmup=0.2)
    factors = [optim.schedule(step, 50, phase) for step in range(50)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[10] == max(factors) == 1.0
    assert sorted(factors[:11]) == factors[:11]
    assert sorted(factors[10:], reverse=True) == factors[10:]
    assert 0.0 < factors[-1] < 0.01
    assert optim.schedule(30, 50, phase) == pytest.approx(0.5)


def test_a_constant_rate_stays() -> None:
    phase = Phase(cut=0, epochs=1, warmup=0.0, schedule="constant")
    assert {optim.schedule(step, 7, phase) for step in range(7)} == {1.0}


@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_short_phases_have_rates_too(warmup: float, count: int) -> None:
    phase = Phase(cut=0, epochs=1, warmup=warmup)
    factors = [optim.schedule(step, count, phase) for step in range(count)]
    assert all(0.0 < factor <= 1.0 for factor in factors)


def test_clipping_scales_all_gradients_together() -> None:
    a, b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    a.grad, b.grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    assert optim.clip([a, b, nn.Parameter(torch.zeros(4))], 1.0) == pytest.approx(5.0)
    assert a.grad.tolist() == pytest.approx([0.6, 0.0], rel=1e-5)
    assert b.grad.tolist() == pytest.approx([0.8], rel=1e-5)


@pytest.mark.parametrize("most", [0.0, 10.0])
def test_what_is_short_enough_is_left_alone(most: float) -> None:
    a = nn.Parameter(torch.zeros(2))
    a.grad = torch.tensor([3.0, 4.0])
    assert optim.clip([a], most) == pytest.approx(5.0)
    assert a.grad.tolist() == [3.0, 4.0]


def test_a_gradient_that_is_no_number_is_told() -> None:
    a = nn.Parameter(torch.zeros(2))
    a.grad = torch.tensor([float("inf"), 4.0])
    assert optim.clip([a], 1.0) == float("inf")
