"""The module above a cut computes what the network computes, and leaves the network alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regraft.stages import pool
from regraft.train import head
from regraft.train.above import HEAD, Above
from tests.nets import small
from tests.train.jobs import pictures


@pytest.mark.parametrize("first", [0, 1, 2, 4])
def test_it_composes_to_the_network_to_the_bit(first: int) -> None:
    net = small()
    at = len(net) - 1
    rows = torch.from_numpy(pictures(5, 0)[0])
    above = Above(net, first, at, head.fresh(24, 3))
    with torch.inference_mode():
        flow = net.input.preamble()(rows)
        whole = net.stages.eval()(flow)
        below = rows if first == 0 else net[:first].eval()(flow)
        assert torch.equal(above.features(below, first), pool(whole, net.info.stages[at]))


def test_the_head_may_read_an_earlier_stage() -> None:
    net = small()
    rows = torch.from_numpy(pictures(5, 0)[0])
    above = Above(net, 1, 1, head.fresh(16, 3))
    with torch.inference_mode():
        flow = net[:1].eval()(net.input.preamble()(rows))
        assert above.features(flow, 1).shape == (5, 16)
        assert above(net[:2].eval()(net.input.preamble()(rows)), 2).shape == (5, 3)


def test_names_are_those_of_the_network() -> None:
    net = small()
    above = Above(net, 1, len(net) - 1, head.fresh(24, 3))
    own = {n for n in above.tensors() if not n.startswith(HEAD)}
    assert own == set(net[1:].tensors())
    assert {above.stage_of()[n] for n in above.parameters_by_name() if n.startswith(HEAD)} == {
        len(net)
    }


def test_training_it_leaves_the_backbone() -> None:
    net = small()
    before = {n: t.clone() for n, t in net.stages.tensors().items()}
    above = Above(net, 0, len(net) - 1, head.fresh(24, 3)).train()
    above.keep_statistics = False
    above.train()
    rows, labels = pictures(6, 0)
    torch.nn.functional.cross_entropy(
        above(torch.from_numpy(rows), 0), torch.from_numpy(labels)
    ).backward()
    with torch.no_grad():
        for parameter in above.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(before[n], t) for n, t in net.stages.tensors().items())


def test_a_snapshot_comes_back() -> None:
    above = Above(small(), 1, 3, head.fresh(24, 3))
    held = above.snapshot()
    with torch.no_grad():
        for tensor in above.tensors().values():
            tensor.zero_()
    above.restore(held)
    assert all(torch.equal(held[n], t) for n, t in above.tensors().items())


def test_dropout_is_for_training_alone() -> None:
    above = Above(small(), 3, 3, head.fresh(24, 3))
    with torch.no_grad():
        above.head[1].linear.weight.fill_(1.0)
    above.dropout = 0.5
    features = torch.from_numpy(np.ones((2, 24), np.float32))
    above.eval()
    assert torch.equal(above.score(features), above.score(features))
    above.train()
    assert not torch.equal(above.score(features), above.score(features))
