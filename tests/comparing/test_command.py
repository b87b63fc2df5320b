"""regraft compare on the command line: what it takes for finished runs, and the tables."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from regraft.cli import run
from regraft.cli.compare import done, is_finished, several
from regraft.cli.compared import show
from regraft.comparing import Comparison, Forgetting, LeftOut, Made, Scored
from regraft.comparing.ranking import Named, ranked
from regraft.errors import OptionError
from tests.pictures import write_folder

NET = ("--weights", "random", "--size", "32", "--geometry", "crop", "--no-near")


def sentence(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["compare", *arguments]) == 2, arguments
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What looks like runs, and what does not."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name / "bundle").mkdir(parents=True)
        (tmp_path / name / "report.json").write_text("{}")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "comparison.json").write_text("{}")
    (tmp_path / "photos").mkdir()
    return tmp_path


def test_data_and_finished_runs_are_told_apart(home: Path) -> None:
    assert is_finished("a", ["b"])
    assert is_finished("a", ["c"])
    assert is_finished("c", None)
    assert not is_finished("photos", ["lr=1e-4"])
    assert not is_finished("photos", ["nothing"])  # the settings will say what is wrong with it
    for data, more in (("a", ["photos"]), ("photos", ["a"]), ("a", ["b", "lr=1"])):
        with pytest.raises(OptionError, match=r"a is a finished run and '(photos|lr=1)' is none"):
            is_finished(data, more)


def test_finished_runs_take_no_options(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--seeds has no effect on finished runs" in sentence(capsys, "a", "b", "--seeds", "3")
    assert "--lr has no effect on finished runs" in sentence(capsys, "a", "b", "--lr", "1e-4")
    assert "--out c exists" in sentence(capsys, "a", "b", "--out", "c")


def test_backbones_and_budget_as_texts(capsys: pytest.CaptureFixture[str]) -> None:
    assert several("a", None) == "a"
    assert several(None, " a, b,") == ["a", "b"]
    with pytest.raises(OptionError, match="must name at least one"):
        several(None, ",")
    told = sentence(capsys, "x", "--backbone", "a", "--backbones", "b,c")
    assert "--backbone and --backbones are given" in told
    assert "--budget must be a span of time" in sentence(capsys, "x", "--budget", "soon")


def test_a_comparison_that_left_something_out_is_not_done(tmp_path: Path) -> None:
    assert not done(tmp_path)
    for left, is_done in (([], True), ([{"name": "full"}], False)):
        (tmp_path / "comparison.json").write_text(json.dumps({"left_out": left}))
        assert done(tmp_path) is is_done
    (tmp_path / "comparison.json").write_text("rot")
    assert done(tmp_path)


def arms(*names: str) -> dict[str, Any]:
    runs = {}
    for number, name in enumerate(names):
        right = {str(row): row > 10 * number + row % 3 for row in range(100)}
        accuracy = sum(right.values()) / 100
        scored = Scored(
            0, 100, 400, accuracy, accuracy, 0.5, 12345.6, 2.0, 123_456_789, "held out",
            2_345_678_901, "run", 98_765_432, Forgetting(0.345, 1.2, 100), 1.0, 0.9,
        )  # fmt: skip
        runs[name] = [Made(scored, right)]
    errors = {"broken": "there is no stage 'x'."}
    named = [Named(name, name, "net") for name in (*names, "broken")]
    left = (LeftOut("full", "full", "net", (0, 1), 4000.0),)
    return Comparison("d", ranked(runs, named, errors), 1, 3.0, left_out=left).json()


@pytest.mark.parametrize("width", [80, 120])
def test_the_tables_fit(width: int) -> None:
    names = ("finetune", "lpft", "probe", "scratch, resnet50")
    file = io.StringIO()
    show(arms(*names), Console(width=width, file=file))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    titles = [line for line in lines if line.startswith("plan ")]
    assert len(titles) == 2
    assert "…" not in file.getvalue()
    for name in names[:3]:  # whole, on one line of each table
        mine = [line for line in lines if line.startswith(name)]
        assert len(mine) == 2
        assert "34.5 %" in mine[1]
        assert "123,456,789" in mine[1]
        assert "2.3 GB" in mine[1]
    text = " ".join(file.getvalue().split())
    assert "broken: there is no stage 'x'." in text
    assert "left out by the budget: full, seed 0, 1; one run would take up to 1 h 7 min" in text
    assert "exact McNemar, corrected for 3 tests (Holm)" in text


@pytest.mark.slow
def test_two_backbones_in_two_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "data", 8)
    command = ["data", "--plans", "probe", "--backbones", "test_resnet,test_vit", "--seeds", "1"]
    assert run(["compare", *command, *NET, "--budget", "10m"]) == 0
    told = capsys.readouterr().out
    assert "probe, test_resnet" in told
    assert "probe, test_vit" in told
    folder = tmp_path / "runs" / "compare-data-1"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        "probe-test_resnet-0", "probe-test_vit-0",
    }  # fmt: skip
    assert (folder / "report.html").read_bytes().startswith(b"<!doctype html>")
    again = ["compare", *(f"runs/compare-data-1/probe-test_{net}-0" for net in ("resnet", "vit"))]
    assert run([*again, "--out", "both", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["folder"] == "both"
    assert json.loads((tmp_path / "both" / "comparison.json").read_text()) == found
    first = json.loads((folder / "comparison.json").read_text())
    assert [arm["accuracy"] for arm in found["arms"]] == [arm["accuracy"] for arm in first["arms"]]
