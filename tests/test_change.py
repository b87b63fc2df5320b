"""add, remove and merge: the run of a fit on the rows as they are then, and no trace of others."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regraft
from regraft import heads, ledger
from regraft.backbones import Backbone
from regraft.cache import entries
from regraft.change import purge as module
from regraft.change.opened import Opened, open_run
from regraft.change.rebuild import together
from regraft.data import Dataset
from regraft.errors import (
    BundleError,
    CacheError,
    DataError,
    EngineError,
    HeadError,
    OptionError,
)
from regraft.files import digest
from regraft.heads.fitted import FittedHead
from regraft.heads.sums import ARRAYS, META
from tests.nets import small
from tests.pictures import CLASSES, picture


@pytest.fixture(scope="module")
def net() -> Backbone:
    return small()


def draw(
    folder: Path, *, first: int = 0, count: int = 6, classes: tuple[str, ...] = CLASSES
) -> Path:
    """Class folders with pictures number `first` and on."""
    for kind in classes:
        home = folder / kind
        home.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            picture(kind, number).save(home / f"{number:03d}.png")
    return folder


def parted(folder: Path, *, train: int = 8, test: int = 3) -> Path:
    """Training and test parts with different pictures."""
    draw(folder / "train", count=train)
    draw(folder / "test", first=900, count=test)
    return folder


def forget(cache: Path) -> None:
    """Empty the activations."""
    shutil.rmtree(cache / "activations", ignore_errors=True)


def fresh(run: Opened, net: Backbone) -> FittedHead:
    """The head of a fit on the run's rows, from activations that are all cached."""
    train = run.ledger.learned
    numbers = np.array([run.model.classes.index(row.label) for row in train])
    settings = run.model.head.settings
    return heads.fit(
        "ridge",
        run.rows([row.digest for row in train]),
        numbers,
        len(run.model.classes),
        groups=together(train),
        penalty=settings["penalty"],
        balance=run.balance,
    )


def check_exact(folder: Path, net: Backbone, everything: Path | Dataset) -> Opened:
    """Whether the run in `folder` is that of a fit on its rows; returns it.

    The activations that were forgotten are made again from `everything`.
    """
    regraft.load(folder, backbone=net).predict(everything)
    run = open_run(folder, net)
    other = fresh(run, net)
    mine, theirs = run.model.head, other
    x = run.rows([row.digest for row in run.ledger.learned])
    scores = theirs.scores(x)
    assert np.abs(mine.scores(x) - scores).max() < 2e-5 * np.abs(scores).max()
    assert run.sums is not None
    assert run.sums.counts == {
        name: sum(row.label == name for row in run.ledger.learned) for name in run.model.classes
    }
    assert run.model.metrics["train"]["n"] == len(run.ledger.learned)
    return run


def last(run: regraft.run.Run) -> dict:
    return run.report["changes"][-1]


