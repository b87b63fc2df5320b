"""The numbers behind the pictures, against hand and numpy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from regraft.report.charts import clouds, curves, scores
from regraft.report.figures import short
from regraft.report.sections import evidence, trust
from tests.report.made import ADVICE, CURVE, WISE, comparison, material, rows


def test_pairs_that_are_mixed_up_most_come_first() -> None:
    counts = np.array([[5, 2, 0], [0, 9, 2], [3, 0, 1]])
    assert scores.mixed(counts) == [(3, 2, 0), (2, 0, 1), (2, 1, 2)]
    made = scores.confusion({"confusion": counts.tolist()}, ["a", "b", "c"])
    assert made is not None
    assert made.said == (
        "Most often confused: 'c' predicted as 'a', 3 of 4 pictures; 7 of 22 pictures are wrong."
    )
    assert made.rows[0] == ("a", 5, 2, 0)


def test_a_test_without_known_labels_has_no_confusion() -> None:
    assert scores.confusion({"confusion": [[0, 0], [0, 0]]}, ["a", "b"]) is None
    nobody = {"label": "a", "n": 0, "recall": None, "precision": None, "f1": None}
    assert scores.per_class({"per_class": [nobody]}) is None


def test_guessing_is_the_share_of_the_most_common_class() -> None:
    assert scores.guess({"confusion": [[3, 1], [1, 1]], "n": 8}) == 0.5
    assert scores.guess({"n": 0}) is None


def test_classes_are_sorted_by_recall() -> None:
    made = scores.per_class(material(classes=4, count=80).report["test"])
    assert made is not None
    shares = [float(row[2].split()[0]) for row in made.rows]
    assert shares == sorted(shares)
    assert made.said.startswith(f"Worst is '{made.rows[0][0]}'")


def test_calibration_error_by_hand() -> None:
    sure = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False, True, False])
    found = curves.calibrated(sure, right)
    assert [one[2] for one in found.bins] == [2, 4]
    assert found.bins[0][3:] == pytest.approx((0.55, 0.5))
    assert found.error == pytest.approx((4 * 0.2 + 2 * 0.05) / 6)
    assert found.lean == pytest.approx(sure.mean() - 4 / 6)


def test_what_is_exactly_as_sure_as_right_is_within_chance_and_what_is_not_is_beyond() -> None:
    random = np.random.default_rng(3)
    sure = random.uniform(0.3, 1.0, 2000)
    honest = curves.calibrated(sure, random.random(2000) < sure)
    assert honest.error < honest.chance < 0.06
    boasting = curves.calibrated(sure, random.random(2000) < sure - 0.2)
    assert boasting.error > 2 * boasting.chance
    assert boasting.lean == pytest.approx(0.2, abs=0.03)
    assert curves.calibrated(np.array([1.0]), np.array([True])).bins[0][:2] == (0.9, 1.0)


def epochs(*losses: tuple[float, float | None]) -> list[dict]:
    return [
        {"train_loss": own, "log_loss": held, "accuracy": 0.5, "phase": 1} for own, held in losses
    ]


@pytest.mark.parametrize(
    ("losses", "before", "onset"),
    [
        ([(0.9, 0.5), (0.6, 0.4), (0.3, 0.5), (0.1, 0.6)], None, 3),
        ([(0.9, 0.5), (0.6, 0.4), (0.3, 0.3)], None, None),
        ([(0.9, 0.5), (0.6, 0.6)], 0.4, 1),
        ([(0.9, 0.5), (0.6, 0.4), (0.3, 0.41)], None, None),
        ([(0.9, 0.5), (0.6, 0.4), (0.7, 0.6)], None, None),
        ([(0.9, 0.5), (0.6, 0.4), (0.3, None)], None, 3),
        ([(0.9, 0.5), (0.5, 0.4), (0.4, 0.6), (0.3, 0.401)], None, None),
    ],
    ids=["began", "still better", "at once", "level", "both worse", "no number", "came back"],
)
def test_where_over_fitting_began(losses: list, before: float | None, onset: int | None) -> None:
    assert trust.began(epochs(*losses), before) == onset


def test_over_fitting_is_told_by_losses_of_one_scale_and_by_accuracy() -> None:
    """Calibration hides it: the network grows sure of what it says wrongly."""
    hidden = epochs((0.9, 0.45), (0.01, 0.44), (0.0002, 0.449))
    assert trust.began(hidden, None) is None
    for one, raw in zip(hidden, (0.5, 0.9, 1.4), strict=True):
        one["raw_loss"] = raw
    assert trust.began(hidden, None) == 2
    fallen = epochs((0.9, 0.45), (0.01, 0.44), (0.0002, 0.449))
    for one, right in zip(fallen, (0.889, 0.81, 0.756), strict=True):
        one["accuracy"] = right
    assert trust.began(fallen[:2], None) is None  # 8 points of few rows may be chance
    assert trust.began(fallen, None) == 2
    fallen.append(fallen[0] | {"train_loss": 0.0001})  # it came back
    assert trust.began(fallen, None) is None


def test_over_fitting_says_when_and_what_was_not_tried_yet() -> None:
    made = material()
    told = str(trust.overfitting(made))
    assert trust.began(CURVE, WISE["curve"][0]["log_loss"]) == 4
    assert "Over-fitting began in epoch 4" in told
    assert "augment=flip" in told
    assert "Train for 3 epochs, so that the rate falls sooner: epochs=3." in told
    again = str(trust.overfitting(replace(made, settings='augment = "flip"\n' + made.settings)))
    assert "augment=flip" not in again


def test_directions_are_those_of_a_singular_value_decomposition() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(40, 9)) * np.arange(1, 10) + 3
    places, share = clouds.flattened(features)
    centred = features - features.mean(axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    assert np.allclose(np.abs(places), np.abs(centred @ axes[:2].T))
    assert np.allclose(share, spread[:2] ** 2 / (spread**2).sum())
    assert np.array_equal(places, clouds.flattened(features)[0])


@pytest.mark.parametrize("features", [np.zeros((5, 4)), np.ones((3, 1)), np.arange(4.0)[:, None]])
def test_rows_that_hardly_differ_have_a_map_too(features: np.ndarray) -> None:
    places, share = clouds.flattened(features)
    assert places.shape == (len(features), 2)
    assert np.isfinite(places).all()
    assert np.isfinite(share).all()


def test_the_map_draws_every_wrong_row_and_counts_each_class() -> None:
    shown = rows(3, 90)
    made = clouds.feature_map(shown)
    assert made is not None
    wrong = int((shown.truth != shown.answer).sum())
    assert wrong > 0
    assert f"{wrong} are wrong and ringed" in made.said
    assert [row[1] for row in made.rows] == [30, 30, 30]
    assert sum(row[2] for row in made.rows) == wrong
    many = clouds._spread(np.arange(5000) % 100 == 0, 600)
    assert len(many) == 600
    assert set(range(0, 5000, 100)) <= set(many)


def test_no_two_names_cover_each_other() -> None:
    at = np.array([[100.0, 50.0], [104.0, 50.0], [108.0, 51.0], [112.0, 49.0]])
    names = ["finetune", "gradual", "lpft", "lora"]
    boxes = [
        (x + dx, y + dy, x + dx + 5.5 * len(name), y + dy + 11)
        for (x, y), (dx, dy), name in zip(at, clouds._apart(at, names), names, strict=True)
    ]
    for n, one in enumerate(boxes):
        assert not any(clouds._meet(one, other) for other in boxes[n + 1 :])


def test_the_front_is_what_nothing_cheaper_is_as_good_as() -> None:
    arms = comparison()["arms"][:3]
    worse = {"plan": "full", "accuracy": 0.6, "seconds": 500.0}
    assert [arm["plan"] for arm in clouds._front([*arms, worse])] == ["lpft", "probe", "early"]
    assert clouds.cost([arms[0]]) is None
    assert clouds._ticks([0.4, 3.0])[0] <= 0.4


def test_depths_come_from_the_advice_or_from_what_was_tried() -> None:
    advised, _ = evidence.profile(material())
    assert [point["stage"] for point in advised] == [f"layer{n}" for n in range(5)]
    one = {"head": "ridge", "n": 40, "kind": "leave-one-out", "log_loss": 0.4, "chosen": False}
    tried = [
        one | {"at": ["layer4"], "accuracy": 0.9},
        one | {"at": ["layer1"], "accuracy": 0.7},
        one | {"at": ["layer1", "layer4"], "accuracy": 0.95},
        one | {"at": ["layer4"], "accuracy": 0.8, "head": "prototypes"},
    ]
    points, how = evidence.profile(replace(material(advice=None), tried=tried))
    assert [(point["stage"], point["accuracy"]) for point in points] == [
        ("layer1", 0.7), ("layer4", 0.9),
    ]  # fmt: skip
    low, high = points[0]["ci95"]
    assert low < 0.7 < high
    assert how == "A ridge-regression head on each stage's output, leave-one-out, 40 pictures."


def test_a_learning_curve_tells_measured_from_expected() -> None:
    told = str(evidence.growth(material()))
    assert "With 400 about 84.0&nbsp;% is expected." in told
    advice = {key: held for key, held in ADVICE.items() if key != "doubled"}
    assert "expected" not in str(evidence.growth(material(advice=advice)))
    points = [*ADVICE["learning_curve"], {"rows": 400, "accuracy": 0.84, "extrapolated": True}]
    made = curves.growth(points)
    assert made is not None
    assert [row[-1] for row in made.rows] == ["measured", "measured", "expected"]
    assert made.said.endswith("With 400 about 84.0 % is expected.")
    assert curves.growth([{"rows": 10, "accuracy": 0.5}]) is None


def test_wise_ft_tells_both_ends_and_what_was_taken() -> None:
    made = curves.wise(WISE)
    assert made is not None
    assert "alpha 0: accuracy 0.800, log-loss 0.500" in made.said
    assert "Chosen is alpha 0.5: accuracy 0.840, log-loss 0.460." in made.said
    assert len(made.rows) == 5
    hole = {"alpha": 0.5, "curve": [{"alpha": 0.0, "accuracy": None, "log_loss": None}]}
    assert curves.wise(hole) is None


def test_a_gap_needs_two_numbers() -> None:
    assert curves.gap_of({"train_loss": 0.25, "log_loss": 1.0}) == 0.75
    assert curves.gap_of({"train_loss": None, "log_loss": 1.0}) is None
    drawn = curves.training(epochs((math.nan, 0.5)), None, None)
    assert drawn is not None


def test_a_long_name_keeps_both_ends() -> None:
    assert short("a" * 18) == "a" * 18
    assert short("species number one hundred 117", 12) == "specie…d 117"
    assert short("a\n") == r"a\n"
