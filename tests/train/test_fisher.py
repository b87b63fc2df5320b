"""The Fisher against brute force."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from regraft.errors import OptionError
from regraft.train.fisher import MOST, Source, fisher
from tests.nets import small


def _source(classes: int = 3) -> tuple[Source, torch.Tensor]:
    stages = copy.deepcopy(small().stages)["middle":]
    torch.manual_seed(3)
    return Source(stages, nn.Linear(24, classes)), torch.rand(5, 12, 16, 16)


def _by_vmap(source: Source, flow: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
    """Squared gradients of log p(y | x) per row, all rows at once: (B, …) each."""
    own = {name: w.detach() for name, w in source.stages.named_parameters(prefix="stages")}

    def log_p(weights: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        out = functional_call(source, weights, (x[None],))
        return out.log_softmax(1)[0].gather(0, y[None]).squeeze(0)

    found = vmap(grad(log_p), in_dims=(None, 0, 0))(own, flow, y)
    plain = {id(w): name for name, w in source.stages.tensors().items()}
    at = {name: plain[id(w)] for name, w in source.stages.named_parameters(prefix="stages")}
    return {at[name]: value.detach().square() for name, value in found.items()}


def _names(source: Source) -> list[str]:
    return [n for s in source.stages for n, _ in s.body.named_parameters()]


def test_one_answer_is_the_square_of_its_gradient() -> None:
    """A classifier that is sure of its answer leaves nothing to chance."""
    source, flow = _source()
    with torch.no_grad():
        source.classifier.bias.copy_(torch.tensor([0.0, 12.0, 0.0]))
    found = fisher(source, flow.split(1), _names(source), images="your", seed=0)
    expected = _by_vmap(source, flow, torch.ones(5, dtype=torch.long))
    assert found.rows == 5
    for name, value in found.values.items():
        torch.testing.assert_close(value, expected[name].mean(0), rtol=1e-4, atol=1e-14)


def test_it_is_per_example_and_not_of_the_batch_mean() -> None:
    """Over many draws it comes to the expectation over the model's own answers."""
    source, flow = _source()
    names = _names(source)
    source.eval()
    with torch.no_grad():
        p = source(flow).softmax(1)
    expected = {name: torch.zeros(source.stages.tensors()[name].shape) for name in names}
    for c in range(3):
        squares = _by_vmap(source, flow, torch.full((5,), c))
        for name in names:
            weight = p[:, c].reshape(5, *[1] * (squares[name].ndim - 1))
            expected[name] += (squares[name] * weight).mean(0)
    rows = [row for _ in range(MOST // 5) for row in flow.split(1)]
    draws = [fisher(source, rows, names, images="your", seed=s).values for s in range(3)]
    for name in names:
        mean = sum(float(d[name].sum()) for d in draws) / 3
        assert mean == pytest.approx(float(expected[name].sum()), rel=0.1)
    batch = _batch_mean(source, flow, names)
    assert batch < 0.6 * sum(float(e.sum()) for e in expected.values())


def _batch_mean(source: Source, flow: torch.Tensor, names: list[str]) -> float:
    """What squaring the gradient of the batch's mean would give: far too little."""
    weights = [source.stages.tensors()[name].requires_grad_() for name in names]
    y = torch.tensor([0, 1, 2, 0, 1])
    loss = nn.functional.cross_entropy(source(flow), y)
    return float(sum(g.square().sum() for g in torch.autograd.grad(loss, weights)))


def test_it_leaves_the_network_as_it_was() -> None:
    source, flow = _source()
    source.requires_grad_(False).train()
    before = {name: t.clone() for name, t in source.state_dict().items()}
    state = torch.get_rng_state()
    found = fisher(source, flow.split(1), ["top.conv.weight"], images="source", seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(w.requires_grad for w in source.parameters())
    assert all(torch.equal(before[n], t) for n, t in source.state_dict().items())
    assert list(found.values) == ["top.conv.weight"]
    again = fisher(source, flow.split(1), ["top.conv.weight"], images="source", seed=1)
    assert torch.equal(found.values["top.conv.weight"], again.values["top.conv.weight"])
    assert "5 source images" in found.said()
    assert "drawn from its own" in found.said()


def test_more_pictures_than_it_wants_are_not_read() -> None:
    source, flow = _source()
    read = []

    def flows():
        for i in range(MOST + 10):
            read.append(i)
            yield flow[:1]

    assert fisher(source, flows(), ["top.conv.bias"], images="your", seed=0).rows == MOST
    assert len(read) == MOST


def test_no_pictures_are_refused() -> None:
    source, _ = _source()
    with pytest.raises(OptionError, match="ewc needs source images"):
        fisher(source, [], ["top.conv.bias"], images="source", seed=0)


def test_weights_that_the_network_did_not_have_are_refused() -> None:
    source, flow = _source()
    with pytest.raises(OptionError, match=r"ewc holds .*'top\.lora_A'.* lora"):
        fisher(source, flow.split(1), ["top.lora_A"], images="your", seed=0)
