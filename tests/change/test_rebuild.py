"""What a change makes again: head, calibration and scores, and what needs the rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import regraft
from regraft import heads, ledger
from regraft.backbones import Backbone
from regraft.change.opened import open_run
from regraft.change.rebuild import together
from regraft.errors import (
    HeadError,
)
from regraft.heads.sums import META
from tests.change.runs import check_exact, draw, forget, last, parted
from tests.pictures import CLASSES


@pytest.mark.parametrize("head", ["logistic", "prototypes", "mlp"])
def test_heads_without_sums_need_their_rows(
    head: str, tmp_path: Path, net: Backbone, own_cache: Path
) -> None:
    data = parted(tmp_path / "a", train=5)
    first = regraft.fit(data, net, head=head).save(tmp_path / "run")
    assert not (tmp_path / "run" / META).exists()
    new = draw(tmp_path / "b", first=100, count=2)
    done = regraft.add(tmp_path / "run", new, backbone=net)
    assert last(done)["recalibrated"]
    for key, value in first.model.head.settings.items():
        if key != "folds":
            assert done.model.head.settings[key] == value
    done = regraft.remove(tmp_path / "run", ["dots/100.png"], backbone=net)
    assert last(done)["proof"]["found"] == 0
    run = open_run(tmp_path / "run", net)
    train = run.ledger.learned
    numbers = np.array([run.model.classes.index(row.label) for row in train])
    rows = run.rows([row.digest for row in train])
    settled = heads.settled(head, done.model.head.settings)
    layers = settled.solve(rows, numbers, 3, done.model.head.settings, seed=0)
    assert len(train) == 15 + 6 - 1
    np.testing.assert_allclose(run.model.head.scores(rows), layers(rows), rtol=1e-3, atol=1e-3)
    forget(own_cache)
    with pytest.raises(HeadError, match=f"head '{head}' needs all rows .* --head ridge"):
        regraft.add(run.folder, draw(tmp_path / "c", first=300, count=1), backbone=net)


def test_validation_parts_and_balance_stay(tmp_path: Path, net: Backbone, own_cache: Path) -> None:
    data = tmp_path / "a"
    for place, part in enumerate(("train", "val", "test")):
        draw(data / part, first=300 * place, count=5)
    first = regraft.fit(data, net, head="ridge", plan="probe", balance=0.7).save(tmp_path / "run")
    new = draw(tmp_path / "b", first=100, count=4, classes=("dots",))
    done = regraft.add(tmp_path / "run", new, backbone=net)
    assert done.report["validation"]["kind"] == "held out"
    assert done.report["train"]["n"] == first.report["train"]["n"] + 4
    run = open_run(tmp_path / "run", net)
    assert run.balance == 0.7
    parts = {name: run.ledger.part(name) for name in ("train", "val")}
    rows = {name: run.rows([row.digest for row in part]) for name, part in parts.items()}
    numbers = {
        name: np.array([CLASSES.index(row.label) for row in part]) for name, part in parts.items()
    }
    other = heads.fit(
        "ridge", rows["train"], numbers["train"], 3, validation=(rows["val"], numbers["val"]),
        penalty=run.model.head.settings["penalty"], balance=0.7,
    )  # fmt: skip
    for part in rows.values():
        p = other.probabilities(part)
        np.testing.assert_allclose(run.model.head.probabilities(part), p, atol=1e-4)
    # without rows the shares move all the same: those of the validation part did not change
    forget(own_cache)
    bias = run.model.head.calibration.bias
    done = regraft.add(tmp_path / "run", draw(tmp_path / "c", first=400, count=2), backbone=net)
    np.testing.assert_allclose(done.model.head.calibration.bias, bias, atol=1e-12)


def test_the_penalty_is_chosen_again_when_asked(
    tmp_path: Path, net: Backbone, own_cache: Path
) -> None:
    regraft.fit(draw(tmp_path / "a", count=3), net, head="ridge", plan="probe").save(
        tmp_path / "run"
    )
    new = draw(tmp_path / "b", first=100, count=20)
    done = regraft.add(tmp_path / "run", new, tune=True, backbone=net)
    run = check_exact(tmp_path / "run", net, new)
    train = run.ledger.learned
    numbers = np.array([CLASSES.index(row.label) for row in train])
    rows = run.rows([row.digest for row in train])
    other = heads.fit("ridge", rows, numbers, 3, groups=together(train))
    assert done.model.head.settings == other.settings == run.sums.settings
    forget(own_cache)
    with pytest.raises(HeadError, match="choosing the penalty again needs all rows, and"):
        regraft.add(
            tmp_path / "run", draw(tmp_path / "c", first=300, count=1), tune=True, backbone=net
        )


def test_rows_that_belong_together_are_left_out_together() -> None:
    rows = [
        ledger.Row("a", "1" * 64, "x", "train", kin=3),
        ledger.Row("b", "2" * 64, "x", "train", kin=3),
        ledger.Row("c", "2" * 64, "x", "train"),
        ledger.Row("d", "4" * 64, "x", "train", group="g"),
        ledger.Row("e", "5" * 64, "x", "train", group="g"),
        ledger.Row("f", "6" * 64, "x", "train"),
    ]
    found = together(rows)
    assert found is not None
    assert len(set(found[:3].tolist())) == len(set(found[3:5].tolist())) == 1
    assert len(set(found.tolist())) == 3
    assert together(rows[4:]) is None


def test_groups_and_a_bundle_that_stands_alone_stay_so(tmp_path: Path, net: Backbone) -> None:
    for camera in range(3):
        draw(tmp_path / "a", first=10 * camera, count=3)
    how = {"head": "ridge", "group": r"/0(\d)"}  # pictures 00x, 01x and 02x of every class
    first = regraft.fit(tmp_path / "a", net, **how).save(tmp_path / "run", standalone=True)
    camera = min(first.ledger.groups("train"))
    weights = (tmp_path / "run" / "bundle" / "backbone.safetensors").read_bytes()
    draw(tmp_path / "b", first=10 * int(camera) + 5, count=2)
    done = regraft.add(tmp_path / "run", tmp_path / "b", backbone=net)
    run = open_run(tmp_path / "run", net)
    assert {row.group for row in run.ledger.learned} <= {"0", "1", "2"}
    assert {row.group for row in run.ledger.learned if row.id.endswith("5.png")} == {camera}
    assert done.report["validation"]["kind"] == "leave-group-out"
    groups = {row.group for row in run.ledger.learned}
    assert len(set(together(run.ledger.learned).tolist())) <= len(groups)
    assert (tmp_path / "run" / "bundle" / "backbone.safetensors").read_bytes() == weights


def test_a_class_that_came_without_held_out_rows_leaves_these_to_calibrate_on(
    tmp_path: Path, net: Backbone
) -> None:
    """As in a fit whose validation part lacks a class: that says nothing of how common it is."""
    two = ("checks", "stripes")
    for part, start in (("train", 0), ("val", 600), ("test", 900)):
        draw(tmp_path / "a" / part, first=start, count=6, classes=two)
    regraft.fit(tmp_path / "a", net, head="ridge", plan="probe").save(tmp_path / "run")
    new = draw(tmp_path / "b", first=100, count=6, classes=("dots",))
    done = regraft.add(tmp_path / "run", new, backbone=net)
    seen = done.report["validation"]
    assert (seen["kind"], seen["n"]) == ("held out", 12)
    told = [p.probabilities["dots"] for p in done.predict(new)]
    assert np.mean(told) > 0.15  # 0.04, if held-out rows without it said how common it is
    check_exact(tmp_path / "run", net, new)


def test_a_class_of_held_out_rows_alone_is_learned_without_a_held_out_part(
    tmp_path: Path, net: Backbone
) -> None:
    two = ("checks", "stripes")
    for part, start in (("train", 0), ("val", 600), ("test", 900)):
        draw(tmp_path / "a" / part, first=start, count=6, classes=two)
    regraft.fit(tmp_path / "a", net, head="ridge", plan="probe").save(tmp_path / "run")
    draw(tmp_path / "b" / "val", first=100, count=5, classes=("dots",))
    draw(tmp_path / "b" / "train", first=100, count=1, classes=two)
    done = regraft.add(tmp_path / "run", tmp_path / "b", backbone=net)
    assert last(done)["classes_added"] == ["dots"]
    assert (done.report["validation"]["kind"], done.report["validation"]["n"]) == (
        "leave-one-out",
        12 + 12 + 5 + 2,
    )
    check_exact(tmp_path / "run", net, tmp_path / "b")
    gone = [f"train/checks/{n:03d}.png" for n in range(6)] + ["train/checks/100.png"]
    left = regraft.remove(tmp_path / "run", gone, backbone=net)
    assert left.report["classes"] == list(CLASSES)
    check_exact(tmp_path / "run", net, tmp_path / "b")


def test_a_cache_that_keeps_nothing(
    tmp_path: Path, net: Backbone, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was computed for a change is used before a small cache loses it."""
    parted(tmp_path / "a")
    regraft.fit(tmp_path / "a", net, head="ridge", plan="probe").save(tmp_path / "run")
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "0")
    forget(own_cache)
    draw(tmp_path / "a" / "train", first=300, count=1)
    assert last(regraft.add(tmp_path / "run", tmp_path / "a" / "train", backbone=net))["rows"] == 3
    gone = ["train/dots/001.png", "dots/300.png"]
    assert last(regraft.remove(tmp_path / "run", gone, backbone=net))["rows"] == 2
    monkeypatch.delenv("REGRAFT_CACHE_LIMIT")
    check_exact(tmp_path / "run", net, tmp_path / "a")
