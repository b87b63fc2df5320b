"""add: rows come as if they had been there from the start."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import regraft
from regraft import ledger
from regraft.backbones import Backbone
from regraft.change.opened import open_run
from regraft.errors import (
    OptionError,
)
from tests.change.runs import check_exact, draw, forget, fresh, last, parted, small_copy
from tests.pictures import CLASSES, picture


@pytest.mark.parametrize("cached", [True, False])
def test_added_rows_and_classes_are_as_if_they_had_been_there(
    cached: bool, tmp_path: Path, net: Backbone, own_cache: Path
) -> None:
    parted(tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / "train" / "dots")
    shutil.rmtree(tmp_path / "a" / "test" / "dots")
    first = regraft.fit(tmp_path / "a", net, head="ridge", plan="probe").save(tmp_path / "run")
    assert first.report["classes"] == ["checks", "stripes"]
    draw(tmp_path / "b", first=100, count=5)
    if not cached:
        forget(own_cache)
    done = regraft.add(tmp_path / "run", tmp_path / "b", backbone=net)
    change = last(done)
    assert change["rows"] == 15
    assert change["classes_added"] == ["dots"]
    assert change["exact"]
    assert change["recalibrated"] == cached
    assert done.report["classes"] == list(CLASSES)
    assert done.report["train"]["n"] == 16 + 15
    assert (done.report["validation"]["n"] > 0) == cached
    assert (done.report["test"] is not None) == cached
    assert bool(change["notes"]) != cached
    whole = shutil.copytree(tmp_path / "a" / "train", tmp_path / "whole")
    for kind in CLASSES:
        for path in (tmp_path / "b" / kind).iterdir():
            (whole / kind).mkdir(exist_ok=True)
            shutil.copy(path, whole / kind / path.name)
    run = check_exact(tmp_path / "run", net, whole)
    if cached:  # then calibration and validation are those of a fit too
        other = fresh(run, net)
        np.testing.assert_allclose(
            run.model.head.calibration.bias, other.calibration.bias, rtol=1e-4, atol=1e-4
        )
        assert run.model.metrics["validation"]["kind"] == other.validation.kind
        assert run.model.metrics["validation"]["accuracy"] == other.validation.accuracy
    assert done.predict(tmp_path / "b") == regraft.load(tmp_path / "run", backbone=net).predict(
        tmp_path / "b"
    )


def test_a_file_counts_once_and_never_trains_if_it_tests(
    tmp_path: Path, net: Backbone, caplog: pytest.LogCaptureFixture
) -> None:
    parted(tmp_path / "a")
    first = regraft.fit(tmp_path / "a", net, head="ridge", plan="probe").save(tmp_path / "run")
    new = tmp_path / "new"
    draw(new / "train", first=200, count=2)
    shutil.copy(tmp_path / "a/train/dots/000.png", new / "train/dots/again.png")
    shutil.copy(tmp_path / "a/train/dots/001.png", new / "train/checks/wrong.png")
    shutil.copy(tmp_path / "a/test/dots/900.png", new / "train/dots/tested.png")
    draw(new / "test", first=300, count=1)
    shutil.copy(new / "train/dots/200.png", new / "test/dots/copy.png")
    (new / "train/dots/broken.png").write_bytes(b"no picture")
    done = regraft.add(tmp_path / "run", new, backbone=net)
    change = last(done)
    assert change["rows"] == 6
    assert change["test"] == 3
    assert sorted(change["already"]) == ["train/checks/wrong.png", "train/dots/again.png"]
    assert change["tested_on"] == ["train/dots/tested.png"]
    assert [one["file"] for one in change["skipped"]] == ["train/dots/broken.png"]
    assert done.report["train"]["n"] == 24 + 6
    assert done.report["test"]["n"] == first.report["test"]["n"] + 3
    assert "is in the run already as 'dots' and stays so, although it is 'checks'" in caplog.text
    assert "1 file is left out, since the run tests on it" in caplog.text
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
    again = regraft.add(tmp_path / "run", new, backbone=net)
    assert (last(again)["rows"], last(again)["test"]) == (0, 0)
    assert len(last(again)["already"]) == 12
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}


def test_a_new_folder_leaves_the_old_run_as_it_is(tmp_path: Path, net: Backbone) -> None:
    regraft.fit(draw(tmp_path / "a"), net, head="ridge", plan="probe").save(tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    new = draw(tmp_path / "b", first=100, count=2)
    done = regraft.add(tmp_path / "run", new, out=tmp_path / "other", backbone=net)
    assert done.folder == tmp_path / "other"
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(OptionError, match="other exists"):
        regraft.add(tmp_path / "run", new, out=tmp_path / "other", backbone=net)


def test_what_a_fit_did_not_score_is_not_scored_when_it_comes_again(
    tmp_path: Path, net: Backbone
) -> None:
    """A near duplicate of a training picture is no witness, however often it is offered."""
    parted(tmp_path / "a")
    small_copy(tmp_path / "a/train/dots/000.png", tmp_path / "a/test/dots/near.png")
    first = regraft.fit(tmp_path / "a", net, head="ridge", plan="probe").save(tmp_path / "run")
    assert [r.id for r in first.ledger.part(ledger.COPY)] == ["test/dots/near.png"]
    again = regraft.add(tmp_path / "run", tmp_path / "a", backbone=net)
    assert (last(again)["rows"], last(again)["test"]) == (0, 0)
    assert again.report["test"] == first.report["test"]
    draw(tmp_path / "b" / "train", first=60, count=3)
    shutil.copytree(tmp_path / "a" / "test", tmp_path / "b" / "test")
    regraft.fit(tmp_path / "b", net, head="ridge", plan="probe").save(tmp_path / "other")
    both = regraft.merge([tmp_path / "run", tmp_path / "other"], out=tmp_path / "m", backbone=net)
    assert "test/dots/near.png" not in {row.id for row in both.ledger.part(ledger.TEST)}
    assert both.report["test"]["n"] == 9


def test_validation_rows_that_training_knows_are_copies(tmp_path: Path, net: Backbone) -> None:
    for part, start, count in (("train", 0, 6), ("val", 600, 3), ("test", 900, 3)):
        draw(tmp_path / "a" / part, first=start, count=count)
    regraft.fit(tmp_path / "a", net, head="ridge", plan="probe").save(tmp_path / "run")
    draw(tmp_path / "b" / "train", first=100, count=2)
    draw(tmp_path / "b" / "val", first=100, count=3)
    done = regraft.add(tmp_path / "run", tmp_path / "b", backbone=net)
    assert last(done)["rows"] == 3 * 3
    assert done.report["leaks"] == [f"val/{c}/{n}.png" for c in CLASSES for n in (100, 101)]
    assert done.report["validation"]["n"] == 3 * 4
    check_exact(tmp_path / "run", net, tmp_path / "b")


def test_groups_stay_on_one_side_when_rows_come(tmp_path: Path, net: Backbone) -> None:
    """A patient who is tested on is not learned from, and the other way round."""
    parted(tmp_path / "a", train=6, test=3)
    for kind in CLASSES:
        for path in (tmp_path / "a").rglob(f"{kind}/*.png"):
            path.rename(path.with_name(f"p{path.stem}_1.png"))
    by = r"p\d+"
    regraft.fit(tmp_path / "a", net, head="ridge", plan="probe", group=by).save(tmp_path / "run")
    regraft.fit(tmp_path / "a", net, head="ridge", plan="probe", group=by).save(tmp_path / "run2")
    for kind in CLASSES:
        for part, name, number in (
            ("train", "p900_2", 40),  # tested on
            ("train", "p050_1", 41),
            ("test", "p000_2", 42),  # learned from
            ("test", "p050_2", 43),  # comes to be learned from
            ("test", "p060_1", 44),
        ):
            home = tmp_path / "b" / part / kind
            home.mkdir(parents=True, exist_ok=True)
            picture(kind, number).save(home / f"{name}.png")
    done = regraft.add(tmp_path / "run", tmp_path / "b", backbone=net)
    change = last(done)
    assert sorted(change["tested_on"]) == sorted(f"train/{c}/p900_2.png" for c in CLASSES)
    assert (change["rows"], change["test"]) == (3, 3)
    assert done.report["leaks"] == sorted(
        f"test/{c}/{p}_2.png" for c in CLASSES for p in ("p000", "p050")
    )
    learned, tested = (done.ledger.groups(*p) for p in (("train", "val"), ("test",)))
    assert not learned & tested
    assert done.report["test_part"] == "the data's own test part and test images that came later"
    draw(tmp_path / "c" / "train", first=70, count=2)
    draw(tmp_path / "c" / "test", first=80, count=2)
    for path in (tmp_path / "c" / "train").rglob("*.png"):  # the tested patients, learned from
        path.rename(path.with_name(f"p90{path.stem[-1]}_9.png"))
    for path in (tmp_path / "c" / "test").rglob("*.png"):
        path.rename(path.with_name(f"p{path.stem}.png"))
    regraft.fit(tmp_path / "c", net, head="ridge", plan="probe", group=by).save(tmp_path / "run3")
    both = regraft.merge([tmp_path / "run2", tmp_path / "run3"], out=tmp_path / "m", backbone=net)
    assert both.ledger.groups("test") == {"p902", "p080", "p081"}
    assert not both.ledger.groups("test") & both.ledger.groups("train", "val")


def test_data_that_are_tested_on_too_keep_their_names(tmp_path: Path, net: Backbone) -> None:
    parted(tmp_path / "a")
    first = regraft.fit(tmp_path / "a", net, head="ridge", plan="probe", test=tmp_path / "a")
    first.save(tmp_path / "run")
    draw(tmp_path / "b", first=200, count=2)
    done = regraft.add(tmp_path / "run", tmp_path / "b", backbone=net)
    assert {(r.id[:4], done.ledger.sources[r.source]) for r in done.ledger.rows} == {
        ("trai", str(tmp_path / "a")),
        ("test", str(tmp_path / "a")),
        *((c[:4], str(tmp_path / "b")) for c in CLASSES),
    }
    assert open_run(tmp_path / "run", net).ledger == done.ledger
