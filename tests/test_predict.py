"""Answers stand where their inputs stood, however these came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regraft
import regraft.data.requests
from regraft.errors import DataError
from tests.nets import small
from tests.pictures import picture, write_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> regraft.model.Model:
    data = write_folder(tmp_path_factory.mktemp("drawn") / "data", 6)
    return regraft.fit(data, small(), plan="probe", geometry="crop", near=False).model


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"{name}.png" for name in "zam"]
    for number, path in enumerate(made):
        picture(("dots", "checks", "stripes")[number], 90 + number).save(path)
    return made


def test_repeats_and_what_cannot_be_read_keep_their_places(model, paths: list[Path]) -> None:
    broken = paths[0].with_name("b.png")
    broken.write_bytes(paths[0].read_bytes()[:200])
    gone = paths[0].with_name("c.png")
    asked = [paths[0], gone, paths[1], paths[0], broken, broken, paths[2]]
    said = model.predict(asked)
    assert [Path(one.file) for one in said] == asked
    assert [bool(one.error) for one in said] == [False, True, False, False, True, True, False]
    assert {one.label for one in said if one.error} == {None}
    for place in (0, 2, 3, 6):
        assert said[place].probabilities == model.predict(asked[place])[0].probabilities


def test_an_iterator_is_answered_in_order_while_it_goes(
    model, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regraft.data.requests, "MOST_ITEMS", 2)
    events: list[object] = []

    def given():
        for path in paths:
            events.append(path.stem)
            yield np.asarray(Image.open(path))

    said = model.predict(given(), progress=lambda done, total: events.append(done))
    assert [one.file for one in said] == ["input 0", "input 1", "input 2"]
    truth = model.predict(paths)
    assert [one.probabilities for one in said] == [one.probabilities for one in truth]
    assert events == ["z", "a", 1, 2, "m", 3], "the third was drawn when two were done"


def test_a_file_named_as_an_input_is_answered_for_itself(
    model, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(paths[0].parent)
    paths[1].rename("input 0")
    first, second = model.predict([paths[0].read_bytes(), "input 0"])
    assert first.file == second.file == "input 0"
    assert first.probabilities == model.predict(paths[0])[0].probabilities
    assert first.probabilities != second.probabilities


def test_rows_without_an_image_keep_their_places(model, paths: list[Path]) -> None:
    datasets = pytest.importorskip("datasets")
    cells = [str(paths[0]), None, str(paths[2])]
    table = datasets.Dataset.from_dict({"image": cells}).cast_column("image", datasets.Image())
    said = model.predict(table)
    assert [one.error for one in said] == ["", "has no image", ""]
    assert said[2].probabilities == model.predict(paths[2])[0].probabilities


@pytest.mark.parametrize("inputs", ["", ["a.png", ""], [], iter([]), None])
def test_nothing_is_never_the_current_folder(
    model, inputs: object, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(paths[0].parent)
    with pytest.raises(DataError):
        model.predict(inputs)
