"""Repeated k-fold: every row is answered once per repeat by heads that never saw its fold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import regraft
from regraft import heads
from regraft.cli.fit import from_settings
from regraft.cross import Folds, interval, parse, t975
from regraft.data.split import folds
from regraft.errors import OptionError
from regraft.evaluate import evaluate, wilson
from regraft.heads.rows import take
from regraft.model import taps
from tests.data.scenes import scene
from tests.nets import small
from tests.pictures import CLASSES, write_folder


@pytest.fixture(scope="module")
def net():
    return small()


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("flat") / "data", 10)


def test_spelling() -> None:
    assert parse("5") == Folds(5, 1)
    assert parse("10x3") == Folds(10, 3)
    assert parse("10x3:blocks.4+end:auto") == Folds(10, 3, "blocks.4+end", "auto")
    for text in ("4x1", "5x2:auto:ridge"):
        assert str(parse(text)) == text


@pytest.mark.parametrize(
    "wrong", ["1", "0", "5x0", "x3", "5x", "five", "-5", "5 x 3", "500x50", "", "5:auto", "5::"]
)
def test_a_wrong_spelling_is_refused(wrong: str) -> None:
    with pytest.raises(OptionError, match=r"--folds must be a number from 2"):
        parse(wrong)


def test_folds_replace_the_held_out_part(flat: Path, net) -> None:
    said: list[str] = []
    report = regraft.fit(flat, net, head="ridge", folds="3x2", say=said.append).report
    assert report["test"] is None
    assert report["test_part"] == "nothing held out"
    assert report["train"]["n"] == 30  # the model learns from everything
    crossed = report["cross_validation"]
    assert (crossed["k"], crossed["repeats"], crossed["n"]) == (3, 2, 30)
    assert len(crossed["folds"]) == 6
    for repeat in (0, 1):
        assert sum(f["n"] for f in crossed["folds"] if f["repeat"] == repeat) == 30
    each = [f["accuracy"] for f in crossed["folds"]]
    assert crossed["accuracy_sd"] == pytest.approx(np.std(each, ddof=1))
    low, high = crossed["accuracy_ci95"]
    assert 0 <= low <= crossed["accuracy"] <= high <= 1
    assert sum("cross-validation" in line for line in said) == 2


def test_a_resolved_run_chooses_in_its_folds_as_the_first_one_did(flat: Path, net) -> None:
    first = regraft.fit(flat, net, at="auto", folds="3")
    assert first.settings["folds"] == "3x1:auto:auto"
    again = regraft.fit(**from_settings(first.settings) | {"backbone": net})
    assert again.settings == first.settings
    assert again.report["cross_validation"] == first.report["cross_validation"]


def test_the_scores_are_those_of_a_plain_loop(flat: Path, net) -> None:
    run = regraft.fit(flat, net, head="ridge", folds="3", seed=4, geometry="crop")
    pipe = run.model.pipeline()
    from regraft.data import images
    from regraft.features import compute

    found = compute(images(flat).examples, pipe)
    rows = found.rows[pipe.names[0]]
    assert pipe.taps == taps(net.info, run.model.at)
    labels = [e.label for e in found.examples]
    truth = np.array([CLASSES.index(label) for label in labels])
    fold = folds(labels, found.digests, 3, 4)
    p = np.zeros((30, 3), np.float32)
    for k in range(3):
        fitted = heads.fit(
            "ridge", take(rows, np.flatnonzero(fold != k)), truth[fold != k], 3, seed=4
        )
        p[fold == k] = fitted.probabilities(take(rows, np.flatnonzero(fold == k)))
    expected = evaluate(p, labels, tuple(CLASSES))
    assert run.report["cross_validation"]["accuracy"] == expected.accuracy
    assert run.report["cross_validation"]["log_loss"] == pytest.approx(expected.log_loss, rel=1e-5)


def test_a_given_test_part_is_scored_besides(tmp_path: Path, net) -> None:
    folder = write_folder(tmp_path / "data", 6, parts=("train", "val", "test"))
    report = regraft.fit(folder, net, head="ridge", folds="3").report
    assert report["test"]["n"] == 18
    assert report["cross_validation"]["n"] == 36  # what the final head learns from


def test_groups_are_in_one_fold(tmp_path: Path, net) -> None:
    """Four shots of each of four scenes in each class."""
    for number, kind in enumerate(CLASSES):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for place in range(4):
            for shot in range(4):
                made = scene(100 * number + 10 * place + shot)
                made.save(tmp_path / "data" / kind / f"scene{place}-{shot}.png")
    run = regraft.fit(tmp_path / "data", net, head="ridge", folds="4", group=r"scene\d")
    assert run.settings["group"] == r"scene\d"
    sizes = [f["n"] for f in run.report["cross_validation"]["folds"]]
    assert sizes == [12, 12, 12, 12]  # a scene of all three classes each
    with pytest.raises(OptionError, match=r"groups of images \(4\), not 5"):
        regraft.fit(tmp_path / "data", net, head="ridge", folds="5", group=r"scene\d")


def test_a_class_that_is_only_in_one_fold_is_counted_wrong(tmp_path: Path, net) -> None:
    folder = write_folder(tmp_path / "data", 8)
    for path in sorted((folder / "dots").iterdir())[1:]:
        path.unlink()
    crossed = regraft.fit(folder, net, head="ridge", folds="4").report["cross_validation"]
    assert crossed["n"] == 17
    assert crossed["accuracy"] <= 16 / 17


def test_the_interval_allows_for_shared_training_rows() -> None:
    accuracies = [0.8, 0.9, 0.85, 0.95, 0.9]
    low, high = interval(accuracies, [1000] * 5, 5)
    half = 2.776 * np.std(accuracies, ddof=1) * (1 / 5 + 1 / 4) ** 0.5
    assert (low, high) == pytest.approx((0.88 - half, 0.88 + half), abs=2e-3)
    assert interval([0.9, 1.0, 1.0], [10] * 3, 3)[1] == 1.0  # a share stays a share


def test_folds_that_agree_make_nothing_certain() -> None:
    assert interval([1.0] * 10, [4] * 10, 5) == wilson(20, 20)  # twice the same 20 rows
    low, high = interval([0.75] * 5, [4] * 5, 5)
    assert (low, high) == pytest.approx(wilson(15, 20))


def test_a_giant_fold_weighs_as_much_as_it_has_rows() -> None:
    """The mean of the folds is 0.8, outside anything that 0.51 of the rows could mean."""
    low, high = interval([1.0, 20 / 49, 1.0], [1, 49, 10], 3)
    assert low < 31 / 60 < high
    assert (low + high) / 2 == pytest.approx(31 / 60, abs=0.02)


@pytest.mark.parametrize(
    ("df", "point"), [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (29, 2.045)]
)
def test_students_t(df: int, point: float) -> None:
    assert t975(df) == pytest.approx(point, rel=0.01)
