"""What is fastest is measured, and measuring leaves no trace."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from regraft.train import speed
from regraft.train.candidates import Candidate
from regraft.train.speed import Choice, choose, cosine
from tests.train.nets import Broken, batch, convolutions, copied, same

F32, LAST = Candidate("f32", "contiguous", 4), Candidate("f32", "channels_last", 4)
BF16 = Candidate("bf16", "contiguous", 4)


def shaped(net: nn.Module, candidate: Candidate) -> None:
    last = candidate.memory == "channels_last"
    net.to(memory_format=torch.channels_last if last else torch.contiguous_format)


def chosen(
    net: nn.Module,
    candidates: list[Candidate],
    slow: dict[Candidate, float] | None = None,
    seen: list[tuple[Candidate, int]] | None = None,
    **how: bool,
) -> Choice:
    """The choice where a batch takes 10 ms, and so many seconds more with some candidates."""
    clock = 0.0

    def make_step(candidate: Candidate) -> speed.Step:
        shaped(net, candidate)

        def step(number: int) -> torch.Tensor:
            nonlocal clock
            clock += 0.01 + (slow or {}).get(candidate, 0.0)
            if seen is not None:
                seen.append((candidate, number))
            x, labels = batch(number)
            with torch.autocast("cpu", torch.bfloat16, enabled=candidate.amp == "bf16"):
                logits = net(x)
            return nn.functional.cross_entropy(logits.float(), labels)

        return step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "_now", lambda device: clock)
        return choose(net, make_step, candidates, "cpu", **how)


@pytest.mark.parametrize("slow", [F32, LAST])
def test_the_faster_one_is_taken(slow: Candidate) -> None:
    found = chosen(convolutions(), [F32, LAST], {slow: 0.2})
    fast = LAST if slow is F32 else F32
    assert found.best == fast
    assert set(found.seconds) == {F32, LAST}
    assert found.seconds[slow] > 0.2
    assert found.why(16).startswith(f"{fast}: 16 rows took ")


def test_nothing_is_left_of_it() -> None:
    net = convolutions(dropout=0.5)
    before, chance = copied(net), torch.get_rng_state()
    strides = [parameter.stride() for parameter in net.parameters()]
    chosen(net, [F32, LAST, BF16])
    chosen(net, [F32, Candidate("f32", "contiguous", 1)], later=True, in_turns=False)
    assert same(copied(net), before)
    assert torch.equal(torch.get_rng_state(), chance)
    assert [parameter.stride() for parameter in net.parameters()] == strides
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_later_round_gives_up_what_is_hopeless_after_one_batch() -> None:
    few, slow = Candidate("f32", "contiguous", 1), Candidate("f32", "contiguous", 2)
    seen: list[tuple[Candidate, int]] = []
    pause = {F32: 0.05, few: 0.05, slow: 0.3}
    found = chosen(convolutions(), [F32, few, slow], pause, seen, later=True)
    assert found.best in (F32, few)
    assert [number for candidate, number in seen if candidate == slow] == [0]
    assert [number for candidate, number in seen if candidate == few] == [0, 1, 2]
    assert found.seconds[slow] > 0.3, "what was measured is told all the same"


def test_what_changes_the_process_is_measured_one_after_the_other() -> None:
    other = Candidate("f32", "contiguous", 4, "system")
    seen: list[tuple[Candidate, int]] = []
    found = chosen(convolutions(), [F32, other], {F32: 0.1}, seen, in_turns=False)
    assert seen == [(c, number) for c in (F32, other) for number in range(3)]
    assert found.best == other
    close = {F32: 0.2, other: 0.19}  # 5 %: enough in turns, not so
    assert chosen(convolutions(), [F32, other], close, in_turns=False).best == F32
    assert chosen(convolutions(), [F32, other], close).best == other


def test_gradients_that_bf16_gets_wrong_are_refused() -> None:
    """Here it is faster, but a small difference of large numbers is lost in it."""

    class Fine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8, 8))

    net = Fine()

    def make_step(candidate: Candidate) -> speed.Step:
        def step(number: int) -> torch.Tensor:
            time.sleep(0.1 if candidate.amp == "f32" else 0.0)
            x = torch.randn(4, 8, generator=torch.Generator().manual_seed(number))
            with torch.autocast("cpu", torch.bfloat16, enabled=candidate.amp == "bf16"):
                apart = (x @ net.weight + 10000.0) - 10000.0
            return apart.float().pow(3).sum()

        return step

    found = choose(net, make_step, [F32, BF16], "cpu")
    assert found.best == F32
    assert "unlike those of f32" in found.why(16)
    assert BF16 not in found.seconds


def test_what_runs_out_of_memory_is_left_out() -> None:
    net = convolutions()

    def make_step(candidate: Candidate) -> speed.Step:
        shaped(net, candidate)

        def step(number: int) -> torch.Tensor:
            if candidate is F32:
                torch.empty(2**62 // 8, dtype=torch.float64)
            x, labels = batch(number)
            return nn.functional.cross_entropy(net(x), labels)

        return step

    found = choose(net, make_step, [F32, LAST], "cpu")
    assert found.best == LAST
    assert "f32 contiguous on 4 threads ran out of memory" in found.why(16)
    none = choose(net, lambda _: make_step(F32), [F32, LAST], "cpu")
    assert none.best == F32
    assert none.why(16).endswith("f32 contiguous on 4 threads is the plainest")


def test_what_cannot_be_compiled_drops_out_on_its_way_back() -> None:
    net, compiled = convolutions(), Candidate("f32", "contiguous", 4, compiled=True)

    def make_step(candidate: Candidate) -> speed.Step:
        def step(number: int) -> torch.Tensor:
            x, labels = batch(number)
            loss = nn.functional.cross_entropy(net(x), labels)
            return Broken.apply(loss) if candidate == bad else loss

        return step

    bad = compiled
    found = choose(net, make_step, [F32, compiled], "cpu", later=True)
    assert found.best == F32
    assert "torch.compile failed (no compiler)" in found.why(16)
    bad = F32
    with pytest.raises(RuntimeError, match="no compiler"):
        choose(net, make_step, [F32], "cpu")


def test_other_errors_are_not_hidden() -> None:
    net = convolutions()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        choose(net, lambda _: lambda n: net(torch.zeros(4, 3, 4, 4)).sum(), [F32, LAST], "cpu")


def test_bf16_is_native_where_the_processor_says_so() -> None:
    flags = torch.cpu.get_capabilities()
    assert speed.native_bf16("cpu") == (flags["avx512_bf16"] or flags["amx_bf16"])
    assert not speed.native_bf16("mps")


def test_cosine_reads_lists_as_vectors() -> None:
    a = [torch.tensor([1.0, 0.0]), torch.tensor([[2.0]])]
    assert cosine(a, [3 * t for t in a]) == pytest.approx(1.0)
    assert cosine(a, [-t for t in a]) == pytest.approx(-1.0)
    assert cosine(a, [torch.tensor([0.0, 1.0]), torch.tensor([[0.0]])]) == 0.0
    assert cosine(a, [torch.tensor([float("nan"), 1.0]), torch.tensor([[0.0]])]) == 0.0
