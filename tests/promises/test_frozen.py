"""Frozen means frozen: every plan on five families, compared to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import regraft
from regraft.backbones import Backbone, backbone
from regraft.errors import RegraftError
from regraft.plans import PLANS, Recipe
from tests.pictures import write_folder

FAMILIES = ["test_resnet", "test_efficientnet", "test_vit", "test_convnext", "test_byobnet"]
RECIPE = Recipe(batch=8, amp="f32", memory="contiguous", weight_decay=0.1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of each of three classes to learn from, and as many to test on."""
    return write_folder(tmp_path_factory.mktemp("frozen"), 8, parts=("train", "test"))


def held(net: Backbone) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in net.stages.tensors().items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_plan_leaves_what_is_frozen(name: str, data: Path) -> None:
    net = backbone(name, weights="random", size=64)
    before, digest, trained = held(net), net.info.digest, 0
    for plan in PLANS:
        settings = {} if plan in ("probe", "early") else {"epochs": 1, "lr": 1e-2, "wise": "1"}
        try:
            run = regraft.fit(
                data, net, plan=plan, recipe=RECIPE, settings=settings, near=False, geometry="crop"
            )
        except RegraftError as problem:
            assert "finds nothing to train" in str(problem), (plan, problem)  # noqa: PT017
            continue
        after = held(net)
        assert all(torch.equal(before[n], after[n]) for n in before), plan
        assert net.info.digest == digest
        if plan in ("probe", "early"):
            assert run.model.backbone.info.digest == digest
            continue
        made, phases = held(run.model.backbone), run.settings["phases"]
        cut = min(phase["cut"] for phase in phases)
        assert all(torch.equal(before[n], made[n]) for n in net[:cut].tensors()), plan
        if plan != "scratch":
            kept = [n for n in before if n.endswith(("running_mean", "running_var"))]
            assert all(torch.equal(before[n], made[n]) for n in kept), plan
        trained += any(not torch.equal(before[n], made[n]) for n in net[cut:].tensors())
    assert trained >= 5
