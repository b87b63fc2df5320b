"""`regraft audit` as a user meets it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from tests.cli.test_commands import Shell
from tests.data.scenes import copies, jpeg, scene


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    made = Shell(tmp_path_factory.mktemp("home"))
    for number, where in enumerate(("train/ant", "train/bee", "test/ant", "test/bee")):
        folder = made.home / "data" / where
        folder.mkdir(parents=True)
        for one in range(6):
            (folder / f"{one}.jpg").write_bytes(jpeg(scene(10 * number + one)))
    data = made.home / "messy"
    shutil.copytree(made.home / "data", data)
    for one in range(14):
        (data / "train" / "ant" / f"bad{one:02d}.jpg").write_bytes(b"")
    shutil.copy(data / "train/ant/0.jpg", data / "train/bee/wrong.jpg")
    (data / "test" / "bee" / "leak.jpg").write_bytes(copies(scene(10))["cropped"])
    (data / "train" / "[red]new\n.jpg").write_bytes(b"")
    return made


def test_clean_data_in_a_few_lines(shell: Shell) -> None:
    out = shell("audit", "data").stdout.splitlines()
    assert out[0] == "seen        24 files: 24 images to use, 0 left out, 0 ignored"
    assert [line.split() for line in out[2:5]] == [
        ["class", "train", "test"],
        ["ant", "6", "6"],
        ["bee", "6", "6"],
    ]
    assert out[-1] == "no problems found"
    shell("audit", "data", "--strict")


def test_findings_are_listed_with_their_numbers(shell: Shell) -> None:
    out = shell("audit", "messy").stdout
    assert "seen        41 files: 26 images to use, 15 left out, 0 ignored" in out
    assert "  14 times empty file" in out
    assert "left out (15)" in out
    assert "  train/[red]new\\n.jpg: lies outside the class folders" in out
    assert "  and 5 more; --json lists all" in out
    assert "known from another part, so not to be scored (1)" in out
    assert "  test/bee/leak.jpg (test) is nearly a copy of train/bee/0.jpg (train)" in out
    assert "  exact: train/ant/0.jpg is 'ant', but train/bee/wrong.jpg is 'bee'" in out
    assert "no problems found" not in out


def test_json_has_every_field_and_all_files(shell: Shell) -> None:
    report = shell.json("audit", "messy")
    assert list(report) == [
        "seen",
        "used",
        "skipped",
        "ignored",
        "classes",
        "duplicates",
        "leaks",
        "conflicts",
        "notes",
    ]
    assert len(report["skipped"]) == 15
    assert report["seen"] == report["used"] + len(report["skipped"]) + report["ignored"]
    assert report["classes"]["bee"] == {"train": 7, "test": 7}
    assert [one["kind"] for one in report["leaks"]] == ["near"]


def test_strict_prints_the_findings_and_then_refuses(shell: Shell) -> None:
    done = shell("audit", "messy", "--strict", code=2)
    assert "left out (15)" in done.stdout
    (said,) = done.stderr.strip().splitlines()
    assert said.startswith("error: 15 files cannot be used, the first is 'train/[red]new")
    done = shell("audit", "messy", "--json", "--strict", code=2)
    assert done.stdout.startswith('{"seen": 41')


def test_too_many_bad_files_are_refused(shell: Shell) -> None:
    said = shell.sentence("audit", "messy", "--most-bad", "0.2")
    assert "15 of 41 files cannot be used (14 times 'empty file'" in said
    shell("audit", "messy", "--most-bad", "0.4")
    assert "a share from 0 to 1, got 3" in shell.sentence("audit", "data", "--most-bad", "3")


def test_groups_and_data_to_test_on(shell: Shell) -> None:
    report = shell.json("audit", "data", "--group", r"(\d)\.jpg")
    assert {one["kind"] for one in report["leaks"]} == {"group"}
    report = shell.json("audit", "data/train", "--test", "messy/test")
    assert report["classes"]["ant"] == {"train": 6, "test": 6}
    assert [one["like"] for one in report["leaks"]] == ["bee/0.jpg"]


def test_a_missing_folder_is_an_error(shell: Shell) -> None:
    assert "no such folder or table: 'nowhere'" in shell.sentence("audit", "nowhere")


def test_it_loads_no_network_and_no_torch(shell: Shell) -> None:
    code = (
        "import sys, regraft; regraft.audit('data'); "
        "print({'torch', 'timm', 'scipy', 'openvino'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=shell.home,
        env=shell.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")
