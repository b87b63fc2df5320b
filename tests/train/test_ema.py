"""The running mean of the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from regraft.errors import TrainingError
from regraft.train.ema import Ema
from tests.train.nets import convolutions, copied, loss_of, same


def walked(net: nn.Module, mean: Ema, numbers: range) -> None:
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for number in numbers:
        optimizer.zero_grad()
        torch.autograd.backward(loss_of(net, number))
        optimizer.step()
        mean.update()


def test_it_is_the_formula() -> None:
    weight = nn.Parameter(torch.tensor([0.0]))
    mean = Ema({"w": weight}, 0.2)
    expected, decays = 0.0, [2 / 11, 0.2, 0.2]
    for value, decay in zip([1.0, 5.0, -2.0], decays, strict=True):
        with torch.no_grad():
            weight.fill_(value)
        mean.update()
        expected = decay * expected + (1 - decay) * value
    with mean.swapped():
        assert weight.item() == pytest.approx(expected)
    assert weight.item() == -2.0


def test_swapping_leaves_no_trace_even_if_the_block_fails() -> None:
    net = convolutions().to(memory_format=torch.channels_last)
    mean = Ema(dict(net.named_parameters()), 0.9)
    walked(net, mean, range(3))
    before, kept = copied(net), mean.state()
    with mean.swapped():
        assert not same(copied(net), before)
    with pytest.raises(KeyError), mean.swapped():
        _ = copied(net)["no such tensor"]
    assert same(copied(net), before)
    assert same(mean.state(), kept)


def test_buffers_are_those_of_the_last_step() -> None:
    net = convolutions()
    mean = Ema(dict(net.named_parameters()), 0.9)
    walked(net, mean, range(3))
    now = {name: buffer.clone() for name, buffer in net.named_buffers()}
    with mean.swapped():
        assert same(dict(net.named_buffers()), now)


def test_it_goes_on_to_the_bit(tmp_path: Path) -> None:
    net = convolutions().to(memory_format=torch.channels_last)
    mean = Ema(dict(net.named_parameters()), 0.9)
    walked(net, mean, range(3))
    save_file(mean.state(), tmp_path / "mean.safetensors")
    weights = copied(net)
    walked(net, mean, range(3, 6))

    again = convolutions(seed=3).to(memory_format=torch.channels_last)
    again.load_state_dict(weights)
    resumed = Ema(dict(again.named_parameters()), 0.9)
    resumed.restore(load_file(tmp_path / "mean.safetensors"))
    walked(again, resumed, range(3, 6))
    assert same(mean.state(), resumed.state())
    assert resumed.updates == 6


def test_the_mean_of_other_parameters_is_refused() -> None:
    net = convolutions()
    state = Ema(dict(net[0].named_parameters()), 0.9).state()
    with pytest.raises(TrainingError, match="that of other parameters"):
        Ema(dict(net.named_parameters()), 0.9).restore(state)
