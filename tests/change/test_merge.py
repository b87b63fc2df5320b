"""merge: several runs are one fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import regraft
from regraft.backbones import Backbone
from regraft.errors import (
    DataError,
    OptionError,
)
from tests.change.runs import check_exact, draw, forget, last, parted


def test_merged_runs_are_one_fit(tmp_path: Path, net: Backbone, own_cache: Path) -> None:
    a = parted(tmp_path / "a")
    shutil.rmtree(a / "train" / "dots")
    b = draw(tmp_path / "b" / "train", first=100, count=5).parent
    shutil.copy(a / "train/checks/000.png", b / "train/checks/shared.png")
    draw(b / "test", first=2, count=1)  # a learned from 'checks' and 'stripes' of these
    shutil.copy(a / "test/dots/900.png", b / "train/dots/tested.png")
    regraft.fit(a, net, head="ridge", plan="probe").save(tmp_path / "one")
    regraft.fit(b, net, head="ridge", plan="probe").save(tmp_path / "two")
    for cached in (True, False):
        out = tmp_path / f"both-{cached}"
        if not cached:
            shared = regraft.images(b)
            forget(own_cache)
            kept = tuple(e for e in shared.examples if e.id == "train/checks/shared.png")
            regraft.load(tmp_path / "one", backbone=net).predict(shared.only(kept))
        done = regraft.merge([tmp_path / "one", tmp_path / "two"], out=out, backbone=net)
        change = last(done)
        assert (change["rows"], change["twice"]) == (16 + 17 - 1, 1)
        assert change["classes_added"] == ["dots"]
        assert done.report["train"]["n"] == 32
        assert change["test"] == 9 - 1 + 1
        assert change["recalibrated"] == cached
        for data in (a / "train", b / "train"):
            regraft.load(out, backbone=net).predict(data)
        check_exact(out, net, b)
    forget(own_cache)
    with pytest.raises(DataError, match=r"shares 1 files .* and 1 of their activations are no"):
        regraft.merge([tmp_path / "one", tmp_path / "two"], out=tmp_path / "no", backbone=net)
    assert not (tmp_path / "no").exists()


def test_runs_that_do_not_fit_together(tmp_path: Path, net: Backbone) -> None:
    data = draw(tmp_path / "a")
    one = regraft.fit(data, net, head="ridge", plan="probe").save(tmp_path / "one")
    stem = regraft.fit(data, net, head="ridge", plan="probe", at="stem").save(tmp_path / "stem")
    with pytest.raises(DataError, match="stage differs: flat and stem"):
        regraft.merge([one, stem], out=tmp_path / "no", backbone=net)
    other = regraft.fit(data, net, head="prototypes", plan="probe").save(tmp_path / "other")
    with pytest.raises(DataError, match="head differs: ridge and prototypes"):
        regraft.merge([one, other], out=tmp_path / "no", backbone=net)
    squashed = regraft.fit(data, net, head="ridge", plan="probe", geometry="squash")
    squashed.save(tmp_path / "squashed")
    remedy = "geometry differs: crop and squash; fit one of them again with .* --geometry crop"
    with pytest.raises(DataError, match=remedy):
        regraft.merge([one, tmp_path / "squashed"], out=tmp_path / "no", backbone=net)
    shutil.rmtree(tmp_path / "a" / "dots")
    for path in (tmp_path / "a" / "checks").iterdir():
        path.rename(tmp_path / "a" / "stripes" / f"x{path.name}")
    draw(tmp_path / "a", first=70, count=3, classes=("dots",))
    wrong = regraft.fit(data, net, head="ridge", plan="probe").save(tmp_path / "wrong")
    with pytest.raises(DataError, match=r"is 'stripes' there and 'checks' in .*one"):
        regraft.merge([one, wrong], out=tmp_path / "no", backbone=net)
    with pytest.raises(OptionError, match="two runs or more"):
        regraft.merge([one], out=tmp_path / "no", backbone=net)
    with pytest.raises(OptionError, match="was not saved"):
        regraft.merge([one, regraft.fit(data, net)], out=tmp_path / "no", backbone=net)


def test_a_run_without_validation_has_one_once_its_rows_are_back(
    tmp_path: Path, net: Backbone, own_cache: Path
) -> None:
    parted(tmp_path / "a")
    regraft.fit(tmp_path / "a", net, head="ridge", plan="probe").save(tmp_path / "run")
    forget(own_cache)
    draw(tmp_path / "b", first=200, count=2)
    done = regraft.add(tmp_path / "run", tmp_path / "b", backbone=net)
    assert (done.report["validation"]["n"], done.report["test"]) == (0, None)
    regraft.load(tmp_path / "run", backbone=net).predict(tmp_path / "a")
    again = regraft.merge([tmp_path / "run", tmp_path / "run"], out=tmp_path / "m", backbone=net)
    assert last(again)["recalibrated"]
    assert again.report["validation"]["n"] == 24 + 6
    assert again.report["test"]["n"] == 9
