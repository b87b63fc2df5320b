"""regraft report, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.test_commands import Shell
from tests.pictures import write_folder
from tests.report.made import comparison

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    home = tmp_path_factory.mktemp("home")
    write_folder(home / "data", 8)
    made = Shell(home)
    made.json("fit", "data", "--plan", "probe", "--out", "run")
    (home / "comparison").mkdir()
    (home / "comparison" / "comparison.json").write_text(json.dumps(comparison()))
    return made


def test_the_page_is_made_again_in_the_run(shell: Shell) -> None:
    page = shell.home / "run" / "report.html"
    page.unlink(missing_ok=True)
    said = shell("report", "run").stdout
    assert "report      run/report.html (" in said
    assert "sections    accuracy, plan, confusion, classes" in said
    assert page.read_bytes().startswith(b"<!doctype html>")


def test_json_says_what_is_in_it(shell: Shell) -> None:
    told = shell.json("report", "run", "--no-explain", "--out", "page.html")
    assert set(told) == {"page", "bytes", "sections", "pictures", "explained", "missing"}
    assert told["page"] == "page.html"
    assert (shell.home / "page.html").stat().st_size == told["bytes"]
    assert told["explained"] == 0


def test_a_comparison(shell: Shell) -> None:
    assert "sections    accuracy, cost, arms" in shell("report", "comparison").stdout
    assert (shell.home / "comparison" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["data"], "data is neither a run nor a comparison"),
        (["run/bundle"], "run/bundle is neither a run nor a comparison"),
        (["run", "--out", "/proc/no/page.html"], "/proc/no/page.html cannot be written"),
        (["run", "--threads", "0"], "--threads must be 1 or more"),
        ([], "Missing argument 'RUN|COMPARISON'"),
    ],
)
def test_every_mistake_is_one_sentence(arguments: list[str], said: str, shell: Shell) -> None:
    assert said in shell.sentence("report", *arguments)


def test_help_needs_nothing(shell: Shell) -> None:
    assert "--no-explain" in shell("report", "--help").stdout
    assert not Path(shell.home / "runs").exists()
