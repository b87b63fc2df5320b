"""The page that every saved run has."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import regraft
from regraft.change.remove import remove
from regraft.report import write
from regraft.report.collect import answered, gather
from regraft.report.fitted import beside
from regraft.run import Run
from tests.nets import small
from tests.pictures import write_folder
from tests.report.made import WISE
from tests.report.test_page import Reader

NET = small(0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("home")
    write_folder(home / "data", 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(home / "cache"))
        return regraft.fit(home / "data", NET, plan="probe", head="ridge").save(home / "run")


def test_it_is_the_page_that_is_made_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run.folder is not None
    monkeypatch.setenv("REGRAFT_CACHE", str(run.folder.parent / "cache"))
    first = (run.folder / "report.html").read_bytes()
    assert b"Grad-CAM" in first
    write(run.folder, backbone=NET)
    assert (run.folder / "report.html").read_bytes() == first


def test_pictures_are_explained_only_where_torch_is_there_anyway(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.answers is not None
    rows = answered(run.model, run.answers)
    assert rows.features is not None
    monkeypatch.delitem(sys.modules, "torch")
    made = gather(run.model, run.report, "", run.tried, rows)
    assert {one.overlay for one in (*made.hard, *made.unsure)} == {None}
    assert "torch" not in sys.modules


def test_a_run_without_test_rows_has_a_page(run: Run) -> None:
    report = run.report | {"test": None}
    (page,) = beside(run.model, report, run.settings, run.tried, None).values()
    assert "No accuracy is known" in Reader(page).text


def test_what_leaves_the_data_leaves_the_page(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "data", 10)
    made = regraft.fit(tmp_path / "data", NET, plan="probe", head="ridge").save(tmp_path / "run")
    assert made.folder is not None
    assert (made.folder / "report.html").exists()
    name = made.ledger.part("test")[0].id
    remove(made.folder, [str(tmp_path / "data" / name)], backbone=NET)
    assert not (made.folder / "report.html").exists()
    write(made.folder, backbone=NET)
    assert name not in Reader((made.folder / "report.html").read_bytes()).text


def test_a_training_has_its_curves_and_its_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "data", 10)
    made = regraft.fit(tmp_path / "data", NET, plan="lpft", settings={"epochs": 2, "batch": 8})
    assert made.answers is not None
    rows = answered(made.model, made.answers)
    assert rows.features is not None
    said = made.model.head.probabilities(rows.features)
    assert np.allclose(said, rows.probabilities, atol=1e-5)
    kept = made.save(tmp_path / "run").folder
    assert kept is not None
    page = Reader((kept / "report.html").read_bytes())
    ids = {one["id"] for one in page.of("section")}
    assert {"overfitting", "wise", "map"} <= ids
    assert "Plan lpft." in page.text
    assert (kept / "wise.svg").read_bytes().startswith(b"<?xml")


def test_the_picture_of_wise_ft_is_a_file_too(run: Run) -> None:
    report = run.report | {"training": {"plan": "lpft", "wise": WISE}}
    one, two = (beside(run.model, report, run.settings, [], run.answers) for _ in range(2))
    assert sorted(one) == ["report.html", "wise.svg"]
    assert one == two
    found = re.search(rb"<title>(.*?)</title>", one["wise.svg"], re.DOTALL)
    assert found is not None
    assert b"Chosen is alpha 0.5: accuracy 0.840, log-loss 0.460." in found[1]
    assert b"var(--" not in one["wise.svg"]
