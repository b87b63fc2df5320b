"""Hugging Face data sets in memory."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from regraft.data import decoder, images
from regraft.errors import DataError
from regraft.inputs import ImageSpec

datasets = pytest.importorskip("datasets")


def picture(level: int) -> Image.Image:
    return Image.new("RGB", (12, 12), (level, 0, 0))


def png(level: int) -> bytes:
    out = io.BytesIO()
    picture(level).save(out, "PNG")
    return out.getvalue()


def made(cells: list[object], labels: list[object], label_feature=None, image=True):
    features = datasets.Features(
        {
            "image": datasets.Image() if image else datasets.Value(image_type(cells)),
            "label": label_feature or datasets.ClassLabel(names=["bee", "ant"]),
        }
    )
    return datasets.Dataset.from_dict({"image": cells, "label": labels}, features=features)


def image_type(cells: list[object]) -> str:
    return "binary" if isinstance(cells[0], bytes) else "string"


def levels(data) -> list[int]:
    spec = ImageSpec((8, 8))
    return [int(decoder("image").decode(e.read(), spec)[0][4, 4, 0]) for e in data.examples]


def test_pictures_bytes_and_paths(tmp_path) -> None:
    (tmp_path / "c.png").write_bytes(png(30))
    forms = [
        made([picture(10), picture(20), picture(30)], [0, 1, 0]),
        made([{"bytes": png(v), "path": None} for v in (10, 20, 30)], [0, 1, 0]),
        made([png(10), png(20), png(30)], [0, 1, 0], image=False),
        made(
            [{"bytes": png(10)}, {"bytes": png(20)}, {"path": str(tmp_path / "c.png")}], [0, 1, 0]
        ),
    ]
    for form in forms:
        column = {"path_column": "image"}
        data = images(form, **column)
        assert [e.label for e in data.examples] == ["bee", "ant", "bee"]
        assert [e.id for e in data.examples] == ["row/0", "row/1", "row/2"]
        assert levels(data) == [10, 20, 30]
        assert data.classes == ("ant", "bee")


def test_parts_of_a_dict_and_other_labels() -> None:
    text = datasets.Value("string")
    whole = datasets.DatasetDict(
        train=made([picture(1), picture(2)], ["01", "NA"], text),
        validation=made([picture(3)], ["01"], text),
        test=made([picture(4)], [None], text),
    )
    data = images(whole)
    assert {e.id: (e.label, e.split) for e in data.examples} == {
        "train/0": ("01", "train"),
        "train/1": ("NA", "train"),
        "validation/0": ("01", "val"),
    }
    assert [(s.file, s.reason) for s in data.skipped] == [("test/0", "has no label")]


def test_unlabelled_rows_and_missing_pictures_are_reported() -> None:
    data = images(made([picture(1), picture(2), picture(3), None], [0, 1, -1, 0]))
    assert [(s.file, s.reason) for s in data.skipped] == [
        ("row/2", "has no label"),
        ("row/3", "has no image"),
    ]


def test_paths_that_are_no_local_file_are_not_fetched() -> None:
    cells = [{"path": p} for p in ("https://example.org/a.png", "zip://a::b.zip", "gone.png")]
    data = images(made([*cells, picture(1), picture(2)], [0, 1, 0, 1, 0]))
    assert [s.reason for s in data.skipped] == ["not a file on this machine"] * 3
    assert len(data) == 2


def test_a_split_column_of_one_data_set() -> None:
    one = made([picture(1), picture(2), picture(3)], [0, 1, 0])
    data = images(one.add_column("split", ["train", "train", "test"]))
    assert [e.split for e in data.examples] == ["train", "train", "test"]


def test_format_of_the_user_does_not_matter() -> None:
    data = images(made([picture(10), picture(20)], [0, 1]).with_format("numpy"))
    assert levels(data) == [10, 20]


def message(data, **columns) -> str:
    with pytest.raises(DataError) as caught:
        images(data, **columns)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_errors() -> None:
    one = made([picture(1), picture(2)], [0, 1])
    assert "no column 'labels' for the label; it has 'image', 'label'" in message(
        one, label_column="labels"
    )
    text = one.rename_column("image", "x").cast_column("x", datasets.Image(decode=False))
    assert len(images(text)) == 2, "the only column of pictures need not be named"
    assert "no image column 'path'" in message(one.remove_columns("image"))
    assert "must be named train, val or test" in message(datasets.DatasetDict(part=one))
    assert "('row/0': has no label)" in message(made([picture(1)], [-1]))


@pytest.mark.slow
def test_streams_are_refused() -> None:
    assert "streaming=False" in message(made([picture(1)], [0]).to_iterable_dataset())


def test_lists_of_labels_are_refused() -> None:
    rows = {"image": [b"a", b"b"], "label": [["ant", "bee"], ["ant"]]}
    assert "have several labels (the column 'label' holds lists)" in message(
        datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    )


def test_a_label_by_another_of_its_names() -> None:
    rows = {"image": [b"a", b"b"], "class": ["ant", "bee"]}
    found = images(datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()))
    assert found.classes == ("ant", "bee")
    assert "the column 'class' is taken for the label" in " ".join(found.notes)
