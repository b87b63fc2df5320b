"""Finished runs on rows that none of them learned from."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regraft
from regraft import ledger
from regraft.comparing import compare_runs, is_comparison
from regraft.comparing.finished import rows_of
from regraft.comparing.paired import mcnemar
from regraft.errors import BundleError, DataError, OptionError
from regraft.ledger import COPY, TEST, TRAIN, VAL, Ledger, Row
from tests.pictures import write_folder

QUICK = {"batch": 8, "amp": "f32", "memory": "contiguous", "epochs": 1, "wise": "off"}
NET: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "size": 32}
HOW: dict[str, Any] = NET | {"geometry": "crop", "near": False}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs a and b with the same test rows, c with others, d with another class."""
    home = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(home / "cache"))
        data = write_folder(home / "data", 20)
        other = write_folder(home / "other", 8)
        (other / "dots").rename(other / "blobs")
        regraft.fit(data, plan="probe", **HOW).save(home / "a")
        regraft.fit(data, plan="lpft", settings=QUICK, **HOW).save(home / "b")
        regraft.fit(data, plan="probe", seed=1, **HOW).save(home / "c")
        regraft.fit(other, plan="probe", **HOW).save(home / "d")
    return home


@pytest.fixture(autouse=True)
def same_cache(runs: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(runs / "cache"))


def right(run: Path, digests: set[str]) -> dict[str, bool]:
    """Which rows a run has right, one by one as a user would ask."""
    model = regraft.load(run)
    rows = [row for row in ledger.read(run / ledger.FILE).rows if row.digest in digests]
    files = [str(run.parent / "data" / row.id) for row in rows]
    said = model.predict(files)
    return {row.digest: one.label == row.label for row, one in zip(rows, said, strict=True)}


def test_runs_that_were_tested_on_the_same_rows(runs: Path) -> None:
    found = compare_runs([runs / "a", str(runs / "b")])
    assert {arm.name for arm in found.arms} == {"a", "b"}
    assert found.notes == ()
    arms = {arm.name: arm for arm in found.arms}
    tests = ledger.read(runs / "a" / ledger.FILE).digests(TEST)
    of = {name: right(runs / name, tests) for name in arms}
    for name, arm in arms.items():
        report = json.loads((runs / name / "report.json").read_text())
        assert arm.accuracy == pytest.approx(report["test"]["accuracy"])
        assert arm.accuracy == np.mean(list(of[name].values()))
        assert arm.peak_memory_bytes == report["peak_memory_bytes"]
        assert arm.runs[0].memory_of == "process"
        size = sum(p.stat().st_size for p in (runs / name / "bundle").iterdir())
        assert arm.bundle_bytes == size
    assert (arms["a"].plan, arms["b"].plan) == ("probe", "lpft")
    assert arms["a"].forgetting.changed == 0
    assert "no classifier" in arms["b"].forgetting.why
    only = [sum(of[x][d] and not of[y][d] for d in tests) for x, y in (("a", "b"), ("b", "a"))]
    assert found.arms[1].p_value == pytest.approx(mcnemar(*only))
    assert arms["b"].parameters > arms["a"].parameters


def test_runs_that_were_tested_on_others_are_scored_where_none_learned(runs: Path) -> None:
    found = compare_runs([runs / "a", runs / "c"])
    kept = {name: ledger.read(runs / name / ledger.FILE) for name in "ac"}
    neutral = kept["a"].digests(TEST) & kept["c"].digests(TEST)
    assert 0 < len(neutral) < 12
    for arm in found.arms:
        assert arm.runs[0].n == len(neutral)
        assert arm.accuracy == np.mean(list(right(runs / arm.name, neutral).values()))
    (note,) = found.notes
    assert f"{len(neutral)} of them the same" in note
    assert f"on the {len(neutral)} test rows that none of them learned from" in note


def test_what_cannot_be_compared(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"knows the class '(blobs|dots)' and .* does not"):
        compare_runs([runs / "a", runs / "d"])
    with pytest.raises(OptionError, match=r"two or more run folders can be compared, got .*a"):
        compare_runs([runs / "a"])
    with pytest.raises(OptionError, match="is named twice"):
        compare_runs([runs / "a", runs / "a"])
    with pytest.raises(BundleError, match=r"data is no run folder; name those that 'regraft fit'"):
        compare_runs([runs / "a", runs / "data"])
    moved = shutil.copytree(runs / "b", tmp_path / "b")
    (moved / ledger.FILE).unlink()
    with pytest.raises(BundleError, match="keeps no list of the rows"):
        compare_runs([runs / "a", moved])


