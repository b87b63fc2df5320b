"""Tables that a spreadsheet opens: nothing in them is run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from regraft import spreadsheet
from regraft.errors import OptionError


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\tx", "\r=1", "\n=1"])
def test_formulas_are_texts(text: str) -> None:
    assert spreadsheet.cell(text) == "'" + text


@pytest.mark.parametrize("text", ["", "a=1", "1-2.png", "'quoted'", "1"])
def test_other_texts_stay(text: str) -> None:
    assert spreadsheet.cell(text) == text


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    rows = [["a,b.png", "0.5"], ['q"uote', "1"], ["new\nline", "0"]]
    spreadsheet.write(tmp_path / "t.csv", "--csv", ["file", "value"], rows)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["file", "value"], *rows]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    spreadsheet.write(tmp_path / "t.csv", "--csv", ["file"], [["a\udcff.png"]])
    assert "a\\udcff.png" in (tmp_path / "t.csv").read_text()


def test_a_file_that_is_there_or_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch()
    with pytest.raises(OptionError, match="exists; name a file that does not"):
        spreadsheet.free(tmp_path / "t.csv", "--csv")
    with pytest.raises(OptionError, match="cannot be written"):
        spreadsheet.write(tmp_path / "t.csv" / "x.csv", "--csv", ["file"], [])
