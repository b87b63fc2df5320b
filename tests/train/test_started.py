"""The same command goes on; other data or another command do not pass for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regraft.errors import OptionError, TrainingError
from regraft.files import sealed
from regraft.train.started import CHECKPOINT, FILE, begin, note, started

ASKED = {"plan": "lpft", "lr": 1e-3}
ROWS = {"a.png": "1" * 8, "b.png": "2" * 8}


def test_the_same_command_finds_what_was_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "run.unfinished"
    assert begin(folder, ASKED, ROWS) == {}
    note(folder, ASKED, ROWS, {"amp": "f32"})
    assert begin(folder, ASKED, ROWS) == {"amp": "f32"}


def test_nothing_is_kept_without_a_folder() -> None:
    assert begin(None, ASKED, ROWS) == {}
    note(None, ASKED, ROWS, {})


@pytest.mark.parametrize(("rows", "told"), [
    (ROWS | {"c.png": "3"}, r"1 new \(c.png\)"),
    ({"a.png": "1" * 8}, r"1 gone \(b.png\)"),
    (ROWS | {"a.png": "9" * 8}, r"1 changed \(a.png\)"),
])  # fmt: skip
def test_changed_data_are_named(tmp_path: Path, rows: dict[str, str], told: str) -> None:
    begin(tmp_path, ASKED, ROWS)
    with pytest.raises(TrainingError, match=told):
        begin(tmp_path, ASKED, rows)


def test_another_setting_is_named(tmp_path: Path) -> None:
    begin(tmp_path, ASKED, ROWS)
    with pytest.raises(OptionError, match="'lr'"):
        begin(tmp_path, ASKED | {"lr": 1e-4}, ROWS)


def test_what_differs_within_a_setting_is_named(tmp_path: Path) -> None:
    begin(tmp_path, ASKED | {"recipe": {"batch": 8, "ema": 0.0}}, ROWS)
    with pytest.raises(OptionError, match=r"another 'batch' \(8, not 16\)"):
        begin(tmp_path, ASKED | {"recipe": {"batch": 16, "ema": 0.0}}, ROWS)
    with pytest.raises(OptionError, match=r"another 'new' \(None, not None\)"):
        begin(tmp_path, ASKED | {"recipe": {"batch": 8, "ema": 0.0, "new": None}}, ROWS)


def test_a_newer_version_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(sealed({"format": 99, "regraft": "7.1"}))
    with pytest.raises(TrainingError, match=r"7\.1"):
        started(tmp_path)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", json.dumps({"format": 1}).encode()])
def test_what_is_none_of_ours_is_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    assert started(tmp_path) is None


def test_a_checkpoint_that_nothing_is_known_of_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"of another plan")
    (tmp_path / FILE).write_bytes(b"{")
    assert begin(tmp_path, ASKED, ROWS) == {}
    assert not (tmp_path / CHECKPOINT).exists()
