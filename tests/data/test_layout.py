"""Which top folders are parts of a split, and which pictures have no class folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from regraft.auditing import audit
from regraft.data import images
from regraft.data.partnames import part_name
from regraft.errors import DataError
from tests.audited import adds_up
from tests.data.test_listing import reasons, tree
from tests.pictures import write_folder


def both(root: Path, *parts: str) -> Path:
    """Two classes in each of these parts."""
    names = [f"{part}/{k}/{n}.png" for n, part in enumerate(parts) for k in ("ants", "bees")]
    return tree(root, *names)


@pytest.mark.parametrize(
    ("parts", "splits"),
    [
        (("train", "test"), {"train", "test"}),
        (("TRAIN", "Test"), {"train", "test"}),
        (("training_set", "test_set"), {"train", "test"}),
        (("seg_train", "seg_test"), {"train", "test"}),
        (("seg_train/seg_train", "seg_test/seg_test"), {"train", "test"}),
        (("train2017", "val2017"), {"train", "val"}),
        (("Training", "Testing"), {"train", "test"}),
        (("training", "validation", "evaluation"), {"train", "val", "test"}),
        (("train", "dev", "eval"), {"train", "val", "test"}),
        (("trainset", "testset"), {"train", "test"}),
        (("TrainImages", "ValidImages"), {"train", "val"}),
        (("train", "valid"), {"train", "val"}),
        (("train-1", "train-2", "test"), {"train", "test"}),
    ],
)
def test_parts_as_the_field_spells_them(tmp_path, parts, splits) -> None:
    data = images(both(tmp_path, *parts))
    assert data.classes == ("ants", "bees")
    assert {e.split for e in data.examples} == splits
    assert len(data) == 2 * len(parts)
    assert data.notes == ()


@pytest.mark.parametrize(
    "names",
    [
        ("bus/1.png", "car/1.png", "training/1.png"),
        ("bus/1.png", "car/1.png", "test/1.png"),
        ("bus/day/1.png", "car/day/1.png", "training/day/1.png"),
        ("bus/day/1.png", "bus/night/1.png", "car/day/1.png", "train/day/1.png"),
        ("test_tube/1.png", "train_station/1.png"),
        ("crash_test/a/1.png", "train_station/a/1.png", "train_station/b/1.png"),
        ("latest/1.png", "contest/1.png"),
        ("test_train/1.png", "b/1.png"),
    ],
)
def test_classes_that_have_a_word_for_a_part_in_their_names(tmp_path, names) -> None:
    data = images(tree(tmp_path, *names))
    assert data.classes == tuple(sorted({name.partition("/")[0] for name in names}))
    assert {e.split for e in data.examples} == {None}


def test_a_name_with_two_parts_or_none_says_nothing() -> None:
    assert part_name("train_test") is None
    assert part_name("contest") is None
    assert part_name("seg_train") == ("train", "seg")


def test_two_folders_with_the_same_classes_look_like_parts(tmp_path) -> None:
    root = both(tmp_path, "train", "unseen")
    with pytest.raises(DataError, match="look like parts") as refused:
        images(root)
    assert f"regraft fit {root}/train --test {root}/unseen" in str(refused.value)
    assert "hold the same folders ('ants', 'bees')" in str(refused.value)


def test_folders_with_the_same_folders_may_be_classes_and_are_asked_about(tmp_path) -> None:
    data = images(both(tmp_path, "healthy", "ill"))
    assert data.classes == ("healthy", "ill")
    (note,) = data.notes
    assert "'healthy' and 'ill' hold the same folders ('ants', 'bees')" in note


@pytest.mark.parametrize("where", ["test", "test/test", "test/unknown", "test/Unlabelled", "val"])
def test_a_part_without_class_folders_is_not_scored(tmp_path, where: str) -> None:
    root = tree(both(tmp_path, "train"), *(f"{where}/{n}.png" for n in range(3)))
    data = images(root)
    assert data.classes == ("ants", "bees")
    assert {e.split for e in data.examples} == {"train"}
    assert data.ignored == 3
    assert data.skipped == ()
    (note,) = data.notes
    assert "3 images of " in note
    assert f"'regraft predict RUN {root}/{where.partition('/')[0]}'" in note


@pytest.mark.parametrize("where", ["seg_pred", "seg_pred/seg_pred"])
def test_a_folder_beside_the_parts_without_classes_is_unlabelled(tmp_path, where: str) -> None:
    data = images(tree(both(tmp_path, "seg_train", "seg_test"), f"{where}/1.png"))
    assert (len(data), data.ignored, data.skipped) == (4, 1, ())
    assert "1 image of seg_pred/ has no class folder" in data.notes[0]


def test_unlabelled_images_beside_train_are_no_class(tmp_path) -> None:
    root = tree(both(tmp_path, "train"), "later/1.png")
    with pytest.raises(DataError, match=f"'regraft fit {root}/train', then 'regraft predict RUN"):
        images(root)


def test_one_class_folder_of_a_test_part_is_a_class(tmp_path) -> None:
    data = images(tree(both(tmp_path, "train"), "test/bees/9.png", "test/9.png"))
    assert [e.label for e in data.part("test")] == ["bees"]
    assert reasons(data) == {"test/9.png": "lies outside the class folders"}


def test_counts_add_up_with_empty_folders_and_unlabelled_pictures(tmp_path) -> None:
    root = write_folder(tmp_path / "data", 3, parts=("train",))
    tree(root, "test/1.png", "test/2.png")
    (root / "train" / "empty").mkdir()
    found = audit(root)
    adds_up(found)
    assert (found.seen, found.used, found.ignored) == (11, 9, 2)
    assert found.skipped == ()
    assert [note for note in found.notes if "'train/empty' holds no image" in note]
