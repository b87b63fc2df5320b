"""A run.toml that somebody edited is taken as meant, or refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from regraft.cli.fit import SETTINGS, from_settings
from regraft.errors import OptionError
from regraft.plans import planned
from regraft.record import _TAKEN, read_settings


def read(folder: Path, *lines: str) -> dict:
    path = folder / "run.toml"
    path.write_text("\n".join(lines) + "\n")
    return read_settings(path, SETTINGS)


def test_whole_numbers_are_numbers_too(tmp_path: Path) -> None:
    assert read(tmp_path, "balance = 1", "most_bad = 0.25", "seed = 3") == {
        "balance": 1,
        "most_bad": 0.25,
        "seed": 3,
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('balance = "x"', "'balance' must be a number, got 'x'"),
        ("balance = true", "'balance' must be a number, got True"),
        ("seed = true", "'seed' must be a whole number, got True"),
        ("seed = 1.5", "'seed' must be a whole number, got 1.5"),
        ("seed = 2020-01-01", "'seed' must be a whole number, got datetime.date"),
        ("threads = false", "'threads' must be a whole number, got False"),
        ("size = 224", "'size' must be a list in brackets, got 224"),
        ("folds = 5", "'folds' must be a text in quotes, got 5"),
        ("group = {a = 1}", "'group' must be a text in quotes, got {'a': 1}"),
        ("colour = true", "'colour' is no setting of a run"),
        ("seed = ", "is not a run.toml"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        read(tmp_path, line)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_type_of_a_setting_can_be_read() -> None:
    assert set(SETTINGS.values()) <= set(_TAKEN)


def test_a_run_toml_without_the_newer_settings_is_taken(tmp_path: Path) -> None:
    old = read(tmp_path, 'data = "d"', 'test = ""', 'at = "end"', 'head = "ridge"', "size = []")
    held = from_settings(old)
    assert held.pop("plan") == planned("probe")
    assert held == {
        "data": "d",
        "test": None,
        "at": "end",
        "head": "ridge",
        "size": None,
    }
    with pytest.raises(OptionError, match="must name its 'data'"):
        from_settings(read(tmp_path, 'at = "end"'))
