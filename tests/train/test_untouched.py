"""What is tried on a module leaves no trace."""

from __future__ import annotations

import pytest
import torch

from regraft.train.untouched import untouched
from tests.train.nets import convolutions, copied, loss_of, same


def test_nothing_that_happens_within_is_left() -> None:
    net = convolutions(dropout=0.5)
    net[0].eval()
    net[0][0].weight.requires_grad_(False)
    torch.autograd.backward(loss_of(net))
    before = copied(net)
    gradients = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    objects = {n: id(p) for n, p in net.named_parameters()}
    memory = {n: (t.data_ptr(), t.stride()) for n, t in net.state_dict().items()}
    chance = torch.get_rng_state()

    with untouched(net):
        assert same(copied(net), before)
        net.to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.SGD(net.parameters(), 1.0)
        net.requires_grad_(True)
        for number in range(3):
            optimizer.zero_grad()
            torch.autograd.backward(loss_of(net, number))
            optimizer.step()
        assert not any(same({n: t}, {n: before[n]}) for n, t in net.state_dict().items())

    assert same(copied(net), before)
    assert {n: id(p) for n, p in net.named_parameters()} == objects
    assert {n: (t.data_ptr(), t.stride()) for n, t in net.state_dict().items()} == memory
    now = {n: p.grad for n, p in net.named_parameters() if p.grad is not None}
    assert same(now, gradients)
    assert not net[0].training
    assert net[1].training
    assert not net[0][0].weight.requires_grad
    assert torch.equal(torch.get_rng_state(), chance)


def test_an_error_within_changes_nothing_of_that() -> None:
    net = convolutions()
    before = copied(net)
    with pytest.raises(KeyError), untouched(net):
        _spoil(net)
    assert same(copied(net), before)


def _spoil(net: torch.nn.Module) -> None:
    for tensor in net.state_dict().values():
        tensor.zero_()
    raise KeyError
