"""What a person should know of the data, in sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from regraft.auditing import audit
from regraft.errors import DataError
from tests.audited import adds_up, fill, flat_data, parted_data
from tests.data.drawn import saved
from tests.data.scenes import copies, scene


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return flat_data(tmp_path / "flat")


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    return parted_data(tmp_path / "parted")


def notes_of(root: Path) -> str:
    found = audit(root)
    adds_up(found)
    return "\n".join(found.notes)


def test_one_class_and_one_example(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "only", 0, 1)
    said = notes_of(tmp_path / "a")
    assert "only one class to learn, 'only'" in said
    assert "the class 'only' has one image to learn from only" in said


def test_all_files_bad(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").write_bytes(b"text")
    found = audit(tmp_path)
    adds_up(found)
    assert (found.used, len(found.skipped)) == (0, 2)
    assert found.classes == {"ant": {}, "bee": {}}
    assert "no image can be read" in found.notes[-1]
    assert found.groups is None
    with pytest.raises(DataError, match="2 of 2 files cannot be used"):
        found.refuse()


def test_a_class_whose_files_are_all_bad(flat: Path) -> None:
    (flat / "rotten").mkdir()
    (flat / "rotten" / "0.jpg").write_bytes(b"")
    assert "no file of the class 'rotten' can be read" in notes_of(flat)
    assert audit(flat).classes["rotten"] == {"unsplit": 0}


def test_empty_class_folders_below_parts_are_named_too(parted: Path) -> None:
    (parted / "train" / "wasp").mkdir()
    (parted / "test" / "wasp" / "deep").mkdir(parents=True)
    found = audit(parted)
    adds_up(found)
    assert found.skipped == (), "folders are no files: they are named in notes"


def test_a_class_that_training_lacks(parted: Path) -> None:
    fill(parted / "test" / "wasp", 700, 2)
    assert "the class 'wasp' is to be tested on but has no image to learn from" in notes_of(parted)


def test_imbalance_and_few(tmp_path: Path) -> None:
    fill(tmp_path / "many", 0, 42)
    fill(tmp_path / "few", 100, 2)
    said = notes_of(tmp_path)
    assert "far from balanced: 42 images of 'many' and 2 of 'few'" in said
    assert "the class 'few' has fewer than 5 images" in said


def test_identical_pictures(tmp_path: Path) -> None:
    for number, kind in enumerate(("PNG", "BMP", "PNG")):
        folder = tmp_path / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.{kind.lower()}").write_bytes(saved(Image.new("RGB", (60, 60)), kind))
    assert "all images are the same picture" in notes_of(tmp_path)
    found = audit(tmp_path)
    assert found.groups is not None
    assert len(set(found.groups.tolist())) == 1


def test_a_class_that_looks_like_one_picture(flat: Path) -> None:
    for name, data in copies(scene(900)).items():
        (flat / "one").mkdir(exist_ok=True)
        (flat / "one" / f"{name}.jpg").write_bytes(data)
    assert "all images of the class 'one' look like one picture, so they stay" in notes_of(flat)
    fill(flat / "one", 910, 1)
    assert "look like one picture" not in notes_of(flat)


def test_tiny_and_elongated_pictures(flat: Path) -> None:
    scene(31, 20, 25).save(flat / "ant" / "tiny.png")
    scene(32, 900, 100).save(flat / "ant" / "long.png")
    said = notes_of(flat)
    assert "1 image is under 32 pixels high or wide (the smallest, ant/tiny.png, 20 x 25)" in said
    assert "1 image is more than 3 times as long as wide" in said
    assert "ant/long.png, 900 x 100" in said