@pytest.mark.parametrize("cached", [True, False])
def test_added_rows_and_classes_are_as_if_they_had_been_there(
    cached: bool, tmp_path: Path, net: Backbone, own_cache: Path
) -> None:
    parted(tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / "train" / "dots")
    shutil.rmtree(tmp_path / "a" / "test" / "dots")
    first = regraft.fit(tmp_path / "a", net, head="ridge").save(tmp_path / "run")
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
    first = regraft.fit(tmp_path / "a", net, head="ridge").save(tmp_path / "run")
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
    regraft.fit(draw(tmp_path / "a"), net, head="ridge").save(tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    new = draw(tmp_path / "b", first=100, count=2)
    done = regraft.add(tmp_path / "run", new, out=tmp_path / "other", backbone=net)
    assert done.folder == tmp_path / "other"
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(OptionError, match="other exists"):
        regraft.add(tmp_path / "run", new, out=tmp_path / "other", backbone=net)


@pytest.mark.parametrize("way", ["all cached", "files at hand", "only theirs cached"])
def test_removed_rows_were_never_there(
    way: str, tmp_path: Path, net: Backbone, own_cache: Path
) -> None:
    data = parted(tmp_path / "a")
    regraft.fit(data, net, head="ridge").save(tmp_path / "run")
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
    regraft.fit(data, net, head="ridge").save(tmp_path / "run")
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
    first = regraft.fit(data, net, head="ridge").save(tmp_path / "run")
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
    regraft.fit(tmp_path / "a", net, head="ridge").save(tmp_path / "run")
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


def test_merged_runs_are_one_fit(tmp_path: Path, net: Backbone, own_cache: Path) -> None:
    a = parted(tmp_path / "a")
    shutil.rmtree(a / "train" / "dots")
    b = draw(tmp_path / "b" / "train", first=100, count=5).parent
    shutil.copy(a / "train/checks/000.png", b / "train/checks/shared.png")
    draw(b / "test", first=2, count=1)  # a learned from 'checks' and 'stripes' of these
    shutil.copy(a / "test/dots/900.png", b / "train/dots/tested.png")
    regraft.fit(a, net, head="ridge").save(tmp_path / "one")
    regraft.fit(b, net, head="ridge").save(tmp_path / "two")
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
    one = regraft.fit(data, net, head="ridge").save(tmp_path / "one")
    stem = regraft.fit(data, net, head="ridge", at="stem").save(tmp_path / "stem")
    with pytest.raises(DataError, match="stage differs: flat and stem"):
        regraft.merge([one, stem], out=tmp_path / "no", backbone=net)
    other = regraft.fit(data, net, head="prototypes").save(tmp_path / "other")
    with pytest.raises(DataError, match="head differs: ridge and prototypes"):
        regraft.merge([one, other], out=tmp_path / "no", backbone=net)
    shutil.rmtree(tmp_path / "a" / "dots")
    for path in (tmp_path / "a" / "checks").iterdir():
        path.rename(tmp_path / "a" / "stripes" / f"x{path.name}")
    draw(tmp_path / "a", first=70, count=3, classes=("dots",))
    wrong = regraft.fit(data, net, head="ridge").save(tmp_path / "wrong")
    with pytest.raises(DataError, match=r"is 'stripes' there and 'checks' in .*one"):
        regraft.merge([one, wrong], out=tmp_path / "no", backbone=net)
    with pytest.raises(OptionError, match="two runs or more"):
        regraft.merge([one], out=tmp_path / "no", backbone=net)
    with pytest.raises(OptionError, match="was not saved"):
        regraft.merge([one, regraft.fit(data, net)], out=tmp_path / "no", backbone=net)


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
    first = regraft.fit(data, net, head="ridge", balance=0.7).save(tmp_path / "run")
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
    regraft.fit(draw(tmp_path / "a", count=3), net, head="ridge").save(tmp_path / "run")
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


def test_a_changed_run_does_not_pretend_to_repeat(tmp_path: Path, net: Backbone) -> None:
    from regraft.cli.fit import SETTINGS
    from regraft.record import read_settings

    regraft.fit(draw(tmp_path / "a"), net, head="ridge").save(tmp_path / "run")
    regraft.add(tmp_path / "run", draw(tmp_path / "b", first=99, count=1), backbone=net)
    with pytest.raises(OptionError, match="was changed by add, remove or merge"):
        read_settings(tmp_path / "run" / "run.toml", SETTINGS)
    again = regraft.remove(tmp_path / "run", ["dots/099.png"], backbone=net)
    assert [one["kind"] for one in again.report["changes"]] == ["add", "remove"]
    assert "099" not in (tmp_path / "run" / "log.txt").read_text()


def test_folders_that_are_no_runs(tmp_path: Path, net: Backbone) -> None:
    new = draw(tmp_path / "a")
    run = tmp_path / "run"
    regraft.fit(new, net, head="ridge").save(run)

    def refused(match: str, folder: Path = run) -> None:
        with pytest.raises(BundleError, match=match):
            regraft.add(folder, new, backbone=net)

    refused("is a bundle: rows and sums stay with the run", run / "bundle")
    refused("is no run folder", tmp_path / "a")
    refused("does not exist", tmp_path / "nothing")
    more = ("trained.json", "run.toml", "report.json")
    kept = {name: (run / name).read_bytes() for name in (META, ARRAYS, *more)}

    def changed(name: str, data: bytes | None, match: str) -> None:
        (run / name).unlink()
        if data is not None:
            (run / name).write_bytes(data)
        refused(match)
        (run / name).write_bytes(kept[name])

    digests = [row.digest for row in ledger.read(run / "trained.json").learned]
    changed("trained.json", json.dumps(digests).encode(), "made by an older regraft")
    changed("trained.json", None, r"trained\.json, the list of the run's rows, is gone")
    changed("report.json", b"{", r"report\.json is not what was written .*; fit the data again")
    changed("trained.json", b"{}", r"trained\.json must be the list of rows")
    known = ledger.read(run / "trained.json")
    first = next(row for row in known.learned if row.label == "dots")
    swapped = [row._replace(label="checks") if row == first else row for row in known.rows]
    changed("trained.json", known.only(swapped).text(), "does not belong to the run's bundle")
    spots = [row._replace(label=row.label.replace("dots", "spots")) for row in known.rows]
    changed("trained.json", known.only(spots).text(), "other classes")
    changed(ARRAYS, kept[ARRAYS][:-1], "the sums in .* are not what was written")
    changed("run.toml", b"depths = 3", r"run\.toml is not what 'regraft fit' wrote")
    (run / META).unlink()
    (run / ARRAYS).unlink()
    refused("keeps no sums of its rows; fit the data again")


def test_other_features_are_refused(
    tmp_path: Path, net: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.engine.openvino import OpenVinoEngine

    new = draw(tmp_path / "a")
    regraft.fit(new, net, head="ridge", engine="openvino").save(tmp_path / "run")
    real = OpenVinoEngine.fingerprint

    def newer(self: OpenVinoEngine, device: str, precision: str) -> dict[str, str]:
        return real(self, device, precision) | {"version": "9999.1"}

    monkeypatch.setattr(OpenVinoEngine, "fingerprint", newer)
    with pytest.raises(EngineError, match=r"of the engine .* and here it is .*9999\.1"):
        regraft.add(tmp_path / "run", new, backbone=net)
    # what is cached can still be taken out
    name = open_run(tmp_path / "run", net).ledger.learned[0].id
    done = regraft.remove(tmp_path / "run", [name], backbone=net)
    assert last(done)["recalibrated"]


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


def test_a_test_file_may_go_alone(tmp_path: Path, net: Backbone) -> None:
    data = parted(tmp_path / "a", train=4)
    first = regraft.fit(data, net, head="ridge").save(tmp_path / "run")
    name = open_run(tmp_path / "run", net).ledger.part("test")[0].id
    done = regraft.remove(tmp_path / "run", [name], backbone=net)
    assert (last(done)["rows"], last(done)["test"]) == (0, 1)
    assert done.report["test"]["n"] == first.report["test"]["n"] - 1
    for key, array in first.model.head.arrays().items():
        np.testing.assert_array_equal(done.model.head.arrays()[key], array)


def test_traces_are_found_wherever_they_are(
    tmp_path: Path, net: Backbone, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    """The search itself: a purge that leaves something is noticed."""
    removing = import_module("regraft.change.remove")

    regraft.fit(draw(tmp_path / "a"), net, head="ridge").save(tmp_path / "run")
    run = open_run(tmp_path / "run", net)
    row = run.ledger.learned[0]
    rows = module.rows_of([row.digest])
    assert rows
    hidden = own_cache / "trunks" / "x" / "left.bin"
    hidden.parent.mkdir(parents=True, exist_ok=True)
    clean = run.folder / "log.txt"
    text = clean.read_text()
    forget(own_cache)
    (run.folder / "trained.json").unlink()
    for trace in (bytes.fromhex(row.digest), row.digest.encode(), rows[0]):
        hidden.write_bytes(b"\0" * 4999 + trace + b"\1" * 77)  # at an odd place
        with pytest.raises(CacheError, match=r"left\.bin at byte 4999"):
            module.prove(run.folder, [row.digest], [], rows)
    hidden.write_bytes(b"\0" * 100)
    assert module.prove(run.folder, [row.digest], [row.id], rows).json()["found"] == 0
    clean.write_text(text + f"left out {row.id}: no reason\n")
    with pytest.raises(CacheError, match=r"log\.txt names " + row.id):
        module.prove(run.folder, [row.digest], [row.id], rows)
    monkeypatch.setattr(removing, "purge", lambda digests: 0)
    regraft.fit(tmp_path / "a", net, head="ridge").save(tmp_path / "second")
    with pytest.raises(CacheError, match="traces of removed files are left"):
        regraft.remove(tmp_path / "second", [row.id], backbone=net)
    assert (tmp_path / "second" / "purge.json").exists()
    monkeypatch.undo()
    monkeypatch.setenv("REGRAFT_CACHE", str(own_cache))
    assert open_run(tmp_path / "second", net).lacking([row.digest]) == [row.digest]
    assert not (tmp_path / "second" / "purge.json").exists()


def test_traces_across_pieces_of_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE", 64)
    random = np.random.default_rng(0)
    patterns = [random.bytes(length) for length in (32, 40, 100)]
    searched = module.Patterns(patterns)
    for start in range(0, 200, 7):
        body = b"".join(random.bytes(start + 3) + pattern for pattern in patterns)
        (tmp_path / "file").write_bytes(body + bytes(50))
        found = sorted(module._search(tmp_path / "file", searched))
        assert found == sorted((body.index(pattern), pattern) for pattern in patterns)


def small_copy(of: Path, to: Path) -> None:
    """The same picture at three quarters of its size."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(of) as image:
        image.resize((36, 36), Image.Resampling.BICUBIC).save(to)


def test_what_a_fit_did_not_score_is_not_scored_when_it_comes_again(
    tmp_path: Path, net: Backbone
) -> None:
    """A near duplicate of a training picture is no witness, however often it is offered."""
    parted(tmp_path / "a")
    small_copy(tmp_path / "a/train/dots/000.png", tmp_path / "a/test/dots/near.png")
    first = regraft.fit(tmp_path / "a", net, head="ridge").save(tmp_path / "run")
    assert [r.id for r in first.ledger.part(ledger.COPY)] == ["test/dots/near.png"]
    again = regraft.add(tmp_path / "run", tmp_path / "a", backbone=net)
    assert (last(again)["rows"], last(again)["test"]) == (0, 0)
    assert again.report["test"] == first.report["test"]
    draw(tmp_path / "b" / "train", first=60, count=3)
    shutil.copytree(tmp_path / "a" / "test", tmp_path / "b" / "test")
    regraft.fit(tmp_path / "b", net, head="ridge").save(tmp_path / "other")
    both = regraft.merge([tmp_path / "run", tmp_path / "other"], out=tmp_path / "m", backbone=net)
    assert "test/dots/near.png" not in {row.id for row in both.ledger.part(ledger.TEST)}
    assert both.report["test"]["n"] == 9


def test_validation_rows_that_training_knows_are_copies(tmp_path: Path, net: Backbone) -> None:
    for part, start, count in (("train", 0, 6), ("val", 600, 3), ("test", 900, 3)):
        draw(tmp_path / "a" / part, first=start, count=count)
    regraft.fit(tmp_path / "a", net, head="ridge").save(tmp_path / "run")
    draw(tmp_path / "b" / "train", first=100, count=2)
    draw(tmp_path / "b" / "val", first=100, count=3)
    done = regraft.add(tmp_path / "run", tmp_path / "b", backbone=net)
    assert last(done)["rows"] == 3 * 3
    assert done.report["leaks"] == [f"val/{c}/{n}.png" for c in CLASSES for n in (100, 101)]
    assert done.report["validation"]["n"] == 3 * 4
    check_exact(tmp_path / "run", net, tmp_path / "b")


def test_a_class_that_came_without_held_out_rows_leaves_these_to_calibrate_on(
    tmp_path: Path, net: Backbone
) -> None:
    """As in a fit whose validation part lacks a class: that says nothing of how common it is."""
    two = ("checks", "stripes")
    for part, start in (("train", 0), ("val", 600), ("test", 900)):
        draw(tmp_path / "a" / part, first=start, count=6, classes=two)
    regraft.fit(tmp_path / "a", net, head="ridge").save(tmp_path / "run")
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
    regraft.fit(tmp_path / "a", net, head="ridge").save(tmp_path / "run")
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


def test_groups_stay_on_one_side_when_rows_come(tmp_path: Path, net: Backbone) -> None:
    """A patient who is tested on is not learned from, and the other way round."""
    parted(tmp_path / "a", train=6, test=3)
    for kind in CLASSES:
        for path in (tmp_path / "a").rglob(f"{kind}/*.png"):
            path.rename(path.with_name(f"p{path.stem}_1.png"))
    by = r"p\d+"
    regraft.fit(tmp_path / "a", net, head="ridge", group=by).save(tmp_path / "run")
    regraft.fit(tmp_path / "a", net, head="ridge", group=by).save(tmp_path / "run2")
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
    regraft.fit(tmp_path / "c", net, head="ridge", group=by).save(tmp_path / "run3")
    both = regraft.merge([tmp_path / "run2", tmp_path / "run3"], out=tmp_path / "m", backbone=net)
    assert both.ledger.groups("test") == {"p902", "p080", "p081"}
    assert not both.ledger.groups("test") & both.ledger.groups("train", "val")


def test_data_that_are_tested_on_too_keep_their_names(tmp_path: Path, net: Backbone) -> None:
    parted(tmp_path / "a")
    first = regraft.fit(tmp_path / "a", net, head="ridge", test=tmp_path / "a")
    first.save(tmp_path / "run")
    draw(tmp_path / "b", first=200, count=2)
    done = regraft.add(tmp_path / "run", tmp_path / "b", backbone=net)
    assert {(r.id[:4], done.ledger.sources[r.source]) for r in done.ledger.rows} == {
        ("trai", str(tmp_path / "a")),
        ("test", str(tmp_path / "a")),
        *((c[:4], str(tmp_path / "b")) for c in CLASSES),
    }
    assert open_run(tmp_path / "run", net).ledger == done.ledger


def test_a_cache_that_keeps_nothing(
    tmp_path: Path, net: Backbone, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was computed for a change is used before a small cache loses it."""
    parted(tmp_path / "a")
    regraft.fit(tmp_path / "a", net, head="ridge").save(tmp_path / "run")
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "0")
    forget(own_cache)
    draw(tmp_path / "a" / "train", first=300, count=1)
    assert last(regraft.add(tmp_path / "run", tmp_path / "a" / "train", backbone=net))["rows"] == 3
    gone = ["train/dots/001.png", "dots/300.png"]
    assert last(regraft.remove(tmp_path / "run", gone, backbone=net))["rows"] == 2
    monkeypatch.delenv("REGRAFT_CACHE_LIMIT")
    check_exact(tmp_path / "run", net, tmp_path / "a")


def test_a_run_without_validation_has_one_once_its_rows_are_back(
    tmp_path: Path, net: Backbone, own_cache: Path
) -> None:
    parted(tmp_path / "a")
    regraft.fit(tmp_path / "a", net, head="ridge").save(tmp_path / "run")
    forget(own_cache)
    draw(tmp_path / "b", first=200, count=2)
    done = regraft.add(tmp_path / "run", tmp_path / "b", backbone=net)
    assert (done.report["validation"]["n"], done.report["test"]) == (0, None)
    regraft.load(tmp_path / "run", backbone=net).predict(tmp_path / "a")
    again = regraft.merge([tmp_path / "run", tmp_path / "run"], out=tmp_path / "m", backbone=net)
    assert last(again)["recalibrated"]
    assert again.report["validation"]["n"] == 24 + 6
    assert again.report["test"]["n"] == 9
