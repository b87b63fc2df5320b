"""Which geometry: chosen where shapes matter, on training rows alone, and repeated as chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest
from PIL import Image

import regraft
from regraft import geometry, heads
from regraft.backbones import Backbone
from regraft.errors import OptionError
from regraft.geometry import LEAST_COMPARED, _decide
from regraft.heads.fitted import FittedHead
from tests.nets import small
from tests.pictures import write_folder

COLOURS = {"red": (250, 20, 20), "green": (20, 250, 20), "blue": (20, 20, 250)}


@pytest.fixture(scope="module")
def net() -> Backbone:
    return small()


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Strips of 40 x 200 pixels that tell their class at one end, where no centre crop looks."""
    folder = tmp_path_factory.mktemp("long") / "data"
    random = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for number in range(24):
            strip = random.integers(90, 160, (40, 200, 3), dtype=np.uint8)
            place = slice(2, 30) if random.random() < 0.5 else slice(170, 198)
            strip[6:34, place] = np.asarray(colour) + random.integers(-15, 5, 3)
            Image.fromarray(strip).save(folder / label / f"{number:02d}.png")
    return folder


def whole(net: Backbone) -> Backbone:
    """The same network with a recipe that cuts nothing off a square picture."""
    spec = replace(net.input, crop=1.0)
    return Backbone(replace(net.info, input=spec), net._whole, net._resize)


def test_what_a_crop_cuts_away_is_found_and_said(long: Path, net: Backbone) -> None:
    said: list[str] = []
    run = regraft.fit(long, net, head="ridge", plan="probe", say=said.append)
    geometry = run.report["geometry"]
    assert geometry["name"] in ("squash", "pad")
    assert [t["geometry"] for t in geometry["tried"]] == ["crop", "squash", "pad"]
    assert [t["chosen"] for t in geometry["tried"]].count(True) == 1
    assert geometry["why"] in said
    assert "(better than crop in cross-validation on" in geometry["why"]
    cropped = regraft.fit(long, net, head="ridge", plan="probe", geometry="crop").report
    assert cropped["geometry"]["name"] == "crop"
    assert cropped["geometry"]["tried"] == []
    assert run.report["test"]["accuracy"] > cropped["test"]["accuracy"] + 0.3


def test_the_bundle_looks_as_the_run_did(long: Path, net: Backbone, tmp_path: Path) -> None:
    run = regraft.fit(long, net, head="ridge", plan="probe").save(tmp_path / "run")
    model = regraft.load(tmp_path / "run", backbone=net)
    assert model.backbone.input.geometry == run.report["geometry"]["name"]
    found = model.predict(long / "red")
    assert sum(p.label == "red" for p in found) > 20
    assert run.settings["geometry"] == run.report["geometry"]["name"]


def test_a_resolved_geometry_gives_the_same_model(long: Path, net: Backbone) -> None:
    auto = regraft.fit(long, net, head="ridge", plan="probe")
    again = regraft.fit(long, net, head="ridge", plan="probe", geometry=auto.settings["geometry"])
    for name, array in auto.model.head.arrays().items():
        np.testing.assert_array_equal(array, again.model.head.arrays()[name])
    assert auto.report["test"] == again.report["test"]


def test_nothing_is_tried_where_all_is_seen_anyway(tmp_path: Path, net: Backbone) -> None:
    folder = write_folder(tmp_path / "data", 20)
    geometry = regraft.fit(folder, whole(net)).report["geometry"]
    assert geometry == {
        "name": "crop",
        "why": "resizing: crop, which shows nearly all of these pictures undistorted.",
        "tried": [],
    }
    square = regraft.fit(folder, net).report["geometry"]
    assert [t["geometry"] for t in square["tried"]] == ["crop", "squash"]  # pad is squash here


def test_heads_that_learned_nothing_are_no_reason_to_leave_the_backbones_own() -> None:
    """They answer alike, so the least difference is many of its tiny standard errors."""
    labels = np.arange(60) % 2
    rows = np.random.default_rng(0).normal(0, 1, (60, 4)).astype(np.float32)
    made = heads.fit("ridge", rows, labels, 2)

    def answering(share: float) -> FittedHead:
        p = np.where(np.eye(2)[labels] > 0, share, 1 - share).astype(np.float32)
        seen = replace(made.validation, n=60, rows=np.arange(60), labels=labels, probabilities=p)
        return replace(made, validation=seen)

    nothing, hardly, something = answering(0.5), answering(0.502), answering(0.51)
    assert _decide({"crop": nothing, "squash": hardly}, "crop", None).name == "crop"
    assert _decide({"crop": nothing, "squash": something}, "crop", None).name == "squash"


def test_few_pictures_keep_the_backbones_own(tmp_path: Path, net: Backbone) -> None:
    folder = write_folder(tmp_path / "data", LEAST_COMPARED // 3 - 1)
    geometry = regraft.fit(folder, net).report["geometry"]
    assert geometry["name"] == "crop"
    assert "too few" in geometry["why"]


def test_rows_to_test_on_have_no_say(long: Path, net: Backbone, monkeypatch) -> None:
    from regraft import geometry

    looked: list[str] = []
    real = geometry.compute

    def compute(examples, pipe, progress=None):
        looked.extend(example.id for example in examples)
        return real(examples, pipe, progress)

    monkeypatch.setattr(geometry, "compute", compute)
    run = regraft.fit(long, net, head="ridge", plan="probe")
    test = {row.id for row in run.ledger.part("test")}
    assert len(test) > 8
    assert looked
    assert not test & set(looked)


def test_an_unknown_geometry_is_refused_with_the_close_one(long: Path, net: Backbone) -> None:
    with pytest.raises(OptionError, match=r"auto, crop, squash, pad, got 'squish'.*'squash'"):
        regraft.fit(long, net, geometry="squish")


def strips(folder: Path, groups: dict[str, dict[str, int]]) -> Path:
    """Strips of noise: for each class how many of which group."""
    random = np.random.default_rng(1)
    for label, sizes in groups.items():
        (folder / label).mkdir(parents=True)
        for group, count in sizes.items():
            for number in range(count):
                pixels = random.integers(0, 255, (8, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / label / f"{group}-{number:03d}.png")
    return folder


def test_large_groups_may_leave_one_class_to_compare_on(
    tmp_path: Path, net: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geometry, "MOST_COMPARED", 100)
    small_groups = {f"a{number}": 25 for number in range(6)}
    data = strips(tmp_path / "data", {"a": small_groups, "b": {"b0": 150}})
    found = regraft.fit(data, net, head="ridge", plan="probe", group=r"[ab]\d").report["geometry"]
    assert found["name"] == "crop"
    assert "too few" in found["why"]


def test_many_copies_of_one_picture(
    tmp_path: Path, net: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geometry, "MOST_COMPARED", 20)
    data = tmp_path / "data"
    strips(data, {"a": {"x": 1}, "b": {"x": 1}})
    for number in range(30):
        for label in ("a", "b"):
            copyfile(data / "a" / "x-000.png", data / label / f"{number}.png")
    (data / "b" / "x-000.png").unlink()
    report = regraft.fit(data, net, head="ridge", plan="probe").report
    assert "too few" in report["geometry"]["why"]
    assert report["validation"]["n"] == 0
