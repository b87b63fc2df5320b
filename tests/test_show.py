"""How results show themselves in a terminal and in a notebook."""

from __future__ import annotations

from pathlib import Path

import pytest

import regraft
from regraft.model import Prediction
from tests.nets import small
from tests.pictures import write_folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> regraft.Run:
    folder = write_folder(tmp_path_factory.mktemp("drawn"), 6)
    return regraft.fit(folder, small(), plan="probe", near=False)


def test_a_run_is_a_card_and_not_all_that_it_holds(run: regraft.Run) -> None:
    said = repr(run)
    assert len(said.splitlines()) < 12
    assert "backbone    small, read at" in said
    assert "95 % interval" in said
    assert "3: checks, dots, stripes" in said
    assert "not saved" in said
    html = run._repr_html_()
    assert html.startswith("<div><strong>Run</strong>")
    assert "95 % interval" in html


def test_a_prediction_reads_as_a_line_and_shows_its_picture(
    run: regraft.Run, tmp_path: Path
) -> None:
    write_folder(tmp_path, 1)
    path = tmp_path / "dots" / "000.png"
    (one,) = run.predict(path)
    assert str(one).startswith(f"{path}: ")
    assert str(one).count("%") == 3
    assert "<img" in one._repr_html_()
    assert one._repr_html_().count("<tr>") == 3
    (memory,) = run.predict(path.read_bytes())
    assert memory._repr_html_().count("<tr>") == 3
    path.unlink()
    assert "<img" not in one._repr_html_()
    (gone,) = run.predict(path)
    assert str(gone) == f"{path}: error: no such file"


def test_what_a_label_or_a_file_says_is_text() -> None:
    evil = "<script>alert(1)</script>"
    html = Prediction(evil, evil, {evil: 1.0})._repr_html_()
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 2


def test_stages_are_a_line_each() -> None:
    net = small()
    assert repr(net[:2]).splitlines()[0] == "<Stages: 2>"
    assert len(repr(net[:2]).splitlines()) == 3
    assert "middle" in repr(net[:2])
