"""regraft advise, and a fit that follows it, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.pictures import write_folder

from regraft.cli import run

NET = ("--backbone", "test_resnet", "--weights", "random", "--size", "32", "--threads", "1")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_folder(tmp_path / "data", 9, parts=("train", "test"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_advice_for_people_and_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["advise", "data", *NET, "--watts", "30"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = {line[:11].strip() for line in lines} - {""}
    assert titles >= {"advice", "expect", "cost", "similarity", "why", "risks", "table"}
    assert any("if a busy processor takes 30 W" in line for line in lines)
    assert run(["advise", "data", *NET, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert lines[0] == f"advice      plan {told['plan']}, head at {told['at']}"
    assert told["data"] == "data"
    assert told["rows"] == 27
    assert not (home / "runs").exists()


def test_fit_follows_advice_unless_a_plan_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fit", "data", *NET, "--budget", "1h", "--out", "advised"]) == 0
    said = capsys.readouterr()
    assert "advised: plan probe" in said.err
    assert "forecast    " in said.out
    assert "report      advised/report.html" in said.out
    assert (home / "advised" / "report.html").exists()
    assert not (home / "advised.unfinished").exists()
    report = json.loads((home / "advised" / "report.json").read_text())
    assert report["advice"]["plan"] == "probe"
    assert run(["fit", "data", *NET, "--plan", "probe", "--out", "named"]) == 0
    said = capsys.readouterr()
    assert "advised" not in said.err
    assert "forecast" not in said.out
    assert run(["fit", "advised/run.toml", "--out", "again"]) == 0
    capsys.readouterr()
    mine, theirs = (
        (home / name / "bundle" / "head.safetensors").read_bytes() for name in ("advised", "again")
    )
    assert mine == theirs


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no such folder or table: 'nowhere'"),
        (["data", "--max-size", "big"], "--max-size must be a number with its unit"),
        (["data", "--max-latency", "10"], "--max-latency must be a number with its unit"),
        (["data", "--budget", "soon"], "--budget must be a span of time above 0"),
        (["data", "--backbones", ","], "--backbones must name some with commas, or 'here'"),
        (["data", "--backbones", "a", "--backbone", "b"], "in the place of --backbone"),
        (["data", "--max-size", "1kB", *NET], "no backbone is within the limits"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["advise", *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert said in lines[0]
