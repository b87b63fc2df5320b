"""A run is saved whatever becomes of its page, and drawn whatever matplotlib was told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import regraft
from tests.nets import small
from tests.pictures import write_folder

FIT = """
import sys, regraft
from tests.nets import small
run = regraft.fit(sys.argv[1], small(), plan="probe", near=False).save(sys.argv[2])
print((run.folder / "report.html").exists())
"""


@pytest.mark.parametrize(
    "told", [{"MPLBACKEND": "module://not_there.at_all"}, {"MPLBACKEND": "nonsense"}, {}]
)
def test_a_style_of_the_users_changes_nothing(told: dict[str, str], tmp_path: Path) -> None:
    write_folder(tmp_path / "data", 4)
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.family: No Such Font\n")
    done = subprocess.run(
        [sys.executable, "-c", FIT, str(tmp_path / "data"), str(tmp_path / "run")],
        env=os.environ | told | {"MATPLOTLIBRC": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == "True"


def test_a_page_that_cannot_be_drawn_costs_a_warning_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("latex is not installed")

    write_folder(tmp_path / "data", 4)
    run = regraft.fit(tmp_path / "data", small(), plan="probe", near=False)
    monkeypatch.setattr("regraft.report.fitted.of_run", broken)
    saved = run.save(tmp_path / "run")
    assert "the page could not be drawn (RuntimeError: latex is not installed)" in caplog.text
    assert saved.folder is not None
    assert not (saved.folder / "report.html").exists()
    assert regraft.load(tmp_path / "run", backbone=small()).classes == run.model.classes
