"""Computing activations again gives the same gradients, from less memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regraft.train import recompute
from tests.train.nets import batch, convolutions, copied, same


def trained(net: nn.Sequential, again: bool) -> dict[str, torch.Tensor]:
    """Gradients and buffers after one batch, by name."""
    x, labels = batch()
    torch.manual_seed(11)
    logits = recompute.run(list(net), x) if again else net(x)
    torch.autograd.backward(nn.functional.cross_entropy(logits, labels))
    found = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return found | dict(net.named_buffers()) | {"logits": logits.detach()}


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_and_statistics_are_the_same_to_the_bit(
    order: torch.memory_format, training: bool
) -> None:
    """With dropout, and with BatchNorm that learns its statistics where it trains."""
    plain, again = (convolutions(dropout=0.5).to(memory_format=order) for _ in range(2))
    plain.train(training)
    again.train(training)
    assert same(trained(plain, False), trained(again, True))
    assert same(copied(plain), copied(again))
    assert int(again[0][1].num_batches_tracked) == int(training)


def test_dropout_does_something_in_that_test() -> None:
    with_dropout, without = convolutions(dropout=0.5).train(), convolutions().train()
    assert not same(trained(with_dropout, True), trained(without, True))


def test_a_flow_may_be_a_tuple() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(3, 3)

        def forward(self, flow: tuple[torch.Tensor, torch.Tensor]) -> object:
            x, mask = flow
            return torch.tanh(self.line(x)) * mask, mask

    torch.manual_seed(0)
    net = nn.ModuleList([Masked(), Masked()])
    flow = (torch.randn(2, 3), torch.tensor([[1.0], [0.0]]))
    out, mask = recompute.run(list(net), flow)
    torch.autograd.backward(out.sum())
    found = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    plain = net[1](net[0](flow))
    torch.autograd.backward(plain[0].sum())
    assert torch.equal(mask, flow[1])
    assert all(torch.equal(a, p.grad) for a, p in zip(found, net.parameters(), strict=True))


def test_only_what_goes_into_each_stage_is_kept() -> None:
    def kept(again: bool) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        net, (x, _) = convolutions(), batch()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = recompute.run(list(net), x) if again else net(x)
        assert out.requires_grad
        return sum(sizes.values())

    flows = 16 * (3 * 64 + 8 * 64 + 12 * 16)
    assert kept(True) == 4 * flows
    assert kept(False) > 7 * flows
