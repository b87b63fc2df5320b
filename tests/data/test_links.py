"""Links in the data: followed within the folder and into a hub cache's blobs, nowhere else."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from regraft.data import files, images
from regraft.data.links import AGAIN, BROKEN, LOOP, NESTED, OUT
from tests.data.test_listing import picture, reasons, tree

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="links need a right there"),
    pytest.mark.timeout(60),
]


def hub(home: Path, repository: str = "datasets--me--shapes") -> Path:
    """A snapshot of two classes whose every file is a link into blobs."""
    snapshot = home / repository / "snapshots" / "a1b2c3"
    blobs = home / repository / "blobs"
    for label in ("ants", "bees"):
        for n in range(2):
            name = f"{label}/{n}.png"
            blob = picture(blobs / hashlib.sha256(name.encode()).hexdigest())
            link = snapshot / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def test_a_snapshot_of_a_hub_is_read_from_its_blobs(tmp_path) -> None:
    snapshot = hub(tmp_path)
    data = images(snapshot)
    assert data.classes == ("ants", "bees")
    assert [e.id for e in data.examples] == ["ants/0.png", "ants/1.png", "bees/0.png", "bees/1.png"]
    assert all(isinstance(e.source, Path) and not e.source.is_symlink() for e in data.examples)
    assert {e.source.parent.name for e in data.examples} == {"blobs"}
    assert data.skipped == ()
    assert len(files([snapshot / "ants"]).examples) == 2, "a folder of the snapshot likewise"


def test_a_folder_that_only_looks_like_a_snapshot_opens_nothing(tmp_path) -> None:
    snapshot = hub(tmp_path, "notes")
    picture(snapshot / "ants" / "a.png")
    picture(snapshot / "bees" / "b.png")
    data = images(snapshot)
    assert len(data) == 2
    assert set(reasons(data).values()) == {OUT}


def test_blobs_of_another_repository_stay_closed(tmp_path) -> None:
    snapshot, other = hub(tmp_path), hub(tmp_path, "datasets--you--secrets")
    blob = (other / "ants/0.png").resolve()
    (snapshot / "ants/stolen.png").symlink_to(blob)
    (snapshot / "ants/up.png").symlink_to(snapshot.parents[1] / "refs")
    assert reasons(images(snapshot)) == {"ants/stolen.png": OUT, "ants/up.png": BROKEN}


def test_a_blobs_folder_that_is_a_link_is_none(tmp_path) -> None:
    snapshot = hub(tmp_path)
    picture(snapshot / "ants" / "a.png")
    picture(snapshot / "bees" / "b.png")
    blobs = snapshot.parents[1] / "blobs"
    blobs.rename(tmp_path / "elsewhere")
    blobs.symlink_to(tmp_path / "elsewhere")
    assert set(reasons(images(snapshot)).values()) == {OUT}


def test_links_to_folders_within_are_followed_once(tmp_path) -> None:
    root = tree(tmp_path / "data", "a/1.png", "b/1.png", "b/deep/2.png")
    (root / "c").symlink_to("b")
    (root / "d").symlink_to("b")
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "self").symlink_to(".")
    (root / "b" / "deep" / "a").symlink_to(root / "a")
    data = images(root)
    assert [e.id for e in data.examples if e.label == "c"] == ["c/1.png", "c/deep/2.png"]
    assert [e.id for e in data.examples if e.label == "b"] == [
        "b/1.png", "b/deep/2.png", "b/deep/a/1.png"
    ]  # fmt: skip
    assert reasons(data) == {
        "a/self": LOOP,
        "a/up": LOOP,
        "b/deep/a/self": NESTED,
        "b/deep/a/up": NESTED,
        "c/deep/a": NESTED,
        "d": AGAIN,
    }


def test_a_class_whose_folder_leads_out_is_named_as_missing(tmp_path) -> None:
    root = tree(tmp_path / "data", "a/1.png", "b/1.png")
    tree(tmp_path / "elsewhere", "rings/1.png")
    (root / "rings").symlink_to(tmp_path / "elsewhere" / "rings")
    data = images(root)
    assert reasons(data) == {"rings": OUT}
    (note,) = data.notes
    assert note == f"the class 'rings' is missing: its folder 'rings' is {OUT}."
    assert "cp -rL" in note


def test_a_class_and_a_part_that_lead_out_below_parts(tmp_path) -> None:
    root = tree(tmp_path / "data", "train/a/1.png", "train/b/1.png", "val/a/1.png")
    tree(tmp_path / "elsewhere", "c/1.png")
    (root / "train" / "c").symlink_to(tmp_path / "elsewhere" / "c")
    (root / "test").symlink_to(tmp_path / "elsewhere")
    notes = images(root).notes
    assert f"the folder 'test' is missing among the parts: it is {OUT}." in notes
    assert f"the class 'c' is missing: its folder 'train/c' is {OUT}." in notes


def test_what_becomes_of_a_link_after_listing_does_not_matter(tmp_path) -> None:
    root = tree(tmp_path / "data", "a/1.png", "b/1.png")
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    (root / "a" / "link.png").symlink_to(root / "b" / "1.png")
    data = images(root)
    (root / "a" / "link.png").unlink()
    (root / "a" / "link.png").symlink_to(secret)
    assert all(e.read() != b"secret" for e in data.examples)


def test_a_name_of_dots_is_named(tmp_path) -> None:
    root = tree(tmp_path, "a/1.png", "b/1.png", "a/..png")
    assert "a/..png" in reasons(images(root))
