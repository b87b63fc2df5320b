"""Advice on real pictures, and a fit that follows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import regraft
from regraft.advising import advise as advising
from regraft.advising import decide
from regraft.advising.among import Limits
from regraft.backbones import Backbone
from regraft.errors import OptionError
from tests.nets import small
from tests.pictures import CLASSES, picture, write_folder

KEYS = {
    "learnable", "plan", "at", "cut", "backbone", "reasons", "similarity", "expected", "predicted",
    "depths", "learning_curve", "risks", "table_cell",
}  # fmt: skip


@pytest.fixture
def net() -> Backbone:
    return small()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", 14)


def test_advice_holds_all_that_is_promised(data: Path, net: Backbone) -> None:
    said: list[str] = []
    found = regraft.advise(data, net, say=said.append)
    told = found.json()
    assert set(told) >= KEYS
    assert json.loads(json.dumps(told)) == told
    assert told["learnable"] is True
    assert [one["stage"] for one in told["depths"]] == [stage.name for stage in net.info.stages]
    low, high = told["expected"]["ci95"]
    assert 0 <= low <= told["expected"]["accuracy"] <= high <= 1
    assert told["predicted"]["seconds"] > 0
    assert told["predicted"]["peak_memory_bytes"] > 10**6
    assert set(told["similarity"]) >= {"score", "verdict", "per_stage"}
    assert [one["chosen"] for one in told["options"]].count(True) == 1
    assert told["table_cell"]["data"] == "small"
    assert found.lines()


def test_the_same_data_get_the_same_advice(data: Path, net: Backbone) -> None:
    once, again = (regraft.advise(data, net).json() for _ in range(2))
    for name in KEYS - {"predicted"}:
        assert once[name] == again[name]


def test_a_fit_follows_the_advice_and_says_what_came_of_it(data: Path, net: Backbone) -> None:
    advice = regraft.advise(data, net).json()
    run = regraft.fit(data, net)
    assert run.report["advice"]["plan"] == advice["plan"]
    assert run.report["at"] == advice["at"] == run.settings["at"]
    assert run.settings["depths"] == "all"
    forecast = run.report["forecast"]
    test = run.report["test"]["accuracy"]
    low, high = forecast["accuracy"]["ci95"]
    assert forecast["accuracy"]["came"] == test
    assert forecast["accuracy"]["held"] == (low <= test <= high)
    assert 0 < forecast["seconds"]["came"] < run.report["seconds"]["total"]


def test_an_advised_run_repeats_itself_without_advice(
    data: Path, net: Backbone, tmp_path: Path
) -> None:
    first = regraft.fit(data, net)
    again = regraft.fit(
        data, net, plan="probe", at=first.settings["at"], geometry=first.settings["geometry"],
        depths="all", precision=first.settings["precision"],
    )  # fmt: skip
    assert "advice" not in again.report
    a = first.save(tmp_path / "a").folder
    b = again.save(tmp_path / "b").folder
    assert a is not None
    assert b is not None
    assert (a / "run.toml").read_text() == (b / "run.toml").read_text()
    assert (a / "bundle/head.safetensors").read_bytes() == (
        b / "bundle/head.safetensors"
    ).read_bytes()


def test_a_stage_that_was_asked_for_is_kept(data: Path, net: Backbone) -> None:
    run = regraft.fit(data, net, at="stem")
    assert run.report["advice"]["at"] == run.report["at"] == "stem"
    assert "as asked" in run.report["advice"]["reasons"][0]
    joined = regraft.fit(data, net, at="stem+top")
    assert "advice" not in joined.report
    assert joined.report["at"] == "stem+top"


def test_settings_of_a_plan_need_a_plan(data: Path, net: Backbone) -> None:
    with pytest.raises(OptionError, match="lr is a setting of a plan that trains: name one"):
        regraft.fit(data, net, settings={"lr": 1e-3})


def test_shuffled_labels_are_seen_through(tmp_path: Path, net: Backbone) -> None:
    random = np.random.default_rng(3)
    for number in range(60):
        home = tmp_path / "data" / CLASSES[random.integers(3)]
        home.mkdir(parents=True, exist_ok=True)
        picture(CLASSES[number % 3], number).save(home / f"{number:03d}.png")
    advice = regraft.advise(tmp_path / "data", net)
    assert advice.learnable is False
    assert advice.plan == "probe"
    assert advice.reasons[0].startswith("Nothing can be learned here")
    assert "nothing can be learned here" in advice.lines()[0]
    said: list[str] = []
    regraft.fit(tmp_path / "data", net, say=said.append)
    assert any("nothing can be learned here" in line for line in said)


def test_five_pictures_in_all(tmp_path: Path, net: Backbone) -> None:
    data = write_folder(tmp_path / "data", 2)
    (data / "checks" / "001.png").unlink()
    advice = regraft.advise(data, net)
    assert advice.learnable is None
    assert advice.plan == "probe"
    assert any("few" in risk for risk in advice.risks)
    assert json.dumps(advice.json())


def test_a_class_with_one_picture(data: Path, net: Backbone) -> None:
    for path in sorted((data / "dots").iterdir())[1:]:
        path.unlink()
    advice = regraft.advise(data, net)
    assert any(risk.startswith("'dots' has a single picture") for risk in advice.risks)


def test_classes_that_are_one_and_the_same_picture(tmp_path: Path, net: Backbone) -> None:
    for kind in CLASSES:
        home = tmp_path / "data" / kind
        home.mkdir(parents=True)
        for number in range(8):
            picture("dots", 1).save(home / f"{number}.png")
    advice = regraft.advise(tmp_path / "data", net)
    assert not advice.learnable
    assert advice.plan == "probe"
    assert any("several labels" in risk for risk in advice.risks)


def test_training_is_advised_kept_and_taken_up_again(
    data: Path, net: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "LEAST_TRAINED", 4)
    monkeypatch.setattr(advising, "LEAST_TRAINED", 4)
    monkeypatch.setattr(decide, "pick", lambda found, hopeless: found[-1])
    left = tmp_path / "run.unfinished"
    left.mkdir()
    run = regraft.fit(data, net, unfinished=left)
    assert run.report["advice"]["plan"] == run.settings["plan"] == "lpft"
    assert run.report["advice"]["cut"]
    assert run.report["training"]["curve"]
    assert (left / "advice.json").exists()
    monkeypatch.undo()  # from here on the head alone would be advised
    said: list[str] = []
    again = regraft.fit(data, net, unfinished=left, say=said.append)
    assert any(line.startswith("advised before: plan lpft") for line in said)
    assert again.settings["plan"] == "lpft"
    assert again.report["advice"] == run.report["advice"]


def test_a_budget_that_nothing_fits_says_what_would(data: Path, net: Backbone) -> None:
    advice = regraft.advise(data, net, budget=0.001)
    assert advice.plan == "probe"
    assert any("budget" in reason for reason in advice.reasons)


@pytest.mark.slow
def test_the_best_of_several_backbones_within_limits(
    data: Path,
) -> None:
    said: list[str] = []
    names = ["test_resnet", "test_vit", "no_such_network"]
    advice = regraft.advise(data, backbones=names, weights="random", say=said.append)
    rows = {row["backbone"]: row for row in advice.backbones}
    assert list(rows) == names
    assert rows["test_resnet"]["latency"] > 0
    assert rows["test_resnet"]["size_bytes"] > 0
    assert "no_such_network" in rows["no_such_network"]["why_not"]
    assert advice.reasons[0].startswith("Backbone test_")
    small_one = min(names[:2], key=lambda name: rows[name]["size_bytes"])
    only = Limits(size=rows[small_one]["size_bytes"])
    assert regraft.advise(
        data, backbones=names[:2], weights="random", within=only
    ).backbone.startswith(small_one)
    with pytest.raises(OptionError, match="no backbone is within the limits"):
        regraft.advise(data, backbones=names[:2], weights="random", within=Limits(size=1))


def test_labels_of_the_test_part_change_nothing(tmp_path: Path, net: Backbone) -> None:
    data = write_folder(tmp_path / "data", 10, parts=("train", "test"))
    first = regraft.advise(data, net).json()
    checks, dots = data / "test" / "checks", data / "test" / "dots"
    for path in [*checks.iterdir(), *dots.iterdir()]:
        path.rename(path.with_name(f"{path.parent.name}-{path.name}"))
    checks.rename(data / "test" / "other")
    dots.rename(checks)
    (data / "test" / "other").rename(dots)
    second = regraft.advise(data, net).json()
    for name in ("plan", "at", "cut", "expected", "depths", "learning_curve", "learnable"):
        assert first[name] == second[name]
