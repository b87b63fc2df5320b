import json
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

from regraft import heads
from regraft.errors import HeadError, OptionError
from regraft.evaluate import wilson
from regraft.evidence import depths, ties
from regraft.evidence.unseen import independent
from regraft.heads.contract import View, clusters


def staged(n=90, n_classes=3, seed=0, **apart):
    """Stages of which each tells the same classes apart as well as `apart` says."""
    features = {}
    for place, (name, distance) in enumerate(apart.items()):
        rng = np.random.default_rng(seed + 100 * place)
        labels = np.arange(n) % n_classes
        centres = rng.normal(size=(n_classes, 12)) * distance
        features[name] = (centres[labels] + rng.normal(size=(n, 12))).astype(np.float32)
    return features, labels


def test_every_stage_says_what_a_ridge_head_there_scores_on_rows_left_out():
    features, labels = staged(stem=0.2, middle=2.0, end=0.8)
    found = depths(features, labels, 3)
    assert [depth.stage for depth in found] == ["stem", "middle", "end"]
    for depth in found:
        seen = heads.fit("ridge", features[depth.stage], labels, 3).validation
        assert (depth.n, depth.accuracy, depth.log_loss) == (90, seen.accuracy, seen.log_loss)
        assert depth.accuracy_ci95 == wilson(round(90 * seen.accuracy), 90)
    for score in ("accuracy", "knn", "log_me", "h_score"):
        stem, middle, end = (getattr(depth, score) for depth in found)
        assert stem < end < middle
    assert ties(found) == ("middle",)
    json.dumps([depth.json() for depth in found], allow_nan=False)


def test_a_stage_is_compared_with_the_best_row_by_row():
    features, labels = staged(one=0.6, other=0.6, best=1.2)
    found = {depth.stage: depth for depth in depths(features, labels, 3)}
    right = {
        name: heads.fit("ridge", rows, labels, 3).validation.correct.astype(float)
        for name, rows in features.items()
    }
    gap = right["best"] - right["one"]
    assert found["one"].behind == pytest.approx(gap.mean())
    assert found["one"].behind_se == pytest.approx(gap.std() / 90**0.5)
    assert (found["best"].behind, found["best"].behind_se) == (0.0, 0.0)


def test_a_stage_as_good_as_the_best_ties_with_it_and_a_worse_one_does_not():
    tied = 0
    for seed in range(6):
        features, labels = staged(n=120, seed=seed, early=0.1, late=1.0)
        noise = np.random.default_rng(5000 + seed).normal(size=(2, 120, 12)).astype(np.float32)
        late = features.pop("late")
        features |= {"late": late + 0.5 * noise[0], "later": late + 0.5 * noise[1]}
        names = ties(depths(features, labels, 3))
        assert "early" not in names
        tied += "later" in names and "late" in names
    assert tied >= 5


def test_rows_of_one_group_are_left_out_and_counted_together():
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    rows = rng.normal(size=(30, 40))
    copies = np.repeat(rows, 4, axis=0).astype(np.float32)
    truth, groups = np.repeat(labels, 4), np.repeat([f"g{i}" for i in range(30)], 4)
    (blind,) = depths({"end": copies}, truth, 3)
    (told,) = depths({"end": copies}, truth, 3, groups=groups)
    assert blind.accuracy == blind.knn == 1.0
    assert told.accuracy < 0.7 > told.knn
    assert told.n == 120
    assert told.accuracy_ci95 == pytest.approx(wilson(30 * told.accuracy, 30))


@pytest.mark.parametrize(
    ("unit", "worth"), [([0, 1, 2, 3], 4.0), ([0, 0, 1, 1], 2.0), ([0, 0, 0, 1], 1.6)]
)
def test_rows_are_worth_as_much_as_their_units_are_even(unit, worth):
    assert independent(np.array(unit)) == pytest.approx(worth)


def test_a_stage_that_repeats_the_one_before_is_judged_once(monkeypatch):
    features, labels = staged(end=1.0)
    calls = []
    module = import_module("regraft.evidence.depths")
    monkeypatch.setattr(module, "log_me", lambda *given: calls.append(given) or 0.0)
    found = depths({**features, "pool": features["end"].copy()}, labels, 3)
    assert len(calls) == 1
    assert [depth.stage for depth in found] == ["end", "pool"]
    assert {**found[0].json(), "stage": ""} == {**found[1].json(), "stage": ""}


def test_few_of_many_rows_are_looked_at_and_a_rare_class_is_among_them():
    features, labels = staged(n=400, stem=0.1, end=2.0)
    labels = labels.copy()
    labels[:2] = 3
    views = {name: View(rows) for name, rows in features.items()}
    stem, end = depths(views, labels, 4, most=100, seed=3)
    assert 100 <= end.n == stem.n < 110
    assert end.accuracy > 0.8 > stem.accuracy


def test_rows_that_cannot_be_scored_leave_nothing_to_say():
    rows, labels = clusters(12, 5, 3)
    for one in (
        depths({"end": rows[:3]}, np.arange(3), 3),
        depths({"a": rows, "end": rows}, labels, 3, groups=np.zeros(12)),
    ):
        assert {(d.n, d.accuracy, d.accuracy_ci95, d.log_loss) for d in one} == {
            (0, None, None, None)
        }
        assert ties(one) == tuple(d.stage for d in one)


def test_pictures_that_are_all_the_same_are_judged_without_a_warning():
    (depth,) = depths({"end": np.ones((12, 4), np.float32)}, np.arange(12) % 3, 3)
    assert depth.accuracy <= 0.4
    assert depth.h_score == 0.0


def test_what_does_not_fit_is_refused():
    features, labels = staged(stem=1.0, end=1.0)
    with pytest.raises(OptionError, match="at least one stage"):
        depths({}, labels, 3)
    with pytest.raises(HeadError, match="labels must have the shape"):
        depths({**features, "end": features["end"][:80]}, labels, 3)
    with pytest.raises(HeadError, match="groups must have the shape"):
        depths(features, labels, 3, groups=np.zeros(3))


def test_evidence_loads_neither_torch_nor_scipy():
    code = (
        "import sys, numpy as np\n"
        "from regraft.evidence import depths, growth, learnable\n"
        "x = np.random.default_rng(0).normal(size=(60, 5)).astype('f4')\n"
        "y = np.arange(60) % 3\n"
        "depths({'end': x}, y, 3), growth(x, y, 3), learnable({'end': x}, y, 3)\n"
        "print([m for m in ('torch', 'timm', 'scipy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
