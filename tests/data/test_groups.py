"""Groups: by a table's column or a pattern in the path, and never half a group."""

from __future__ import annotations

from pathlib import Path

import pytest

from regraft.data.dataset import Dataset, Example
from regraft.data.groups import grouped
from regraft.data.sources import labelled
from regraft.errors import DataError, OptionError
from tests.pictures import picture


def data(*names: str) -> Dataset:
    return Dataset("here", "image", tuple(Example(n, Path(n), "a") for n in names), ("a",))


def groups(found: Dataset) -> list[str]:
    return [example.group for example in found.examples]


def test_a_pattern_finds_what_its_parentheses_match() -> None:
    found = grouped(data("a/patient07_2.png", "b/patient12_1.png"), r"(patient\d+)_")
    assert groups(found) == ["patient07", "patient12"]


def test_a_pattern_without_parentheses_finds_its_match() -> None:
    assert groups(grouped(data("a/cam1-x.png", "a/cam2-y.png"), r"cam\d")) == ["cam1", "cam2"]


def test_the_first_parentheses_that_match_count() -> None:
    assert groups(grouped(data("p1.png", "q2.png"), r"(p\d)|(q\d)")) == ["p1", "q2"]


def test_a_path_that_does_not_match_is_named() -> None:
    with pytest.raises(OptionError, match=r"'a/stray\.png' does not match"):
        grouped(data("a/cam1.png", "a/stray.png"), r"cam\d")


def test_no_pattern_is_refused_in_a_sentence() -> None:
    with pytest.raises(OptionError, match="neither a column of 'here' nor a pattern"):
        grouped(data("a.png"), "(cam")


def table(folder: Path, header: str, *rows: str) -> Path:
    for name in ("1.png", "2.png", "3.png"):
        picture("dots", int(name[0])).save(folder / name)
    path = folder / "list.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_column_of_a_table_is_the_group(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label,patient", "1.png,a,007", "2.png,b,8", "3.png,a,")
    found = labelled(str(path), "image", group="patient")
    assert groups(found) == ["007", "8", ""]  # as written; an empty cell belongs to nothing


def test_without_a_name_no_column_is_the_group(tmp_path: Path) -> None:
    """pandas writes the index into a column whose name is empty."""
    path = table(tmp_path, ",path,label", "0,1.png,a", "1,2.png,b", "0,3.png,a")
    assert groups(labelled(str(path), "image")) == ["", "", ""]


def test_an_empty_column_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label,patient", "1.png,a,", "2.png,b,")
    with pytest.raises(DataError, match=r"column 'patient' of '.*' names no group"):
        labelled(str(path), "image", group="patient")


def test_an_empty_name_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label", "1.png,a", "2.png,b")
    for found in (str(path), data("a.png")):
        with pytest.raises(OptionError, match="got an empty text"):
            labelled(found, "image", group="")


def test_a_column_wins_over_the_same_pattern_and_else_the_pattern_is_used(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label,png", "1.png,a,x", "2.png,b,y", "3.png,a,y")
    assert groups(labelled(str(path), "image", group="png")) == ["x", "y", "y"]
    assert groups(labelled(str(path), "image", group=r"^\d")) == ["1", "2", "3"]


def test_a_data_set_from_memory_is_grouped_by_a_pattern() -> None:
    found = labelled(data("cam1/a.png", "cam2/b.png"), "image", group=r"^cam\d")
    assert groups(found) == ["cam1", "cam2"]


def test_a_column_of_a_hugging_face_data_set_is_the_group(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    paths = []
    for number in range(3):
        paths.append(str(tmp_path / f"{number}.png"))
        picture("dots", number).save(paths[-1])
    rows = {"image": paths, "label": ["a", "b", "a"], "patient": [1, 2, 2]}
    made = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    assert groups(labelled(made, "image", group="patient")) == ["1", "2", "2"]
