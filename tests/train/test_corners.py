"""A fit that trains, at its corners: divergence, going on elsewhere, rare classes, mixed phases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import regraft
from regraft.plans import Phase, Recipe
from tests.nets import small
from tests.pictures import write_folder

FAST = Recipe(batch=8, amp="f32", memory="contiguous")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 pictures of each of 3 classes, but 6 of the last, with ids that any such folder has."""
    folder = write_folder(tmp_path_factory.mktemp("drawn"), 12)
    for path in sorted((folder / "stripes").iterdir())[6:]:
        path.unlink()
    return folder


def fit(data: Path, plan: Any = "lpft", **how: Any) -> regraft.Run:
    how = {"recipe": FAST, "geometry": "crop", "near": False} | how
    return regraft.fit(data, small(), plan=plan, **how)


def test_a_batch_that_shrinks_has_no_more_parts_than_rows(data: Path) -> None:
    run = fit(data, recipe=Recipe(accumulate=32, amp="f32", memory="contiguous"), finish=True)
    assert run.settings["accumulate"] == run.settings["batch"] < 32


def test_only_what_a_phase_begins_from_scratch_is_random(data: Path) -> None:
    plan = (Phase(cut=2, epochs=1, scratch=True), Phase(cut=1, epochs=1))
    made = fit(data, plan, finish=True, seed=1).model.backbone  # 0 made the network itself
    for cut, alike in ((1, True), (2, False)):
        name = f"{('middle', 'top')[cut - 1]}.conv.weight"
        own, before = made.stages.tensors()[name], small().stages.tensors()[name]
        assert torch.equal(own, before) is alike


@pytest.mark.slow
def test_lora_may_come_after_a_phase_that_trains_all(data: Path) -> None:
    plan = (Phase(cut=2, epochs=1, lr=1e-2), Phase(cut=1, epochs=1, adapter="lora", rank=2))
    run = fit(data, plan)
    assert [entry["phase"] for entry in run.report["training"]["curve"]] == [1, 2]
    first = run.report["training"]["rates"][0]
    assert sum(line["parameters"] for line in first if line["stage"] != "head") > 0
