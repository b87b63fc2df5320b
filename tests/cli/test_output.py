"""The one door to the terminal: nothing that comes from data steers it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from tests.pictures import picture

from regraft import terminal
from regraft.cli import fail, output, run
from regraft.cli.compared import _table

HOSTILE = "a\x1b[2J\x9b31m\u202eb\u2066"
STEERS = ("\x1b", "\x9b", "\u202e", "\u2066")


def test_every_way_out_spells_out_what_steers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("regraft")
    monkeypatch.setattr(log, "handlers", [])
    terminal.set_volume()
    output.show_warnings()
    log.warning("class %s", HOSTILE)
    terminal.say(HOSTILE)
    terminal.echo(HOSTILE)
    output.print_json({"label": HOSTILE})
    fail(f"'{HOSTILE}' is wrong")
    _table(output.console(), ("plan", "p"), [(HOSTILE, "1")])
    said = capsys.readouterr()
    assert not [c for c in STEERS if c in said.out + said.err]
    assert said.err.count("\\x1b[2J") == 3
    assert said.out.count("\\x1b[2J") == 2
    assert "warning: class a" in said.err


def test_a_class_of_a_folder_cannot_steer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (HOSTILE, "dots"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(6):
            kind = "dots" if name == "dots" else "checks"
            picture(kind, number).save(tmp_path / "data" / name / f"{number}.png")
    out = str(tmp_path / "run")
    assert run(["audit", str(tmp_path / "data")]) == 0
    assert run(["fit", str(tmp_path / "data"), "--plan", "probe", "--out", out]) == 0
    assert run(["evaluate", out, str(tmp_path / "data")]) == 0
    said = capsys.readouterr()
    assert not [c for c in STEERS if c in said.out + said.err]
    card = (tmp_path / "run/bundle/README.md").read_text()
    assert not [c for c in STEERS if c in card]


def test_warnings_go_where_stderr_is_now(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar that moves takes stderr's place while it is shown."""
    log = logging.getLogger("regraft")
    monkeypatch.setattr(log, "handlers", [])
    output.show_warnings()
    seen: list[str] = []

    class Bar:
        def write(self, text: str) -> int:
            seen.append(text)
            return len(text)

        def flush(self) -> None: ...

    monkeypatch.setattr(sys, "stderr", Bar())
    log.warning("one")
    assert "".join(seen) == "warning: one\n"
