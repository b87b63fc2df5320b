"""Small and odd sets: a model, or one sentence; never a library's error, never a false score."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regraft
from regraft.errors import DataError, RegraftError
from tests.nets import small
from tests.pictures import CLASSES, picture, write_folder


@pytest.fixture(scope="module")
def net():
    return small()


def fill(root: Path, counts: dict[str, int]) -> Path:
    for number, (kind, count) in enumerate(counts.items()):
        (root / kind).mkdir(parents=True)
        for each in range(count):
            shown = picture(CLASSES[number % 3], 100 * number + each, side=24)
            shown.save(root / kind / f"{each}.png")
    return root


def refused(data: Path, net, said: str) -> None:
    with pytest.raises(RegraftError, match=said) as caught:
        regraft.fit(data, net)
    assert "\n" not in str(caught.value)


def test_one_class_is_refused_before_anything_is_fetched_or_decoded(tmp_path: Path) -> None:
    (tmp_path / "data" / "one").mkdir(parents=True)
    (tmp_path / "data" / "one" / "1.png").write_bytes(b"would be skipped if it were decoded")
    with pytest.raises(DataError, match=r"1 class to learn from \('one'\): at least 2"):
        regraft.fit(tmp_path / "data", "a_backbone_that_is_nowhere")


def test_folders_that_are_none(tmp_path: Path, net) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "flat").mkdir()
    picture("dots", 1).save(tmp_path / "flat" / "1.png")
    refused(tmp_path / "empty", net, "no images in .*it is empty")
    refused(tmp_path / "missing", net, "no such folder or table")
    refused(tmp_path / "file.txt", net, "neither a folder nor a table")
    refused(tmp_path / "flat", net, "directly in .*without class folders")


@pytest.mark.parametrize(
    "counts",
    [
        {"a": 1, "b": 1},
        {"a": 2, "b": 2},
        {"a": 1, "b": 2, "c": 1},
        {"a": 12, "b": 12, "rare": 1},
        {"a": 80, "b": 2},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_few_and_uneven(counts: dict[str, int], tmp_path: Path, net) -> None:
    run = regraft.fit(fill(tmp_path / "data", counts), net)
    assert run.report["classes"] == sorted(counts)
    json.dumps(run.report, allow_nan=False)
    test = run.report["test"]
    trained = run.report["train"]["n"]
    assert trained + (test["n"] if test else 0) == sum(counts.values())
    for one in run.predict(tmp_path / "data"):
        assert math.isclose(sum(one.probabilities.values()), 1, abs_tol=1e-4)


@pytest.mark.filterwarnings("error")
def test_three_hundred_classes_of_two(tmp_path: Path, net) -> None:
    for kind in range(300):
        (tmp_path / "data" / f"{kind:03d}").mkdir(parents=True)
        for each in range(2):
            random = np.random.default_rng([kind, each])
            pixels = random.integers(0, 256, (4, 4, 3)).astype(np.uint8)
            shown = Image.fromarray(pixels).resize((32, 32), Image.Resampling.NEAREST)
            shown.save(tmp_path / "data" / f"{kind:03d}" / f"{each}.png")
    run = regraft.fit(tmp_path / "data", net)
    assert len(run.report["classes"]) == 300
    assert run.report["train"]["n"] + run.report["test"]["n"] == 600
    json.dumps(run.report, allow_nan=False)


def test_identical_pictures(tmp_path: Path, net, caplog) -> None:
    """The same bytes in every file, with two labels: said, nothing scored, nothing guessed."""
    data = tmp_path / "data"
    for kind in ("a", "b"):
        (data / kind).mkdir(parents=True)
        for each in range(6):
            picture("dots", 0).save(data / kind / f"{each}.png")
    run = regraft.fit(data, net)
    assert run.report["test"] is None
    assert run.report["validation"]["n"] == 0
    (conflict,) = run.report["audit"]["conflicts"]
    assert len(conflict["files"]) == 12
    assert "all images are the same picture" in caplog.text
    assert run.predict(data)[0].probabilities == {"a": 0.5, "b": 0.5}


def test_constant_pictures(tmp_path: Path, net) -> None:
    for number, kind in enumerate(("a", "b")):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for each in range(8):
            grey = 20 * each + 10 * number + 30
            Image.new("RGB", (40, 40), (grey, grey, grey)).save(
                tmp_path / "data" / kind / f"{each}.png"
            )
    run = regraft.fit(tmp_path / "data", net)
    json.dumps(run.report, allow_nan=False)
    assert all(np.isfinite(list(p.probabilities.values())).all()
               for p in run.predict(tmp_path / "data"))  # fmt: skip


def test_pictures_of_one_black_colour_are_no_reason_to_stop(tmp_path: Path, net) -> None:
    data = write_folder(tmp_path / "data", 4)
    Image.new("RGB", (30, 30)).save(data / "dots" / "black.png")
    assert regraft.fit(data, net).report["audit"]["used"] == 13


def test_a_test_class_that_nobody_knows_is_named_and_not_scored(tmp_path, net) -> None:
    data = write_folder(tmp_path / "data", 6)
    write_folder(tmp_path, 3, parts=("unused", "test"))
    test = tmp_path / "test"
    for each in range(2):
        (test / "zebra").mkdir(exist_ok=True)
        picture("dots", 700 + each).save(test / "zebra" / f"{each}.png")
    scores = regraft.fit(data, net, test=test).report["test"]
    assert scores["unknown"] == {"zebra": 2}
    right = sum(scores["confusion"][k][k] for k in range(3))
    assert scores["n"] == sum(map(sum, scores["confusion"])), "no zebra among them"
    assert math.isclose(scores["accuracy"], right / scores["n"])
    assert [one["label"] for one in scores["per_class"]] == list(CLASSES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = regraft.fit(data, net).evaluate(test)
    assert again["unknown"] == {"zebra": 2}
