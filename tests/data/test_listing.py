"""Folders, lists and single files: what is found, what is left out and why."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest
from PIL import Image

from regraft.data import files, images
from regraft.data.links import BROKEN, OUT
from regraft.errors import DataError


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path, "PNG")
    return path


def tree(root: Path, *names: str) -> Path:
    for name in names:
        picture(root / name)
    return root


def reasons(data) -> dict[str, str]:
    return {skip.file: skip.reason for skip in data.skipped}


def test_flat_class_folders(tmp_path) -> None:
    data = images(tree(tmp_path, "bee/2.png", "ant/b.jpg", "ant/deep/er/a.PNG"))
    assert data.classes == ("ant", "bee")
    assert [(e.id, e.label, e.split) for e in data.examples] == [
        ("ant/b.jpg", "ant", None),
        ("ant/deep/er/a.PNG", "ant", None),
        ("bee/2.png", "bee", None),
    ]
    assert data.root == tmp_path.as_posix()
    assert data.modality == "image"
    assert data.examples[0].read() == (tmp_path / "ant/b.jpg").read_bytes()


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_split_folders(tmp_path, name: str) -> None:
    data = images(
        tree(tmp_path, "train/a/1.png", "train/b/1.png", f"{name}/a/2.png", "test/c/3.png")
    )
    assert [(e.label, e.split) for e in data.examples if e.split != "train"] in (
        [("a", "val"), ("c", "test")],
        [("c", "test"), ("a", "val")],
    )
    assert len(data.part("train")) == 2
    assert data.classes == ("a", "b", "c"), "a class that only the test part has is listed"


def test_only_a_test_part(tmp_path) -> None:
    data = images(tree(tmp_path, "test/a/1.png", "test/b/1.png"))
    assert {e.split for e in data.examples} == {"test"}


def test_train_and_test_can_be_classes(tmp_path) -> None:
    data = images(tree(tmp_path, "train/1.png", "bus/1.png", "car/1.png"))
    assert data.classes == ("bus", "car", "train")
    assert {e.split for e in data.examples} == {None}


def test_a_folder_beside_the_parts_is_reported(tmp_path) -> None:
    data = images(tree(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "extra/x/1.png"))
    assert reasons(data) == {"extra/x/1.png": "lies beside train/, val/ and test/"}


def test_class_names_are_verbatim_and_sorted_as_text(tmp_path) -> None:
    names = ["10", "2", "01", "NA", "null", "é 🐝", "-rf", "$(x)", "<script>", "con", "x" * 120]
    data = images(tree(tmp_path, *(f"{name}/1.png" for name in names)))
    assert data.classes == tuple(sorted(names))


def test_litter_is_ignored_and_counted(tmp_path) -> None:
    tree(tmp_path, "a/1.png", "b/1.png", ".hidden/1.png", "__MACOSX/a/1.png", "a/._1.png")
    tree(tmp_path, ".ipynb_checkpoints/1.png", "a/.ipynb_checkpoints/1.png")
    for name in ("a/Thumbs.db", "a/.DS_Store", "b/notes.txt", "README.md"):
        (tmp_path / name).write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "only_text").mkdir()
    (tmp_path / "only_text/1.txt").write_text("x")
    data = images(tmp_path)
    assert data.classes == ("a", "b")
    assert len(data) == 2
    # The entries above, a hidden folder counting once, and 1.txt.
    assert data.ignored == 10
    assert reasons(data) == {"empty/": "holds no image", "only_text/": "holds no image"}


def test_images_outside_class_folders_are_reported(tmp_path) -> None:
    data = images(tree(tmp_path, "a/1.png", "b/1.png", "stray.png"))
    assert reasons(data) == {"stray.png": "lies outside the class folders"}


def test_bad_content_is_listed_and_left_to_the_decoder(tmp_path) -> None:
    tree(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a/broken.jpg").write_bytes(b"")
    (tmp_path / "a/drawing.svg").write_text("<svg/>")
    assert len(images(tmp_path)) == 4


def test_a_file_without_suffix_is_an_image_if_it_starts_like_one(tmp_path) -> None:
    tree(tmp_path, "a/1.png", "b/1.png", "b/IMG_0001")
    (tmp_path / "b/LICENSE").write_text("text")
    data = images(tmp_path)
    assert [e.id for e in data.examples if e.label == "b"] == ["b/1.png", "b/IMG_0001"]
    assert data.ignored == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Unix files")
@pytest.mark.timeout(60)
def test_links_pipes_and_devices_are_not_opened(tmp_path) -> None:
    outside = tree(tmp_path / "outside", "secret.png")
    root = tree(tmp_path / "data", "a/1.png", "b/1.png")
    (root / "a/out.png").symlink_to(outside / "secret.png")
    (root / "a/inside.png").symlink_to(root / "b/1.png")
    (root / "a/broken.png").symlink_to("nowhere")
    (root / "a/self.png").symlink_to("self.png")
    (root / "a/zero.png").symlink_to("/dev/zero")
    (root / "loop").symlink_to("..")
    (root / "c").symlink_to(outside)
    os.mkfifo(root / "a/pipe.png")
    os.mkfifo(root / "a/pipe")
    (root / "a/folder.png").mkdir()
    data = images(root)
    assert [e.id for e in data.examples] == ["a/1.png", "a/inside.png", "b/1.png"]
    assert data.examples[1].source == (root / "b/1.png").resolve(), "resolved when it was listed"
    assert reasons(data) == {
        "a/broken.png": BROKEN,
        "a/out.png": OUT,
        "a/self.png": BROKEN,
        "a/zero.png": OUT,
        "c": OUT,
        "loop": OUT,
        "a/pipe.png": "a pipe, not a file",
    }
    assert data.ignored == 1, "the pipe without a suffix"


@pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")
def test_a_socket_is_not_opened(tmp_path, monkeypatch) -> None:
    tree(tmp_path, "a/1.png", "b/1.png")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("a/s.png")
        assert reasons(images(tmp_path)) == {"a/s.png": "a socket, not a file"}


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path) -> None:
    tree(tmp_path, "a/1.png", "b/1.png", "c/1.png")
    (tmp_path / "c").chmod(0)
    try:
        if os.access(tmp_path / "c", os.R_OK):
            pytest.skip("this user may read everything")
        assert "cannot be listed" in reasons(images(tmp_path))["c/"]
    finally:
        (tmp_path / "c").chmod(0o755)


def test_odd_names_are_kept_and_fit_into_json(tmp_path) -> None:
    names = ["a\nb.png", "e\u0301.png", "\u00e9.png", "'\"%2e.png", "=1+1.png", "y" * 200 + ".png"]
    data = images(tree(tmp_path, "b/1.png", *(f"a/{name}" for name in names)))
    assert {e.id for e in data.examples} == {"b/1.png", *(f"a/{name}" for name in names)}


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_bytes_that_are_no_utf8_are_spelled_out(tmp_path) -> None:
    tree(tmp_path, "a/1.png", "b/1.png")
    for name in (b"a/caf\xe9.png", b"a/caf\\xe9.png"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"x")
    data = images(tmp_path)
    ids = [e.id for e in data.examples]
    assert r"a/caf\xe9.png" in ids
    json.dumps(ids, ensure_ascii=False).encode()
    assert reasons(data) == {r"a/caf\xe9.png": "another file's name reads the same"}
    assert all(e.read() for e in data.examples)


def test_order_of_creation_does_not_matter(tmp_path) -> None:
    names = [f"{c}/{i}.png" for c in "ab" for i in range(20)]
    one = images(tree(tmp_path / "x", *names))
    other = images(tree(tmp_path / "y", *reversed(names)))
    assert [e.id for e in one.examples] == [e.id for e in other.examples] == sorted(names)


def test_a_link_that_the_user_names_is_the_folder(tmp_path) -> None:
    root = tree(tmp_path / "real", "a/1.png", "b/1.png")
    (tmp_path / "link").symlink_to(root)
    assert len(images(tmp_path / "link")) == 2


def test_lists_of_pairs(tmp_path) -> None:
    tree(tmp_path, "1.png", "2.png")
    pairs = [(tmp_path / "2.png", "b"), (str(tmp_path / "1.png"), "a"), (tmp_path / "no.png", "a")]
    pairs.append((tmp_path / "1.png", "b"))
    data = images(pairs)
    assert [e.label for e in data.examples] == ["a", "b"]
    assert sorted(reasons(data).values()) == ["listed before, as 'a'", "no such file"]


def test_files_for_prediction(tmp_path) -> None:
    tree(tmp_path, "photos/b.png", "photos/deep/a.png", "one.xyz")
    (tmp_path / "photos/notes.txt").write_text("x")
    data = files([tmp_path / "photos", tmp_path / "one.xyz", tmp_path / "gone.png"])
    inside = [Path(e.id).relative_to(tmp_path).as_posix() for e in data.examples]
    assert inside == ["one.xyz", "photos/b.png", "photos/deep/a.png"]
    assert {e.label for e in data.examples} == {None}
    assert data.classes == ()
    assert reasons(data) == {(tmp_path / "gone.png").as_posix(): "no such file"}
    assert data.ignored == 1
    assert len(files(tmp_path / "one.xyz")) == 1
    assert len(files([tmp_path / "photos", tmp_path / "photos/b.png"])) == 2, "named twice"


def test_an_empty_folder_loses_no_answer(tmp_path) -> None:
    tree(tmp_path, "photos/1.png", "photos/2.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/x.txt").write_text("x")
    named = [tmp_path / "empty", tmp_path / "photos", tmp_path / "notes", tmp_path / "empty"]
    data = files(named)
    assert len(data) == 2
    assert reasons(data) == {
        (tmp_path / "empty").as_posix(): "no image in it",
        (tmp_path / "notes").as_posix(): "no image in it",
    }
    assert len(data.skipped) == 2, "named twice"
    assert [s.reason for s in files([tmp_path / "empty", tmp_path / "gone.png"]).skipped] == [
        "no image in it",
        "no such file",
    ]


def test_nothing_but_an_empty_folder_to_predict(tmp_path) -> None:
    with pytest.raises(DataError, match=r"no image to predict in '.*' \(it is empty\)") as caught:
        files(tmp_path)
    assert "<class>" not in str(caught.value)
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(DataError, match=r"to predict .*found 1 \.txt"):
        files([tmp_path])


@pytest.mark.skipif(sys.platform == "win32", reason="Unix files")
@pytest.mark.timeout(60)
def test_a_pipe_named_for_prediction_is_not_opened(tmp_path) -> None:
    os.mkfifo(tmp_path / "p.png")
    assert [s.reason for s in files(tmp_path / "p.png").skipped] == ["a pipe, not a file"]


def message(*args, **kwargs) -> str:
    with pytest.raises(DataError) as caught:
        images(*args, **kwargs)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_missing_folder_names_its_neighbour(tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    text = message(tmp_path / "photo")
    assert text.startswith(f"no such folder or table: '{(tmp_path / 'photo').as_posix()}'.")
    assert text.endswith(f"Did you mean '{(tmp_path / 'photos').as_posix()}'?")
    assert "Did you mean" not in message(tmp_path / "nothing/like/it")


def test_a_file_that_is_no_table(tmp_path) -> None:
    (tmp_path / "x.txt").write_text("x")
    assert "is neither a folder nor a table (.csv" in message(tmp_path / "x.txt")


def test_no_images(tmp_path) -> None:
    assert ": it is empty; expected" in message(tmp_path)
    for i in range(3):
        (tmp_path / f"{i}.npy").write_text("x")
    (tmp_path / "x.txt").write_text("x")
    text = message(tmp_path)
    assert ": found 3 .npy, 1 .txt; expected" in text
    assert f"{tmp_path.as_posix()}/<class>/<image>" in text


def test_only_links(tmp_path) -> None:
    (tmp_path / "a.png").symlink_to("/dev/zero")
    assert f"found 1 that cannot be used ('a.png': {OUT})" in message(tmp_path)


def test_one_class_is_named(tmp_path) -> None:
    tree(tmp_path, "ant/1.png", "ant/2.png", "empty.txt")
    assert "has 1 class to learn from ('ant'): at least 2 are needed" in message(tmp_path)
    assert images(tmp_path, least_classes=1).classes == ("ant",)


def test_classes_are_counted_in_the_training_part(tmp_path) -> None:
    tree(tmp_path, "train/ant/1.png", "test/ant/1.png", "test/bee/1.png")
    assert "1 class to learn from ('ant')" in message(tmp_path)


def test_images_directly_in_the_folder(tmp_path) -> None:
    tree(tmp_path, "1.png", "2.png")
    assert message(tmp_path).startswith("2 images lie directly in ")


def test_parts_without_class_folders(tmp_path) -> None:
    tree(tmp_path, "train/1.png", "test/2.png")
    assert "without class folders; expected" in message(tmp_path)


def test_neither_folder_nor_list() -> None:
    assert "not int" in message(3)
    assert "item 0 of the list must be (path, label), not 'ab'" in message(["ab"])
    assert "not ('x.png', 3)" in message([("x.png", 3)])
    assert "'gone.png', no such file" in message([("gone.png", "a")])


def test_no_files_named() -> None:
    with pytest.raises(DataError, match="no file named"):
        files([])
