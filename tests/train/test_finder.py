"""A learning rate found by a sweep."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from regraft.errors import TrainingError
from regraft.plans import Phase, Recipe
from regraft.train import optim
from regraft.train.finder import BLOWN, Found, find, suggest
from tests.train.nets import batch, convolutions, copied, loss_of, same

PHASE = Phase(cut=0, epochs=1)


def sweep(net: nn.Module, kind: str = "adamw", seed: int = 0) -> Found:
    named = dict(net.named_parameters())
    return find(
        net,
        lambda number: loss_of(net, number),
        lambda: optim.optimizer(named, dict.fromkeys(named, 1.0), Recipe(optimizer=kind), PHASE),
        seed=seed,
    )


def after(net: nn.Module, rate: float, kind: str) -> float:
    """The loss on rows that it did not see, after 30 steps at a rate."""
    named = dict(net.named_parameters())
    optimizer = optim.optimizer(
        named, dict.fromkeys(named, rate), Recipe(optimizer=kind, weight_decay=0.0), PHASE
    )
    for number in range(1000, 1030):
        optimizer.zero_grad()
        torch.autograd.backward(loss_of(net, number))
        optimizer.step()
    with torch.no_grad():
        return float(loss_of(net.eval(), 77, rows=200))


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_the_rate_is_near_the_best_of_many(kind: str) -> None:
    rate = sweep(convolutions(), kind).rate
    tried = {r: after(convolutions(), float(r), kind) for r in np.geomspace(1e-5, 1.0, 6)}
    tried = {r: loss if math.isfinite(loss) else 1e9 for r, loss in tried.items()}
    order = sorted(tried.values())
    assert after(convolutions(), rate, kind) < order[len(order) // 2]
    assert after(convolutions(), rate, kind) < 2.0 * order[0] + 0.05


def test_it_leaves_no_trace_and_says_the_same_again() -> None:
    net = convolutions(dropout=0.3)
    before, chance = copied(net), torch.get_rng_state()
    first, second = sweep(net), sweep(net)
    assert first == second
    assert same(copied(net), before)
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert sweep(net, seed=1).curve != first.curve


def test_the_curve_is_plain_and_ends_where_the_loss_blows_up() -> None:
    found = sweep(convolutions(), "sgd")
    assert json.loads(json.dumps(found.curve)) == [list(point) for point in found.curve]
    losses = [loss for _, loss, _ in found.curve]
    rates = [rate for rate, _, _ in found.curve]
    assert rates == sorted(rates)
    assert max(losses) <= BLOWN * losses[0]
    assert len(rates) < 73
    assert rates[0] == pytest.approx(1e-5)


def test_the_groups_keep_their_shares() -> None:
    net = convolutions()
    named = dict(net.named_parameters())
    shares = {name: 1.0 if name.startswith("2.") else 0.0 for name in named}
    before = copied(net)
    seen = []

    def loss(number: int) -> torch.Tensor:
        seen.append(copied(net))
        return loss_of(net.eval(), number)

    find(net, loss, lambda: optim.optimizer(named, shares, Recipe(), PHASE))
    moved = {n for n in before if not torch.equal(before[n], seen[10][n])}
    assert moved == {"2.2.weight", "2.2.bias"}


def test_a_loss_that_only_rises_still_gives_a_rate_below_that() -> None:
    weight = nn.Parameter(torch.zeros(3))
    net = nn.ParameterList([weight])
    found = find(
        net,
        lambda number: 1.0 + (weight - torch.zeros(3)).pow(2).sum() + 0.01 * weight.sum(),
        lambda: torch.optim.SGD(net.parameters(), 1.0),
    )
    assert found.rate < found.curve[-1][0] / 10
    assert "did not fall" in found.why


def test_a_loss_that_is_no_number_at_once_is_refused() -> None:
    net = convolutions()
    x, _ = batch()
    with pytest.raises(TrainingError, match="no finite number before any step"):
        find(net, lambda n: net(x).sum() * math.nan, lambda: torch.optim.SGD(net.parameters(), 1.0))


def test_what_is_suggested_is_a_third_of_the_least() -> None:
    rates = np.geomspace(1e-4, 1.0, 5)
    rate, why = suggest(rates, np.array([2.0, 1.9, 1.0, 1.5, 3.0]))
    assert rate == pytest.approx(1e-2 / 3, rel=0.02)
    assert "from 2 to 1 at 0.01" in why
