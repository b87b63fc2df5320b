"""LoRA, BitFit and norms alone, on networks of several families with random weights."""

from __future__ import annotations

import copy
import sys
from functools import cache

import pytest
import torch
from torch import nn

from regraft.backbones import Backbone, from_module
from regraft.errors import MissingExtra, OptionError
from regraft.inputs import ImageSpec
from regraft.plans import Phase
from regraft.stages import Stages
from regraft.train.adapters import apply, merge
from regraft.train.names import parameters
from tests.nets import small

RANK = 4


class _Block(nn.Module):
    """Pointwise and depthwise convolutions, as in a MobileNet; a dense one, as in a ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.point = nn.Conv2d(16, 48, 1)
        self.depth = nn.Conv2d(48, 48, 3, padding=1, groups=48, bias=False)
        self.norm = nn.BatchNorm2d(48)
        self.dense = nn.Conv2d(48, 16, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(torch.relu(self.norm(self.depth(self.point(x)))))


class _Mixer(nn.Module):
    """Layer norm and an MLP whose dropout differs between the modes' graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.up = nn.Linear(16, 64)
        self.down = nn.Linear(64, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = nn.functional.dropout(torch.relu(self.up(self.norm(x))), 0.1, self.training)
        return x + self.down(inner)


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.block = _Block()
        self.mixer = _Mixer()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mixer(self.block(self.stem(x)).mean((2, 3)))


@cache
def _net() -> Backbone:
    torch.manual_seed(0)
    return from_module(_Net().eval(), input=ImageSpec((16, 16)), name="net")


def _above() -> tuple[Stages, torch.Tensor]:
    stages = copy.deepcopy(_net().stages)["block":]
    return stages.eval(), torch.rand(3, 16, 16, 16, generator=torch.Generator().manual_seed(1))


def _phase(kind: str, **more: object) -> Phase:
    return Phase(cut="block", adapter=kind, rank=RANK, **more)  # type: ignore[arg-type]


def _trained(stages: Stages, names: list[str]) -> dict[str, nn.Parameter]:
    own = parameters(stages)
    for name, weight in own.items():
        weight.requires_grad_(name in names)
    return {name: own[name] for name in names}


LORA = [
    f"{path}.lora_{side}.default.weight"
    for path in ("block.point", "block.dense", "mixer.up", "mixer.down")
    for side in "AB"
]


def test_fresh_lora_changes_no_bit_in_either_mode() -> None:
    stages, flow = _above()
    with torch.no_grad():
        before = stages(flow)
    state = torch.get_rng_state()
    assert apply(stages, _phase("lora"), seed=3) == LORA
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        assert torch.equal(stages.eval()(flow), before)


def test_lora_learns_in_both_graphs_and_only_itself() -> None:
    stages, flow = _above()
    own = {name: t.clone() for name, t in stages.tensors().items()}
    names = apply(stages, _phase("lora"), seed=3)
    weights = _trained(stages, names)
    optimizer = torch.optim.SGD(weights.values(), lr=1.0)
    for _ in range(2):
        for part in stages:
            part.train()
        for module in stages.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        optimizer.zero_grad()
        stages(flow).square().mean().backward()
        assert all(w.grad is not None for w in weights.values())
        optimizer.step()
    with torch.no_grad():
        adapted = stages.eval()(flow)
    plain = {n.replace(".base_layer", ""): t for n, t in stages.tensors().items()}
    assert all(torch.equal(plain[name], t) for name, t in own.items())
    merge(stages)
    assert list(stages.tensors()) == list(own)
    assert not any("peft" in type(m).__module__ for m in stages.modules())
    with torch.no_grad():
        merged = stages.eval()(flow)
        assert float((merged - adapted).norm() / adapted.norm()) < 1e-5
        changed = {n for n, t in stages.tensors().items() if not torch.equal(t, own[n])}
    assert changed == {f"{p}.weight" for p in ("block.point", "block.dense", "mixer.up")} | {
        "mixer.down.weight"
    }
    merge(stages)  # nothing is left to merge
    assert torch.equal(stages(flow).detach(), merged)


def test_the_backbone_does_not_notice() -> None:
    before = {name: t.clone() for name, t in _net().stages.tensors().items()}
    stages, _ = _above()
    apply(stages, _phase("lora"), seed=0)
    merge(stages)
    assert all(torch.equal(t, before[n]) for n, t in _net().stages.tensors().items())


def test_lora_begins_as_its_seed_says() -> None:
    found = []
    for seed in (1, 1, 2):
        stages, _ = _above()
        names = apply(stages, _phase("lora"), seed=seed)
        found.append(parameters(stages)[names[0]].detach())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_only_narrows_an_adapter() -> None:
    stages, _ = _above()
    assert apply(stages, _phase("lora", only="mixer.up, !head"), seed=0) == LORA[4:6]
    stages, _ = _above()
    assert apply(stages, _phase("norm", only="block"), seed=0) == [
        "block.norm.weight",
        "block.norm.bias",
    ]


def test_a_later_phase_goes_on_with_the_lora_that_is_there() -> None:
    stages, flow = _above()
    with torch.no_grad():
        before = stages(flow)
    high = stages["mixer":]
    assert apply(high, _phase("lora"), seed=0) == LORA[4:]
    kept = {name: weight.detach().clone() for name, weight in parameters(high).items()}
    assert apply(stages, _phase("lora"), seed=1) == LORA
    assert all(torch.equal(parameters(stages)[name], weight) for name, weight in kept.items())
    assert apply(stages, _phase("lora", only="mixer.up"), seed=1) == LORA[4:6]
    with torch.no_grad():
        assert torch.equal(stages.eval()(flow), before)
    merge(stages)
    assert list(stages.tensors()) == list(_above()[0].tensors())


def test_bitfit_trains_biases_and_norm_norms() -> None:
    stages, _ = _above()
    assert apply(stages, _phase("bitfit"), seed=0) == [
        "block.point.bias",
        "block.norm.bias",
        "block.dense.bias",
        "mixer.norm.bias",
        "mixer.up.bias",
        "mixer.down.bias",
    ]
    assert apply(stages, _phase("norm"), seed=0) == [
        "block.norm.weight",
        "block.norm.bias",
        "mixer.norm.weight",
        "mixer.norm.bias",
    ]


def test_layers_that_lora_would_not_make_smaller_stay_frozen() -> None:
    stages, _ = _above()
    with pytest.raises(OptionError, match=r"adapter 'lora' finds nothing to train .*'block'"):
        apply(stages, Phase(cut="block", adapter="lora", rank=64), seed=0)


def test_what_does_not_fit_is_refused() -> None:
    stages, _ = _above()
    with pytest.raises(
        OptionError, match=r"must be one of lora, bitfit, norm.*Did you mean 'lora'"
    ):
        apply(stages, _phase("loar"), seed=0)
    with pytest.raises(OptionError, match=r"rank must be .* above 0"):
        apply(stages, Phase(cut="block", adapter="lora", rank=0), seed=0)
    with pytest.raises(OptionError, match="the head alone"):
        apply(stages[len(stages) :], _phase("bitfit"), seed=0)


def test_without_peft_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"needs the package peft: .*regraft\[lora\]"):
        apply(copy.deepcopy(small().stages), Phase(cut=0, adapter="lora", rank=1), seed=0)
