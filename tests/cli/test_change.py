"""regraft add, remove and merge as a user meets them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.test_commands import HEAVY, Shell
from tests.pictures import CLASSES, picture, write_folder


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    home = tmp_path_factory.mktemp("home")
    write_folder(home / "data", 6)
    for kind in (*CLASSES[:2], "waves"):
        folder = home / "new" / kind
        folder.mkdir(parents=True)
        for number in range(3):
            picture(CLASSES[-1] if kind == "waves" else kind, 700 + number).save(
                folder / f"n{number}.png"
            )
    made = Shell(home)
    made("fit", "data", "--plan", "probe", "--head", "ridge", "--out", "first")
    made("predict", "first", "new")
    return made


@pytest.fixture
def run(shell: Shell) -> Path:
    """A run of its own for a test."""
    shutil.rmtree(shell.home / "run", ignore_errors=True)
    return shutil.copytree(shell.home / "first", shell.home / "run")


def test_add_says_what_came(shell: Shell, run: Path) -> None:
    report = shell.json("add", "run", "new")
    assert report["classes"] == ["checks", "dots", "stripes", "waves"]
    change = report["changes"][-1]
    assert (change["kind"], change["rows"], change["exact"]) == ("add", 9, True)
    assert change["cache"] == {"state": "warm", "hits": 9, "misses": 0}
    assert report == json.loads((run / "report.json").read_text())
    assert len(shell("predict", "run", "new").stdout.splitlines()) == 9


def test_add_for_people(shell: Shell, run: Path) -> None:
    done = shell("add", "run", "new")
    assert "added       9 images to learn from and 0 to test on" in done.stdout
    assert "new classes waves" in done.stdout
    assert "the weights equal a fit on these rows at the same settings" in done.stdout
    again = shell("add", "run", "new")
    assert "left out 9 that the run has already" in again.stdout
    assert len(again.stdout.splitlines()) == 1


def test_remove_says_what_went_and_proves_it(shell: Shell, run: Path) -> None:
    shell("add", "run", "new")
    (shell.home / "ids.txt").write_text("waves/n0.png\nwaves/n1.png\nwaves/n2.png\n")
    done = shell("remove", "run", "--ids", "ids.txt")
    assert "removed     3 images to learn from" in done.stdout
    assert "classes gone waves" in done.stdout
    assert "searched for" in done.stdout
    assert ": 0 found" in done.stdout
    assert "'waves/n0.png'" in shell.sentence("remove", "run", "--ids", "ids.txt")
    shell("predict", "first", "new")  # the activations are back for the other tests


def test_merge_makes_a_new_run(shell: Shell, run: Path) -> None:
    shell("fit", "new", "--plan", "probe", "--head", "ridge", "--out", "second")
    report = shell.json("merge", "run", "second", "--out", "both")
    assert report["run"] == "both"
    assert set(report["classes"]) == {"checks", "dots", "stripes", "waves"}
    assert report["changes"][-1]["runs"] == ["run", "second"]
    assert shell.sentence("merge", "run", "second", "--out", "both").startswith(
        "error: --out both exists"
    )
    shutil.rmtree(shell.home / "both")
    shutil.rmtree(shell.home / "second")


def test_one_sentence_each(shell: Shell, run: Path) -> None:
    assert "first/bundle is a bundle: rows" in shell.sentence("add", "first/bundle", "new")
    assert "nowhere does not exist" in shell.sentence("add", "nowhere", "new")
    assert "no file or folder" in shell.sentence("add", "run", "nothing") or "nothing" in (
        shell.sentence("add", "run", "nothing")
    )
    (shell.home / "none.txt").write_text("\n")
    assert "names no file" in shell.sentence("remove", "run", "--ids", "none.txt")
    assert "merge needs two runs or more" in shell.sentence("merge", "run", "--out", "x")
    (run / "sums.safetensors").write_bytes(b"no sums")
    assert "are not what was written" in shell.sentence("add", "run", "new")
    shell("add", "first", "new", "--out", "kept")
    said = shell.sentence("fit", "kept/run.toml", "--out", "again")
    assert "was changed by add, remove or merge" in said
    shutil.rmtree(shell.home / "kept")


def test_changes_of_cached_rows_load_nothing_heavy(shell: Shell, run: Path) -> None:
    (shell.home / "one.txt").write_text("data/dots/000.png\n")
    code = (
        "import sys; from regraft.cli import run\n"
        "assert run(['add', 'run', 'new']) == 0\n"
        "assert run(['merge', 'run', 'first', '--out', 'merged']) == 0\n"
        "assert run(['remove', 'run', '--ids', 'one.txt']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=shell.home,
        env=shell.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
