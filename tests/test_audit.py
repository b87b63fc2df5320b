"""The audit: counts add up, and what is wrong is named, each kind by files that have it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageEnhance

import regraft
from regraft.auditing import audit, check_most_bad, examine
from regraft.backbones.info import Tap
from regraft.data import images
from regraft.errors import DataError, OptionError
from regraft.features import LOOK, compute
from regraft.findings import Audit
from regraft.pipeline import pipeline
from tests.audited import adds_up, fill, flat_data, parted_data
from tests.data.drawn import saved
from tests.data.scenes import copies, jpeg, scene
from tests.nets import small


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return flat_data(tmp_path / "flat")


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    return parted_data(tmp_path / "parted")


def quiet(found: Audit) -> None:
    assert (found.skipped, found.duplicates, found.leaks, found.conflicts) == ((), (), (), ())
    assert found.notes == ()
    assert found.groups is None
    assert not found.leaked.any()
    found.refuse(strict=True, most_bad=0)


def test_clean_data(flat: Path, parted: Path) -> None:
    for found in (audit(flat), audit(str(flat))):
        adds_up(found)
        quiet(found)
        assert (found.seen, found.used, found.ignored) == (12, 12, 0)
        assert found.classes == {"ant": {"unsplit": 6}, "bee": {"unsplit": 6}}
    found = audit(parted)
    assert found.classes["bee"] == {"train": 6, "val": 3, "test": 3}
    assert (found.leaks, found.duplicates) == ((), ())


def test_it_is_a_public_function() -> None:
    assert regraft.audit is audit


def test_a_second_audit_decodes_nothing(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even with a decoder that cannot: all it needs is kept."""
    from regraft.data import decode_image

    first = audit(flat)

    def fail(raw: bytes, spec: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(decode_image, "decode_with_look", fail)
    assert audit(flat).json() == first.json()
    fill(flat / "ant", 900, 1)  # 0.jpg is another picture now
    with pytest.raises(AssertionError, match="decoded again"):
        audit(flat)


def test_every_file_is_counted_once(flat: Path) -> None:
    ant, bee = flat / "ant", flat / "bee"
    whole = (ant / "0.jpg").read_bytes()
    (ant / "empty.jpg").write_bytes(b"")
    (ant / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (ant / "page.png").write_text("<html>")
    (ant / "really-png.jpg").write_bytes(saved(scene(20), "PNG"))
    moving = [scene(seed) for seed in (21, 22)]
    moving[0].save(bee / "moving.gif", save_all=True, append_images=moving[1:])
    (bee / "link.jpg").symlink_to(ant / "0.jpg")
    os.mkfifo(bee / "pipe.jpg")
    (bee / ".hidden.jpg").write_bytes(whole)
    (bee / "Thumbs.db").write_bytes(b"x")
    (flat / "notes.txt").write_text("x")
    (flat / "__MACOSX").mkdir()
    (flat / "__MACOSX" / "._0.jpg").write_bytes(b"x")
    (flat / "outside.jpg").write_bytes(jpeg(scene(23)))
    (flat / "empty").mkdir()
    found = audit(flat)
    adds_up(found)
    assert (found.used, found.ignored) == (15, 4), "the link leads to a file of these data"
    assert found.seen == 15 + 5 + 4, "an empty folder is no file"
    reasons = {skip.file: skip.reason for skip in found.skipped}
    assert list(reasons) == sorted(reasons)
    assert reasons == {
        "ant/empty.jpg": "empty file",
        "ant/half.jpg": "truncated JPEG",
        "ant/page.png": "HTML page, not an image",
        "bee/pipe.jpg": "a pipe, not a file",
        "outside.jpg": "lies outside the class folders",
    }
    assert [note for note in found.notes if "'empty' holds no image" in note]


def test_duplicates_exact_and_near(flat: Path) -> None:
    shutil.copy(flat / "ant" / "1.jpg", flat / "ant" / "copy.jpg")
    (flat / "bee" / "cut.jpg").write_bytes(copies(scene(102))["cropped"])
    found = audit(flat)
    adds_up(found)
    assert [one.json() for one in found.duplicates] == [
        {"kind": "exact", "files": ["ant/1.jpg", "ant/copy.jpg"]},
        {"kind": "near", "files": ["bee/2.jpg", "bee/cut.jpg"]},
    ]
    assert found.conflicts == ()
    assert found.groups is not None
    names = [e.id for e in images(flat).examples]
    groups = dict(zip(names, found.groups.tolist(), strict=True))
    assert groups["ant/1.jpg"] == groups["ant/copy.jpg"]
    assert groups["bee/2.jpg"] == groups["bee/cut.jpg"]
    assert len(set(groups.values())) == 12
    found.refuse(strict=True)  # duplicates on one side are no fault


def test_leaks_say_what_is_like_what(parted: Path) -> None:
    """Exact before near, whatever else is alike; nothing of the training part is a leak."""
    shutil.copy(parted / "train/ant/0.jpg", parted / "test/ant/copy.jpg")
    (parted / "test/bee/again.jpg").write_bytes(copies(scene(100))["saved again"])
    (parted / "val/bee/frame.jpg").write_bytes(copies(scene(101))["the next frame"])
    (parted / "test/ant/val.jpg").write_bytes(copies(scene(200))["darker"])
    found = audit(parted)
    adds_up(found)
    by_file = {one.file: one.json() for one in found.leaks}
    assert by_file == {
        "test/ant/copy.jpg": leak("exact", "test/ant/copy.jpg", "test", "train/ant/0.jpg", "train"),
        "test/ant/val.jpg": leak("near", "test/ant/val.jpg", "test", "val/ant/0.jpg", "val"),
        "test/bee/again.jpg": leak(
            "near", "test/bee/again.jpg", "test", "train/bee/0.jpg", "train"
        ),
        "val/bee/frame.jpg": leak("near", "val/bee/frame.jpg", "val", "train/bee/1.jpg", "train"),
    }
    names = [e.id for e in images(parted).examples]
    assert {names[i] for i in np.flatnonzero(found.leaked)} == set(by_file)
    with pytest.raises(DataError, match=r"4 images to test or choose on are known .* --strict"):
        found.refuse(strict=True)
    found.refuse()


def leak(kind: str, file: str, part: str, like: str, like_part: str) -> dict[str, str]:
    return {"kind": kind, "file": file, "part": part, "like": like, "like_part": like_part}


def test_data_to_test_on_are_compared_and_win_over_the_own_test_part(
    parted: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    fill(other / "ant", 500, 3)
    (other / "ant" / "leak.jpg").write_bytes(copies(scene(100))["half the size"])
    found = audit(parted, test=other)
    adds_up(found)
    assert found.seen == 12 + 6 + 6 + 4
    assert found.ignored == 6
    assert found.notes[0].startswith("6 images are not used, the data's own test part, because")
    assert found.classes["ant"] == {"train": 6, "val": 3, "test": 4}
    (only,) = found.leaks
    assert only.json() == leak("near", "ant/leak.jpg", "test", "train/bee/0.jpg", "train")


def test_only_the_test_part_of_data_to_test_on_is_read(parted: Path, tmp_path: Path) -> None:
    for part, start in (("train", 300), ("test", 400)):
        for kind in ("ant", "bee"):
            fill(tmp_path / "other" / part / kind, start, 3)
    found = audit(parted / "train", test=tmp_path / "other")
    adds_up(found)
    assert found.ignored == 6
    assert found.notes[0].startswith("6 images are not used of the data given to test on, because")


def test_what_is_tested_on_joins_nothing_and_moves_no_limit(tmp_path: Path) -> None:
    """Pictures to test on whose classes look alike lower the limit, but not of what is learned."""
    for kind, start in (("ant", 0), ("bee", 50)):
        for name in ("data", "odd"):
            (tmp_path / name / kind).mkdir(parents=True)
        for number in range(start, start + 8):
            picture = scene(number)
            picture.save(tmp_path / "data" / kind / f"{number}.png")
            smaller = picture.resize((picture.width * 9 // 10, picture.height * 9 // 10))
            smaller.save(tmp_path / "data" / kind / f"{number}-small.png")
        fill(tmp_path / "plain" / kind, 100 + start, 8)
        for number in range(200, 240):
            shade = 1.0 if kind == "ant" else 1.02
            bright = ImageEnhance.Brightness(scene(number)).enhance(shade)
            bright.save(tmp_path / "odd" / kind / f"{number}.png")
    found = [audit(tmp_path / "data", test=tmp_path / name) for name in ("plain", "odd")]
    assert len(found[0].duplicates) > 3 * len(found[1].duplicates)  # the limit did move
    groups = [one.groups for one in found]
    assert groups[0] is not None
    assert groups[1] is not None
    np.testing.assert_array_equal(groups[0][:32], groups[1][:32])
    assert len(set(groups[0][:32].tolist())) == 16
    heads = [
        regraft.fit(
            tmp_path / "data", small(), test=tmp_path / name, head="ridge", plan="probe"
        ).model.head
        for name in ("plain", "odd")
    ]
    for name, array in heads[0].arrays().items():
        np.testing.assert_array_equal(array, heads[1].arrays()[name])


def test_groups_of_the_data_leak_and_join(parted: Path) -> None:
    """Patient 0 is in training and in the test part."""
    data = images(parted)
    patients = [replace(e, group=f"p{Path(e.id).stem}") for e in data.examples]
    found = audit(replace(data, examples=tuple(patients)))
    adds_up(found)
    assert {one.kind for one in found.leaks} == {"group"}
    assert {one.part for one in found.leaks} == {"val", "test"}
    assert found.groups is not None
    tested = [e.split == "test" for e in data.examples]
    assert len(set(found.groups[~np.array(tested)].tolist())) == 6
    assert len(set(found.groups.tolist())) == 6 + sum(tested)  # what is scored joins nothing
    assert "is in the same group as train/ant/0.jpg" in found.leaks[0].line()
    by_pattern = audit(parted, group=r"(\d+)\.jpg")
    assert by_pattern.json() == found.json()


def test_near_duplicates_and_groups_join_into_one(flat: Path) -> None:
    """a is near b, b is in the group of c: all three stay on one side."""
    (flat / "ant" / "near.jpg").write_bytes(copies(scene(0))["brighter"])
    data = images(flat)
    named = {"ant/near.jpg": "g", "bee/0.jpg": "g"}
    found = audit(
        replace(data, examples=tuple(replace(e, group=named.get(e.id, "")) for e in data.examples))
    )
    assert found.groups is not None
    groups = dict(zip([e.id for e in data.examples], found.groups.tolist(), strict=True))
    assert groups["ant/0.jpg"] == groups["ant/near.jpg"] == groups["bee/0.jpg"]
    assert len(set(groups.values())) == 11


def test_look_alikes_make_no_one_patient_of_two(flat: Path) -> None:
    """Groups of the data stay as they are named; equal bytes alone join them."""
    (flat / "ant" / "near.jpg").write_bytes(copies(scene(0))["brighter"])
    data = images(flat)
    named = {"ant/near.jpg": "g", "ant/0.jpg": "h", "bee/0.jpg": "g", "bee/1.jpg": "h"}

    def groups() -> dict[str, int]:
        rows = tuple(replace(e, group=named.get(e.id, "")) for e in data.examples)
        found = audit(replace(data, examples=rows))
        assert found.groups is not None
        return dict(zip([e.id for e in rows], found.groups.tolist(), strict=True))

    found = groups()
    assert found["ant/near.jpg"] == found["bee/0.jpg"] != found["ant/0.jpg"] == found["bee/1.jpg"]
    shutil.copy(flat / "ant" / "0.jpg", flat / "ant" / "near.jpg")
    found = groups()
    assert found["ant/near.jpg"] == found["bee/0.jpg"] == found["ant/0.jpg"] == found["bee/1.jpg"]


def test_whoever_knows_better_has_only_equal_bytes_count(flat: Path) -> None:
    (flat / "ant" / "near.jpg").write_bytes(copies(scene(0))["brighter"])
    shutil.copy(flat / "ant" / "1.jpg", flat / "ant" / "copy.jpg")
    assert {one.kind for one in audit(flat).duplicates} == {"exact", "near"}
    found = audit(flat, near=False)
    assert [one.kind for one in found.duplicates] == ["exact"]
    assert found.groups is not None
    assert len(set(found.groups.tolist())) == len(found.groups) - 1


def test_conflicts(flat: Path) -> None:
    shutil.copy(flat / "ant" / "0.jpg", flat / "bee" / "wrong.jpg")
    (flat / "ant" / "wrong.jpg").write_bytes(copies(scene(103))["in grey"])
    found = audit(flat)
    adds_up(found)
    assert [one.json() for one in found.conflicts] == [
        {"kind": "exact", "files": ["ant/0.jpg", "bee/wrong.jpg"], "labels": ["ant", "bee"]},
        {"kind": "near", "files": ["ant/wrong.jpg", "bee/3.jpg"], "labels": ["ant", "bee"]},
    ]
    with pytest.raises(DataError, match=r"2 pictures have more than one label: exact: ant/0\.jpg"):
        found.refuse(strict=True)
    found.refuse()


def test_bad_files_are_refused_when_strict_or_too_many(flat: Path) -> None:
    for number in range(4):
        (flat / "ant" / f"bad{number}.jpg").write_bytes(b"")
    found = audit(flat)
    found.refuse()
    found.refuse(most_bad=4 / 16)
    with pytest.raises(DataError, match=r"4 of 16 files .* \(4 times 'empty file'\), more than"):
        found.refuse(most_bad=0.2)
    with pytest.raises(DataError, match=r"4 files cannot be used, the first is 'ant/bad0\.jpg'"):
        found.refuse(strict=True)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(OptionError, match="--most-bad must be a share from 0 to 1"):
            check_most_bad(wrong)


def test_wrong_arguments(flat: Path) -> None:
    with pytest.raises(DataError, match="no such folder or table"):
        audit(flat / "nowhere")
    with pytest.raises(OptionError, match="--threads must be 1 or more, got 0"):
        audit(flat, threads=0)


def test_the_same_is_found_in_the_pass_of_a_fit(flat: Path) -> None:
    """With a backbone's features, and with such as have no looks."""
    shutil.copy(flat / "ant" / "1.jpg", flat / "ant" / "copy.jpg")
    (flat / "bee" / "cut.jpg").write_bytes(copies(scene(102))["cropped"])
    data = images(flat)
    features = compute(data.examples, pipeline(small(side=64), [Tap(3)], engine="reference"))
    assert examine(data, None, features, len(features.examples)).json() == audit(flat).json()
    bare = {name: rows for name, rows in features.rows.items() if name != LOOK}
    found = examine(data, None, replace(features, rows=bare), len(features.examples))
    assert [one.kind for one in found.duplicates] == ["exact"]
