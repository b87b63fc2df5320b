"""The page of a saved run: from the cache, from the pictures, and with neither."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import regraft
from regraft.cachedir import cache_dir
from regraft.errors import BundleError, OptionError, RegraftError
from regraft.report import write
from regraft.report.folder import collect
from tests.nets import small
from tests.pictures import write_folder
from tests.report.made import comparison
from tests.report.test_page import Reader

NET = small(0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, the cache and a run."""
    home = tmp_path_factory.mktemp("home")
    write_folder(home / "data", 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(home / "cache"))
        run = regraft.fit(home / "data", NET, at="auto", plan="probe")
        run.save(home / "run")
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same at the same paths, to be spoiled."""
    kept = tmp_path / "kept"
    shutil.copytree(made, kept)
    monkeypatch.setenv("REGRAFT_CACHE", str(made / "cache"))
    yield made
    shutil.rmtree(made)
    shutil.copytree(kept, made)


def test_a_page_is_written_into_the_run(home: Path) -> None:
    told = write(home / "run", backbone=NET)
    page = (home / "run" / "report.html").read_bytes()
    assert told["page"] == str(home / "run" / "report.html")
    assert told["bytes"] == len(page)
    assert told["sections"] == [
        "accuracy", "plan", "confusion", "classes", "depths", "calibration", "map", "examples",
        "audit", "again", "cost",
    ]  # fmt: skip
    assert told["missing"] == []
    score = json.loads((home / "run" / "report.json").read_text())["test"]["accuracy"]
    assert f"{100 * score:.1f}\xa0%" in Reader(page).text
    write(home / "run", home / "again.html", backbone=NET)
    assert (home / "again.html").read_bytes() == page


def test_probabilities_are_those_that_were_scored(home: Path) -> None:
    material = collect(home / "run", backbone=NET, explain=False)
    rows, test = material.rows, material.report["test"]
    assert rows is not None
    assert len(rows.names) == test["n"]
    assert (rows.truth == rows.answer).mean() == pytest.approx(test["accuracy"])
    picked = rows.probabilities[np.arange(len(rows.names)), rows.truth]
    assert -np.log(picked).mean() == pytest.approx(test["log_loss"], rel=1e-4)


def test_pictures_are_explained_unless_that_is_not_wanted(home: Path) -> None:
    assert all(one.overlay is None for one in shown(home))
    told = collect(home / "run", backbone=NET)
    assert sum(one.overlay is not None for one in (*told.hard, *told.unsure)) > 0


def test_without_its_pictures_it_is_made_from_the_cache_and_says_so(home: Path) -> None:
    before = collect(home / "run", backbone=NET, explain=False)
    shutil.rmtree(home / "data")
    made = collect(home / "run", backbone=NET)
    assert before.missing == ()
    assert made.rows is not None
    assert before.rows is not None
    assert np.array_equal(made.rows.probabilities, before.rows.probabilities)
    assert made.hard == made.unsure == ()
    assert len(made.missing) == 1
    assert "The pictures are no longer where they were" in made.missing[0]


def test_without_the_cache_it_is_made_from_the_pictures(home: Path) -> None:
    before = collect(home / "run", backbone=NET, explain=False)
    shutil.rmtree(cache_dir() / "activations")
    made = collect(home / "run", backbone=NET, explain=False)
    assert made.rows is not None
    assert before.rows is not None
    assert made.rows.names == before.rows.names
    # Other stages among the outputs round otherwise, most where the network runs in bf16.
    assert np.allclose(made.rows.probabilities, before.rows.probabilities, atol=1e-2)
    assert made.missing == ()


def test_without_either_the_scores_are_left(home: Path) -> None:
    shutil.rmtree(cache_dir() / "activations")
    shutil.rmtree(home / "data")
    told = write(home / "run", backbone=NET)
    assert {"confusion", "classes", "depths"} <= set(told["sections"])
    assert {"calibration", "map"}.isdisjoint(told["sections"])
    assert "are gone" in told["missing"][0]


def test_a_picture_that_is_another_by_now_is_not_shown(home: Path) -> None:
    first = shown(home)[0].name
    other = next(p for p in sorted((home / "data").rglob("*.png")) if not str(p).endswith(first))
    (home / "data" / first).write_bytes(other.read_bytes())
    made = collect(home / "run", backbone=NET, explain=False)
    assert first not in {one.name for one in (*made.hard, *made.unsure)}
    assert made.rows is not None
    assert first in made.rows.names  # its activations are those of the picture that was scored


def shown(home: Path) -> list:
    material = collect(home / "run", backbone=NET, explain=False)
    found = [*material.hard, *material.unsure]
    assert found
    return found


def test_the_hard_ones_are_wrong_and_sure_the_others_close(home: Path) -> None:
    material = collect(home / "run", backbone=NET, explain=False)
    assert all(one.label != one.answer for one in material.hard)
    sure = [one.sure for one in material.hard]
    assert sure == sorted(sure, reverse=True)
    apart = [one.sure - one.next[1] for one in material.unsure]
    assert apart == sorted(apart)
    assert {one.name for one in material.hard}.isdisjoint(one.name for one in material.unsure)


def test_a_comparison_gets_its_page(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text(json.dumps(comparison()))
    told = write(tmp_path)
    text = Reader((tmp_path / "report.html").read_bytes()).text
    assert "Not significantly different from the best: probe." in text
    assert told["sections"] == ["accuracy", "cost", "arms", "overfitting", "left", "notes"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: shutil.rmtree(run), "does not exist"),
        (lambda run: shutil.rmtree(run / "bundle"), "neither a run nor a comparison"),
        (lambda run: (run / "report.json").unlink(), "neither a run nor a comparison"),
        (lambda run: (run / "report.json").write_text("{"), "must be what regraft wrote"),
        (lambda run: (run / "report.json").write_text("[]"), "must be what regraft wrote"),
        (lambda run: (run / "report.json").write_text('{"run": 3}'), "must be what regraft wrote"),
        (lambda run: (run / "tried.json").write_text('{"a": 3}'), "must be what regraft wrote"),
        (lambda run: (run / "run.toml").unlink(), "run.toml is not what 'regraft fit' wrote"),
    ],
)
def test_what_is_no_run_is_one_sentence(home: Path, spoil: object, said: str) -> None:
    spoil(home / "run")  # type: ignore[operator]
    with pytest.raises(RegraftError) as caught:
        write(home / "run", backbone=NET)
    assert said in str(caught.value)
    assert isinstance(caught.value, BundleError | OptionError)
    assert not re.search(r"\n", str(caught.value))


def test_a_spoiled_comparison_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text('{"arms": 3}')
    with pytest.raises(BundleError, match="must be what regraft wrote"):
        write(tmp_path)
    (tmp_path / "comparison.json").write_text(json.dumps(comparison()))
    with pytest.raises(OptionError, match=r"/proc/none/x\.html cannot be written"):
        write(tmp_path, "/proc/none/x.html")