def test_data_that_changed_or_moved_are_named(runs: Path, tmp_path: Path) -> None:
    data = shutil.copytree(runs / "data", tmp_path / "data")
    for name in "ab":
        home = shutil.copytree(runs / name, tmp_path / name)
        text = ledger.read(home / ledger.FILE)
        (home / ledger.FILE).write_bytes(replace(text, sources=(str(data),)).text())
    row = text.part(TEST)[0]
    (data / row.id).write_bytes((data / text.part(TRAIN)[0].id).read_bytes())
    with pytest.raises(DataError, match=f"{row.id} is another file than when the run was made"):
        compare_runs([tmp_path / "a", tmp_path / "b"])
    (data / row.id).unlink()
    with pytest.raises(DataError, match=rf"1 files .* tested on are gone .{row.id}"):
        compare_runs([tmp_path / "a", tmp_path / "b"])
    shutil.rmtree(data)
    with pytest.raises(DataError, match=r"the data of .*a cannot be found any more"):
        compare_runs([tmp_path / "a", tmp_path / "b"])


def test_a_run_that_was_changed_is_compared(runs: Path, tmp_path: Path) -> None:
    home = tmp_path / "ridge"
    regraft.fit(runs / "data", plan="probe", head="ridge", **HOW).save(home)
    write_folder(tmp_path / "more", 2, parts=("known", "new"))
    regraft.add(home, tmp_path / "more" / "new")
    found = compare_runs([runs / "a", home])
    assert any("was changed since it was fitted" in note for note in found.notes)
    (ridge,) = (arm for arm in found.arms if arm.name.endswith("ridge"))
    assert ridge.seconds > 0
    assert ridge.gap is not None


@pytest.mark.slow
def test_a_comparison_again(runs: Path, tmp_path: Path) -> None:
    how = HOW | {"plans": ["probe", "early"], "seeds": 2}
    net = how.pop("backbone")
    first = regraft.compare(runs / "data", net, folder=tmp_path / "c", **how)
    assert is_comparison(tmp_path / "c")
    assert not is_comparison(runs / "a")
    again = compare_runs([tmp_path / "c"])
    assert again.arms == first.arms
    (tmp_path / "c" / "comparison.json").unlink()  # as if it had been stopped
    assert compare_runs([tmp_path / "c"]).arms == first.arms
    both = compare_runs([tmp_path / "c" / "probe-0", runs / "a"])
    assert both.arms[0].accuracy == both.arms[1].accuracy
    ours = next(arm for arm in both.arms if arm.name.endswith("probe-0"))
    assert ours.runs[0].memory_of == "run"


def test_which_rows_are_left(runs: Path) -> None:
    def made(**parts: str) -> Ledger:
        rows = [
            Row(name, name.split("_")[0], "x", part, name.partition("_")[2])
            for name, part in parts.items()
        ]
        return Ledger(tuple(rows), ("data",))

    a = made(r1=TEST, r2=TEST, r3=TRAIN, r4_patient=TRAIN)
    b = made(r1=TEST, r2=VAL, r3=TEST, r5=TEST, r6_patient=TEST, r7=TEST)
    c = made(r7=COPY, r1=TEST)
    # r2 and r3 were learned from, r6 is of a patient of whom a knows, r7 is nearly what c knows.
    kept = rows_of({Path("a"): a, Path("b"): b, Path("c"): c})
    assert kept.digests == ("r1", "r5")
    assert "a was tested on 2 rows and b on 5, 1 of them the same" in kept.note
    same = rows_of({Path("a"): a, Path("b"): a})
    assert (same.digests, same.note) == (("r1", "r2"), "")
    with pytest.raises(OptionError, match="no row is left that no run learned from"):
        rows_of({Path("a"): made(r1=TEST, r2=TRAIN), Path("b"): made(r2=TEST, r1=TRAIN)})
    with pytest.raises(OptionError, match="b has no test rows"):
        rows_of({Path("a"): a, Path("b"): made(r1=TRAIN)})
