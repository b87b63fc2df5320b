"""Label and place never part: through tables, missing and emptied classes, bundles, predictions."""

from __future__ import annotations

import csv
import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regraft
from regraft.spreadsheet import cell
from tests.cli.test_commands import Shell
from tests.nets import small

ODD = [
    "a/b", "..", ".", "\U0001f41d", "two\nlines", "<script>alert(1)</script>", "con", "x" * 120,
    "=1+1", "NA", "null", "01", "1.0", "TRUE", "%2e%2e", unicodedata.normalize("NFC", "ü"),
    unicodedata.normalize("NFD", "é"), "\u202eabc", "-rf", 'quo"te', "[/red]", "[bold]",
]  # fmt: skip


@pytest.fixture(scope="module")
def net():
    return small()


def plain(path: Path, kind: int, seed: int) -> None:
    """A picture of one colour per kind, with a little noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([seed, kind])
    colour = np.array([kind % 3, kind // 3 % 3, kind // 9 % 3]) * 110 + 15
    pixels = colour + random.integers(-9, 10, (40, 40, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def folders(root: Path, kinds: range, count: int, seed: int = 0) -> Path:
    for kind in kinds:
        for number in range(count):
            plain(root / str(kind) / f"{number}.png", kind, seed + number)
    return root


def answers(run, root: Path) -> list[tuple[str, str]]:
    """(folder, answer) of every picture."""
    return [(Path(one.file).parent.name, one.label) for one in run.predict(root)]


def test_numbers_as_names_keep_their_place(tmp_path: Path, net) -> None:
    data = folders(tmp_path / "data", range(12), 4)
    test = folders(tmp_path / "test", range(12), 3, seed=50)
    shutil.rmtree(test / "5")  # a class in the middle is not tested
    run = regraft.fit(data, net, test=test, head="ridge", plan="probe").save(tmp_path / "run")
    order = sorted(map(str, range(12)))
    assert run.report["classes"] == order
    config = json.loads((tmp_path / "run" / "bundle" / "config.json").read_text())
    assert config["classes"] == order
    scores = run.report["test"]
    assert [one["label"] for one in scores["per_class"]] == order
    assert [one["n"] for one in scores["per_class"]] == [0 if c == "5" else 3 for c in order]
    assert sum(scores["confusion"][order.index("5")]) == 0
    assert scores["accuracy"] > 0.9
    again = regraft.load(tmp_path / "run", backbone=net)
    assert all(kind == said for kind, said in answers(again, test))
    assert list(again.predict(test)[0].probabilities) != order, "most probable first"


def test_a_class_that_was_emptied_moves_no_other(tmp_path: Path, net) -> None:
    data = folders(tmp_path / "data", range(12), 4)
    for path in (data / "3").iterdir():
        path.unlink()
    for path in (data / "7").iterdir():  # every file of it is bad
        path.write_bytes(b"no picture")
    run = regraft.fit(data, net, head="ridge", plan="probe")
    assert run.report["classes"] == sorted(set(map(str, range(12))) - {"3", "7"})
    named = {one["file"] for one in run.report["audit"]["skipped"]}
    assert named == {f"7/{n}.png" for n in range(4)}
    assert [n for n in run.report["audit"]["notes"] if "the folder '3' holds no image" in n]
    test = folders(tmp_path / "test", range(12), 2, seed=50)
    said = [(kind, label) for kind, label in answers(run, test) if kind not in ("3", "7")]
    assert len(said) == 20
    assert all(kind == label for kind, label in said)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and a table that labels them oddly."""
    home = tmp_path_factory.mktemp("odd")
    with (home / "labels.csv").open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["path", "label"])
        for kind, label in enumerate(ODD):
            for number in range(3):
                plain(home / "pictures" / f"{kind}-{number}.png", kind, number)
                rows.writerow([f"pictures/{kind}-{number}.png", label])
    return home


def test_any_label_comes_back_byte_for_byte(odd: Path, tmp_path: Path, net) -> None:
    run = regraft.fit(odd / "labels.csv", net, head="ridge", plan="probe").save(tmp_path / "run")
    assert [c.encode() for c in run.report["classes"]] == sorted(c.encode() for c in ODD)
    same = regraft.load(tmp_path / "run" / "bundle", backbone=net)
    assert same.classes == run.model.classes
    for one in same.predict(odd / "pictures"):
        kind = int(Path(one.file).name.partition("-")[0])
        assert one.label == ODD[kind]
        assert set(one.probabilities) == set(ODD)
    lines = [{"path": f"pictures/{k}-{n}.png", "label": c} for k, c in enumerate(ODD)
             for n in range(3)]  # fmt: skip
    (odd / "labels.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert regraft.images(odd / "labels.jsonl").classes == same.classes


@pytest.mark.slow
def test_any_label_comes_back_from_the_command_line(odd: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    how = ["--backbone", "test_resnet", "--weights", "random", "--size", "32", "--head", "ridge"]
    report = shell.json("fit", odd / "labels.csv", "--out", "run", *how)
    assert report["classes"] == sorted(ODD)
    said = shell.json("predict", "run", odd / "pictures", "--top", "30")["predictions"]
    assert len(said) == 3 * len(ODD)
    assert all(set(one["probabilities"]) == set(ODD) for one in said)
    shell("predict", "run", odd / "pictures", "--csv", "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    # A spreadsheet would run what begins as a formula does: it stands behind an apostrophe.
    assert {row["label"] for row in rows} == {cell(one["label"]) for one in said}
    assert list(rows[0]) == ["file", "label", "error", *map(cell, sorted(ODD))]
    shown = shell("predict", "run", odd / "pictures").stdout
    assert shown.count("\n") == 3 * len(ODD), "a line break in a label is spelled out"
    assert "\u202e" not in shown
    scores = shell("evaluate", "run/bundle", odd / "labels.csv").stdout
    assert "[/red]" in scores, "no label is taken for a style"
    assert "two\\nlines" in scores
