"""remove: rows go as if they had never been there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import regraft
from regraft.backbones import Backbone
from regraft.cache import entries
from regraft.change.opened import open_run
from regraft.errors import (
    DataError,
    OptionError,
)
from regraft.files import digest
from tests.change.runs import check_exact, draw, forget, last, parted


@pytest.mark.parametrize("way", ["all cached", "files at hand", "only theirs cached"])
def test_removed_rows_were_never_there(
    way: str, tmp_path: Path, net: Backbone, own_cache: Path
) -> None:
    data = parted(tmp_path / "a")
    regraft.fit(data, net, head="ridge", plan="probe").save(tmp_path / "run")
    ids = ["train/dots/000.png", "train/checks/003.png", "test/dots/900.png"]
    digests = [digest((data / one).read_bytes()) for one in ids]
    if way != "all cached":
        forget(own_cache)
    if way == "only theirs cached":
        gone = [example for example in regraft.images(data).examples if example.id in ids]
        regraft.load(tmp_path / "run", backbone=net).predict(regraft.images(data).only(tuple(gone)))
        for one in ids:
            (data / one).unlink()
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n\n")
    done = regraft.remove(tmp_path / "run", tmp_path / "ids.txt", backbone=net)
    change = last(done)
    assert (change["rows"], change["test"], change["copies"]) == (2, 1, 0)
    assert change["recalibrated"] == (way == "all cached")
    proof = change["proof"]
    assert proof["found"] == 0
    assert proof["files_searched"] >= 9
    assert proof["bytes_searched"] > 10_000
    assert proof["patterns"] >= 9
    for path, _, _ in entries():
        for one in digests:
            assert bytes.fromhex(one) not in path.read_bytes()
    text = b"".join(p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file())
    for word in (*ids, *digests):
        assert word.encode() not in text
    assert not (tmp_path / "run" / "purge.json").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    for one in ids:
        (data / one).unlink(missing_ok=True)
    check_exact(tmp_path / "run", net, data)
    stored = json.loads((tmp_path / "run" / "report.json").read_text())
    assert stored["changes"][-1]["proof"] == proof


def test_what_cannot_be_subtracted_is_said_and_nothing_changes(
    tmp_path: Path, net: Backbone, own_cache: Path
) -> None:
    data = draw(tmp_path / "a")
    regraft.fit(data, net, head="ridge", plan="probe").save(tmp_path / "run")
    forget(own_cache)
    run = open_run(tmp_path / "run", net)
    name = run.ledger.learned[0].id
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    (data / name).write_bytes((data / run.ledger.learned[1].id).read_bytes())
    with pytest.raises(DataError, match=f"'{name}' are no longer cached and the file has changed"):
        regraft.remove(tmp_path / "run", [name], backbone=net)
    (data / name).unlink()
    with pytest.raises(DataError, match=f"'{name}' are no longer cached and the file is no longer"):
        regraft.remove(tmp_path / "run", [name], backbone=net)
    shutil.rmtree(data)
    with pytest.raises(DataError, match=f"'{name}' are no longer cached and the file is not found"):
        regraft.remove(tmp_path / "run", [name], backbone=net)
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}


def test_copies_go_together_and_a_class_may_go(tmp_path: Path, net: Backbone) -> None:
    data = parted(tmp_path / "a", train=4)
    shutil.copy(data / "train/dots/000.png", data / "train/dots/twin.png")
    shutil.copy(data / "train/dots/000.png", data / "test/dots/leak.png")
    first = regraft.fit(data, net, head="ridge", plan="probe").save(tmp_path / "run")
    tested = {row["label"]: row["n"] for row in first.report["test"]["per_class"]}
    done = regraft.remove(tmp_path / "run", ["train/dots/000.png"], backbone=net)
    assert (last(done)["rows"], last(done)["copies"]) == (2, 2)
    assert "leak.png" not in (tmp_path / "run" / "report.json").read_text()
    dots = [f"train/dots/{n:03d}.png" for n in (1, 2, 3)]
    done = regraft.remove(tmp_path / "run", dots, backbone=net)
    assert last(done)["classes_removed"] == ["dots"]
    assert done.report["classes"] == ["checks", "stripes"]
    assert done.report["test"]["unknown"] == {"dots": tested["dots"]}
    before = (tmp_path / "run" / "trained.json").read_bytes()
    with pytest.raises(DataError, match="needs at least two classes, and only 'stripes' would"):
        regraft.remove(
            tmp_path / "run", [f"train/checks/{n:03d}.png" for n in range(4)], backbone=net
        )
    every = [row.id for row in open_run(tmp_path / "run", net).ledger.learned]
    with pytest.raises(DataError, match="these are all 8 files"):
        regraft.remove(tmp_path / "run", every, backbone=net)
    assert before == (tmp_path / "run" / "trained.json").read_bytes()


def test_names_that_are_none(tmp_path: Path, net: Backbone) -> None:
    draw(tmp_path / "a")
    regraft.fit(tmp_path / "a", net, head="ridge", plan="probe").save(tmp_path / "run")
    with pytest.raises(DataError, match=r"no file 'dots/00.png', so .* mean 'dots/00\d.png'\?"):
        regraft.remove(tmp_path / "run", ["dots/00.png"], backbone=net)
    (tmp_path / "empty").write_text("\n \n")
    with pytest.raises(OptionError, match="names no file"):
        regraft.remove(tmp_path / "run", tmp_path / "empty", backbone=net)
    with pytest.raises(OptionError, match=r"--ids .*nothing cannot be read"):
        regraft.remove(tmp_path / "run", tmp_path / "nothing", backbone=net)
    draw(tmp_path / "b", first=50, count=1)
    (tmp_path / "b" / "dots" / "050.png").rename(tmp_path / "b" / "dots" / "000.png")
    regraft.add(tmp_path / "run", tmp_path / "b", backbone=net)
    with pytest.raises(DataError, match=r"means 2 different files .* give .*a/dots/000.png or"):
        regraft.remove(tmp_path / "run", ["dots/000.png"], backbone=net)
    done = regraft.remove(tmp_path / "run", [f"{tmp_path}/b/dots/000.png"], backbone=net)
    assert last(done)["rows"] == 1


def test_a_test_file_may_go_alone(tmp_path: Path, net: Backbone) -> None:
    data = parted(tmp_path / "a", train=4)
    first = regraft.fit(data, net, head="ridge", plan="probe").save(tmp_path / "run")
    name = open_run(tmp_path / "run", net).ledger.part("test")[0].id
    done = regraft.remove(tmp_path / "run", [name], backbone=net)
    assert (last(done)["rows"], last(done)["test"]) == (0, 1)
    assert done.report["test"]["n"] == first.report["test"]["n"] - 1
    for key, array in first.model.head.arrays().items():
        np.testing.assert_array_equal(done.model.head.arrays()[key], array)
