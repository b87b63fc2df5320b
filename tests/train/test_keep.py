"""The pull of what holds the weights, against autograd."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from regraft.errors import OptionError
from regraft.train import keep
from regraft.train.keep import TEMPERATURE, Kept, LwF, ewc, l2sp
from regraft.train.names import parameters
from tests.nets import small


class _Moved:
    """Stages and a head whose weights have moved since before, with a loss."""

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(1)
        self.stages = copy.deepcopy(small().stages)["top":]
        self.head = nn.Linear(24, 3)
        self.weights = parameters(self.stages)
        self.before = {name: w.detach().clone() for name, w in self.weights.items()}
        self.fisher = {n: torch.rand(w.shape, generator=random) for n, w in self.weights.items()}
        with torch.no_grad():
            for w in self.weights.values():
                w.add_(torch.randn(w.shape, generator=random) * 0.1)
        self.flow = torch.rand(4, 16, 8, 8, generator=random)

    def loss(self) -> torch.Tensor:
        return self.head(self.stages(self.flow)).square().mean()

    def all(self) -> list[nn.Parameter]:
        return [*self.weights.values(), *self.head.parameters()]

    def gradients(self, loss: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad(loss, self.all()))


@pytest.mark.parametrize("kind", ["l2sp", "ewc"])
def test_a_spring_is_the_gradient_of_its_penalty(kind: str) -> None:
    net = _Moved()
    if kind == "l2sp":
        guard = l2sp(net.weights, net.before, list(net.head.parameters()), 0.7, 0.3)
        penalty = 0.35 * sum((w - net.before[n]).square().sum() for n, w in net.weights.items())
        penalty = penalty + 0.15 * sum(w.square().sum() for w in net.head.parameters())
    else:
        guard = ewc(net.weights, net.before, net.fisher, 5.0)
        penalty = 2.5 * sum(
            (net.fisher[n] * (w - net.before[n]).square()).sum() for n, w in net.weights.items()
        )
    expected = net.gradients(net.loss() + penalty)
    net.loss().backward()
    value = guard.pull()
    assert guard.loss(None, None, None) is None
    assert value == pytest.approx(float(penalty.detach()), rel=1e-5)
    for weight, gradient in zip(net.all(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient)


def test_at_the_weights_before_nothing_pulls() -> None:
    net = _Moved()
    with torch.no_grad():
        for name, weight in net.weights.items():
            weight.copy_(net.before[name])
    net.loss().backward()
    kept = [w.grad.clone() for w in net.all() if w.grad is not None]
    assert ewc(net.weights, net.before, net.fisher, 1e6).pull() == 0.0
    assert all(torch.equal(a, w.grad) for a, w in zip(kept, net.all(), strict=True))


def test_frozen_weights_get_no_gradient() -> None:
    net = _Moved()
    frozen = net.weights["top.conv.weight"].requires_grad_(False)
    net.loss().backward()
    l2sp(net.weights, net.before, [], 1.0, 0.0).pull()
    assert frozen.grad is None


def test_what_was_not_there_before_cannot_be_held() -> None:
    net = _Moved()
    weights = net.weights | {"top.conv.lora_A.default.weight": nn.Parameter(torch.zeros(2))}
    with pytest.raises(OptionError, match=r"l2sp .*lora_A.* lora"):
        l2sp(weights, net.before, [], 1.0, 0.0)
    with pytest.raises(OptionError, match=r"ewc .*lora_A"):
        ewc(weights, net.before, net.fisher, 1.0)


def test_lwf_is_the_divergence_of_softened_answers() -> None:
    random = torch.Generator().manual_seed(0)
    source = nn.Linear(6, 5)
    said = torch.randn(3, 10, 5, generator=random)  # per view and row

    def answers(rows: np.ndarray, views: np.ndarray) -> torch.Tensor:
        return said[views + 1, rows]

    guard = LwF(source, answers, 3.0)
    rows, views = np.array([7, 2, 4]), np.array([-1, 0, 1])
    features = torch.randn(3, 6, generator=random, requires_grad=True)
    value = guard.loss(features, rows, views)
    old = (said[[0, 1, 2], [7, 2, 4]] / TEMPERATURE).softmax(1)
    # The gradient of the paper's loss, a cross-entropy, and 0 where the answers are the old ones.
    crossed = -(old * (source(features) / TEMPERATURE).log_softmax(1)).sum(1).mean()
    entropy = -(old * old.log()).sum(1).mean()
    assert value.item() == pytest.approx(3.0 * (crossed - entropy).item(), rel=1e-4)
    (expected,) = torch.autograd.grad(3.0 * crossed, features, retain_graph=True)
    value.backward()
    torch.testing.assert_close(features.grad, expected)
    assert all(weight.grad is None for weight in source.parameters())
    assert guard.pull() == 0.0


def test_lwf_is_nothing_where_nothing_has_changed() -> None:
    source = nn.Linear(6, 5)
    features = torch.randn(4, 6)
    guard = LwF(source, lambda rows, views: source(features), 1.0)
    assert abs(guard.loss(features, np.arange(4), np.zeros(4)).item()) < 1e-6


class _Asked:
    """Answers that tell row and view, and how often they were asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[int], list[int]]] = []

    def __call__(self, rows: np.ndarray, views: np.ndarray) -> torch.Tensor:
        self.calls.append((rows.tolist(), views.tolist()))
        return torch.stack([torch.from_numpy(rows), torch.from_numpy(views)], dim=1).float()


def test_answers_are_asked_once_in_batches_that_are_always_the_same() -> None:
    ask = _Asked()
    kept = Kept(ask, rows=100, views=2, epochs=2)
    ask.calls.clear()
    rows, views = np.array([99, 3, 64]), np.array([1, 0, 1])
    for _ in range(2):
        assert kept(rows, views).tolist() == [[99, 1], [3, 0], [64, 1]]
    whole = [(list(range(64)), 64), (list(range(64, 100)), 36)]
    assert ask.calls == [(part, [view] * n) for view in (1, 0) for part, n in whole]


@pytest.mark.parametrize(("views", "most"), [(3, 1 << 30), (2, 100)])
def test_answers_that_are_not_worth_keeping_are_asked_for_anew(
    views: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "MOST_BYTES", most)
    ask = _Asked()
    kept = Kept(ask, rows=100, views=views, epochs=2)
    ask.calls.clear()
    for _ in range(2):
        assert kept(np.array([7]), np.array([1])).tolist() == [[7, 1]]
    assert ask.calls == [([7], [1])] * 2
