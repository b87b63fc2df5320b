"""Features as files: what the suffix says, labelled or not."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from regraft.data import images
from regraft.embed import embed
from regraft.errors import DataError, OptionError
from tests.pictures import picture, write_folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_folder(tmp_path / "data", 2)
    return tmp_path


def test_each_suffix_holds_the_same(home: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    said = [embed(home / "data", home / f"f{kind}") for kind in (".parquet", ".csv", ".npz")]
    assert [one["rows"] for one in said] == [6, 6, 6]
    table = parquet.read_table(home / "f.parquet")
    features = np.array(table["features"].to_pylist(), np.float32)
    with np.load(home / "f.npz", allow_pickle=False) as arrays:
        assert arrays["ids"].tolist() == table["id"].to_pylist()
        assert arrays["labels"].tolist() == table["label"].to_pylist()
        assert arrays["digests"].tolist() == table["digest"].to_pylist()
        assert np.array_equal(arrays["features"], features)
        assert str(arrays["backbone"]) == said[0]["backbone"]
    rows = list(csv.DictReader(io.StringIO((home / "f.csv").read_text())))
    assert [row["id"] for row in rows] == table["id"].to_pylist()
    numbers = np.array([[row[f"f{k}"] for k in range(said[0]["width"])] for row in rows])
    assert np.array_equal(numbers.astype(np.float32), features)


@pytest.mark.parametrize("name", ["f.npy", "f", "f.txt", "f.csv.gz"])
def test_another_suffix_is_refused_at_once(home: Path, name: str) -> None:
    with pytest.raises(OptionError, match=r"must end in \.parquet, \.csv, \.npz"):
        embed(home / "nowhere", home / name)


def test_images_without_class_folders(home: Path) -> None:
    (home / "flat").mkdir()
    for number in range(3):
        picture("dots", number).save(home / "flat" / f"{number}.png")
    said = embed(home / "flat", home / "f.npz")
    assert said["rows"] == 3
    with np.load(home / "f.npz") as arrays:
        assert arrays["labels"].tolist() == ["", "", ""]
        assert [Path(name).name for name in arrays["ids"]] == ["0.png", "1.png", "2.png"]


def test_images_beside_class_folders_are_still_named(home: Path) -> None:
    picture("dots", 900).save(home / "data" / "outside.png")
    said = embed(home / "data", home / "f.npz")
    assert said["rows"] == 6
    assert said["skipped"] == [{"file": "outside.png", "reason": "lies outside the class folders"}]


def test_a_data_set_and_an_empty_folder(home: Path) -> None:
    assert embed(images(home / "data"), home / "f.npz")["rows"] == 6
    (home / "empty").mkdir()
    with pytest.raises(DataError, match="no images in"):
        embed(home / "empty", home / "g.npz")
