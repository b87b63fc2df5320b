"""A run whose stages were trained cannot be changed exactly, and says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import regraft
from regraft.backbones import Backbone
from regraft.errors import DataError
from tests.change.runs import check_exact, draw
from tests.nets import small

PLAN = {"name": "finetune", "phases": [{"cut": "top", "epochs": 2}], "recipe": {"batch": 32}}


@pytest.fixture
def net() -> Backbone:
    return small()


def made(net: Backbone, data: Path, folder: Path, plan: dict) -> Path:
    """A run of a ridge head on a backbone that was trained, by this run if it has a plan."""
    tuned = net.tuned({"top.norm.bias": torch.full((24,), 0.5)})
    run = regraft.fit(data, tuned, head="ridge", precision="f32")
    run = replace(run, model=replace(run.model, plan=plan))
    run.save(folder)
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run, more, net: regraft.add(run, more, backbone=net), "add would not give"),
        (
            lambda run, more, net: regraft.merge([run, run], out=run.parent / "x", backbone=net),
            "merge would not give",
        ),
        (
            lambda run, more, net: regraft.remove(run, ["dots/000.png"], backbone=net),
            "no file can be taken back out",
        ),
    ],
    ids=["add", "merge", "remove"],
)
def test_what_trained_stages_learned_cannot_be_changed(
    change: Callable, said: str, net: Backbone, tmp_path: Path
) -> None:
    run = made(net, draw(tmp_path / "data"), tmp_path / "run", PLAN)
    more = draw(tmp_path / "more", first=50, count=2)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=said) as caught:
        change(run, more, net)
    assert "the stages of 'small' from 'top' up were trained" in str(caught.value)
    assert "fit" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "x").exists()


def test_nor_a_head_that_was_trained_in_epochs(net: Backbone, tmp_path: Path) -> None:
    """Where no stage was better after training than before, the head alone is another."""
    data = draw(tmp_path / "data")
    run = regraft.fit(data, net, head="ridge", precision="f32")
    head = replace(run.model.head, name="trained", settings={})
    replace(run, model=replace(run.model, head=head), sums=lambda: None).save(tmp_path / "run")
    for change in (
        lambda run: regraft.add(run, data, backbone=net),
        lambda run: regraft.merge([run, run], out=tmp_path / "x", backbone=net),
        lambda run: regraft.remove(run, ["dots/000.png"], backbone=net),
    ):
        with pytest.raises(DataError, match="since the head was trained"):
            change(tmp_path / "run")


def test_a_head_on_stages_trained_before_takes_rows_exactly(net: Backbone, tmp_path: Path) -> None:
    data = draw(tmp_path / "data")
    run = made(net, data, tmp_path / "run", {})
    draw(data, first=50, count=2)
    changed = regraft.add(run, data, backbone=net)
    assert changed.report["changes"][-1]["rows"] == 6
    check_exact(run, net, data)
    again = regraft.load(run, backbone=net)
    assert again.backbone.tuning is not None
    assert again.backbone.info.base == net.info.digest
    with pytest.raises(DataError, match=r"no file can be taken back out, .* may have learned"):
        regraft.remove(run, ["dots/000.png"], backbone=net)
