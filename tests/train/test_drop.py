"""Stochastic depth: where it acts, what it does, and that it does nothing in eval mode."""

from __future__ import annotations

import copy

import pytest
import torch

from regraft.backbones import backbone
from regraft.errors import OptionError
from regraft.stages import Stages
from regraft.train.drop import branches, drop_paths
from tests.nets import small


def _stages(name: str, size: int) -> Stages:
    return copy.deepcopy(backbone(name, weights="random", size=size, cache=False).stages)


FLOWS = {
    "resnet18": ("layer4", (256, 4, 4), 2, 1),
    "vit_tiny_patch16_224": ("blocks.9", (17, 192), 3, 2),
    "resnet50": ("layer4", (1024, 4, 4), 3, 1),
    "convnext_tiny": ("stages.3.blocks.1", (768, 2, 2), 2, 1),
    "tf_efficientnet_lite0": ("blocks.5.0", (112, 4, 4), 3, 1),  # two more have no shortcut
}
LARGE = {"resnet50", "convnext_tiny", "tf_efficientnet_lite0"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in LARGE else []) for n in FLOWS]
)
def test_blocks_of_real_networks(name: str) -> None:
    cut, shape, blocks, ends = FLOWS[name]
    stages = _stages(name, 64)[cut:].eval()
    flow = torch.rand(16, *shape, generator=torch.Generator().manual_seed(0))
    found = [block for stage in stages for block in branches(stage)]
    assert [len(modules) for modules, _ in found] == [ends] * blocks
    with torch.no_grad():
        for tensor_name, tensor in stages.tensors().items():
            if tensor_name.endswith(("gamma", "bn2.weight", "bn3.weight")):
                tensor.fill_(1.0)  # random networks begin with branches that give 0
        plain = stages(flow)
        handles = drop_paths(stages, 0.5)
        assert len(handles) == blocks * ends
        assert torch.equal(stages.eval()(flow), plain)
        for stage in stages:
            stage.train()
        _keep_statistics(stages)
        torch.manual_seed(0)
        noisy = stages(flow)
        assert not torch.allclose(noisy, plain)
        for handle in handles:
            handle.remove()
        assert torch.equal(stages(flow), plain)


def _keep_statistics(stages: Stages) -> None:
    for module in stages.modules():
        if isinstance(module, torch.nn.modules.batchnorm._NormBase):
            module.eval()


def test_a_dropped_branch_leaves_its_input_and_the_mean_stays() -> None:
    stages = Stages([_stages("convnext_atto", 32)["stages.3.blocks.1"]])
    row = torch.rand(1, 320, 1, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, weight in stages.tensors().items():
            if name.endswith("gamma"):
                weight.fill_(1.0)
        whole = stages.eval()(row)
        drop_paths(stages, 0.25)
        torch.manual_seed(0)
        out = stages.train()(row.expand(1500, -1, -1, -1))
    gone = (out == row).flatten(1).all(1)
    assert 0.22 < float(gone.float().mean()) < 0.28
    kept = row + (whole - row) / 0.75
    torch.testing.assert_close(out[~gone], kept.expand_as(out[~gone]), rtol=1e-4, atol=1e-5)


def test_rates_rise_with_depth_and_frozen_stages_are_left_alone() -> None:
    stages = Stages([*_stages("vit_tiny_patch16_224", 32)][5:13])  # blocks.4 to blocks.11
    for stage in stages:
        stage.train(stage.info.name != "blocks.11")
    drop_paths(list(stages)[2:], 0.4)
    torch.manual_seed(0)
    share = {}
    with torch.no_grad():
        for stage in stages:
            flow = torch.rand(1, 5, 192).expand(600, -1, -1)
            share[stage.info.name] = float((stage(flow) == flow).flatten(1).all(1).float().mean())
    assert all(share[f"blocks.{i}"] == 0.0 for i in (4, 5))
    assert share["blocks.11"] == 0.0  # its body is in eval mode
    both = [share[f"blocks.{i}"] for i in range(6, 11)]  # both branches of a block are gone
    for place, found in enumerate(both, start=1):
        assert found == pytest.approx((0.4 * place / 6) ** 2, abs=0.03)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(OptionError, match="drop_path must be at least 0 and below 1"):
        drop_paths(small().stages, rate)


def test_a_network_without_residual_branches_is_refused() -> None:
    assert drop_paths(small().stages, 0.0) == []
    with pytest.raises(OptionError, match=r"'middle' and above.* has none: .* use dropout"):
        drop_paths(small().stages["middle":], 0.1)
    with pytest.raises(OptionError, match="the head alone"):
        drop_paths([], 0.1)
