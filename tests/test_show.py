"""How results show themselves in a terminal and in a notebook."""

from __future__ import annotations

from pathlib import Path

import pytest

import regraft
from regraft import show
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


def test_a_run_names_what_it_mixes_up_and_links_to_its_page(tmp_path: Path) -> None:
    classes = ["<a>", "b", "c"]
    test = {"n": 12, "confusion": [[1, 3, 0], [0, 4, 0], [1, 2, 1]]}
    assert show.confused(test, classes) == "<a> as b 3 of 4; c as b 2 of 4; c as <a> 1 of 4"
    assert show.confused({"confusion": [[2, 0], [0, 1]]}, classes) == ""
    assert show.confused({"confusion": []}, classes) == "", "a bundle of thousands keeps none"
    wide = [[5 * (i == j) + (i < j) for j in range(4)] for i in range(4)]
    assert show.confused({"confusion": wide}, "abcd").endswith("; …")
    html = show.card("Run", [("confused", show.confused(test, classes))])
    assert "<a>" not in html
    assert show.page_link(None) == show.page_link(tmp_path / "a b") == ""
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "report.html").write_text("")
    assert "a%20b/report.html" in show.page_link(tmp_path / "a b")


def test_a_saved_run_links_to_its_page(run: regraft.Run, tmp_path: Path) -> None:
    assert "report.html'" in run.save(tmp_path / "run")._repr_html_()
    assert "report.html'" not in run._repr_html_()


def test_a_list_of_predictions_is_short(run: regraft.Run, tmp_path: Path) -> None:
    path = write_folder(tmp_path, 1) / "dots" / "000.png"
    (one,) = run.predict(path)
    assert repr(one) == f"<Prediction {one}>"


def test_a_model_is_a_line(run: regraft.Run) -> None:
    assert repr(run.model).startswith("<Model: ")
    assert repr(run.model).endswith(" of small, 3 classes>")


def test_a_backbone_is_a_table_in_a_notebook() -> None:
    html = small()._repr_html_()
    assert html.count("<tr>") == 1 + len(small())
    assert "small: 4 stages" in html
    assert f"text-align:right'>{small().info.stages[1].parameters:,}" in html


def test_an_advice_is_lines_and_a_card(tmp_path: Path) -> None:
    advice = regraft.advise(write_folder(tmp_path / "<b>", 8), small(), geometry="crop")
    assert repr(advice) == "\n".join(advice.lines())
    html = advice._repr_html_()
    assert html.count("<tr>") == len(advice.lines())
    assert "plan probe" in html
