import json
from importlib import import_module
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.errors import HeadError, OptionError
from regraft.evidence import learnable
from regraft.heads.contract import View, clusters

module = import_module("regraft.evidence.learnable")
FIRST = 1 / (1 + module.SHUFFLES)  # the p-value of labels that no shuffle comes near


def noise(n, dim=10, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def test_labels_that_go_with_the_rows_are_told_from_shuffled_ones():
    rows, labels = clusters(60, 20, 3, apart=2.0)
    told = learnable({"end": rows}, labels, 3)
    assert told.learnable
    assert told.enough
    assert told.p_value == pytest.approx(FIRST)
    assert told.accuracy > 0.6
    assert told.chance == pytest.approx(1 / 3, abs=0.08)
    assert "The labels go with the examples" in told.why
    mixed = np.random.default_rng(0).permutation(labels)
    other = learnable({"end": rows}, mixed, 3)
    assert not other.learnable
    assert other.enough
    assert other.p_value > module.LEVEL
    assert "Nothing can be learned here" in other.why
    json.dumps([told.json(), other.json()], allow_nan=False)


def test_p_values_of_labels_that_say_nothing_are_uniform():
    """So the best of several stages is not taken for more than its luck."""
    values = []
    for seed in range(60):
        features = {f"s{i}": noise(40, 4 + 9 * i, seed=7 * seed + i) for i in range(4)}
        labels = np.random.default_rng(seed).permutation(np.arange(40) % 2)
        values.append(learnable(features, labels, 2, seed=seed).p_value)
    values = np.sort(values)
    assert np.abs(values - np.arange(1, 61) / 61).max() < 0.21  # Kolmogorov's 1 % point for 60
    assert (values <= 0.05).sum() <= 8


def test_one_stage_that_knows_is_found_among_stages_that_do_not():
    rows, labels = clusters(60, 20, 3, apart=2.0)
    for place in range(4):
        features = {f"s{i}": noise(60, seed=i) for i in range(4)}
        features[f"s{place}"] = rows
        told = learnable(features, labels, 3)
        assert told.learnable
        assert told.accuracy > 0.6


def test_rare_classes_are_answered_at_their_own_chance():
    labels = np.r_[np.zeros(90, int), np.ones(10, int)]
    told = learnable({"end": noise(100)}, labels, 2)
    assert not told.learnable
    assert told.chance == pytest.approx(0.5, abs=0.06)
    rows = noise(100)
    rows[labels == 1] += 1.5
    assert learnable({"end": rows}, labels, 2).learnable


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 99))
def test_the_order_of_classes_does_not_matter_and_that_of_rows_next_to_nothing(seed):
    rows, labels = clusters(45, 10, 3, apart=1.0, seed=seed)
    rng = np.random.default_rng(seed)
    names, order = rng.permutation(3), rng.permutation(45)
    one = learnable({"end": rows}, labels, 3)
    other = learnable({"end": rows}, names[labels], 3)
    assert (other.p_value, other.learnable) == (one.p_value, one.learnable)
    assert other.accuracy == pytest.approx(one.accuracy)
    moved = learnable({"end": rows[order]}, labels[order], 3)  # with other shuffles
    assert moved.accuracy == pytest.approx(one.accuracy)
    assert moved.p_value == pytest.approx(one.p_value, abs=0.12)


def test_scores_are_those_of_heads_that_were_fitted_without_the_row():
    """The matrix, against a penalised fit for each group that is left out, from the ground up."""
    rows, labels = clusters(24, 6, 3)
    unit = np.arange(24) // np.r_[np.full(12, 2), np.ones(12, int)]
    unit = np.unique(unit, return_inverse=True)[1]
    y = np.eye(3)[labels]
    z = rows.astype(np.float64)
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    ridge = np.mean([v for v in np.linalg.eigvalsh(z.T @ z) if v > 1e-9])
    expected = np.empty((24, 3))
    for one in np.unique(unit):
        stay = unit != one
        x, target = z[stay], y[stay]
        centre, mean = x.mean(axis=0), target.mean(axis=0)
        # the intercept of the penalised fit is free, and taken away again, with n of all rows
        gram = (x - centre).T @ (x - centre) + ridge * np.eye(6)
        weight = np.linalg.solve(gram, (x - centre).T @ (target - mean))
        expected[~stay] = (z[~stay] - centre) @ weight
    found = module._operator(rows, unit) @ y.astype(np.float32)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_shuffled_labels_keep_their_numbers_and_groups_theirs():
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    alone = module._shuffles(labels, np.arange(30), rng)
    assert len(alone) == 1 + module.SHUFFLES
    assert (alone[0] == labels).all()
    assert (np.sort(alone, axis=1) == np.sort(labels)).all()
    assert len(np.unique(alone, axis=0)) > 290
    unit = np.repeat(np.arange(10), 3)
    whole = module._shuffles(np.repeat(np.arange(10) % 2, 3), unit, rng).reshape(-1, 10, 3)
    assert (whole == whole[:, :, :1]).all()
    assert (whole[:, :, 0].sum(axis=1) == 5).all()
    uneven = module._shuffles(np.r_[0, 0, 0, 1, 1, 2], np.r_[0, 0, 0, 1, 1, 2], rng)
    assert (uneven[:, 0] == uneven[:, 2]).all()
    assert set(uneven[:, 5]) == {0, 1, 2}


def test_copies_of_one_file_do_not_make_noise_learnable():
    rows = np.repeat(noise(30), 4, axis=0)
    labels = np.repeat(np.random.default_rng(3).permutation(np.arange(30) % 2), 4)
    groups = np.repeat([f"g{i}" for i in range(30)], 4)
    assert learnable({"end": rows}, labels, 2).learnable
    told = learnable({"end": rows}, labels, 2, groups=groups)
    assert not told.learnable
    assert told.p_value > module.LEVEL


@pytest.mark.parametrize(("n", "ways"), [(10, comb(10, 5) // 2), (9, comb(9, 4))])
def test_the_least_p_value_is_one_over_the_ways_to_deal_the_labels(n, ways):
    assert module._least_p(np.arange(n) % 2, np.arange(n)) == pytest.approx(1 / ways)


def test_five_images_are_too_few_to_tell():
    told = learnable({"end": clusters(5, 8, 2, apart=9.0)[0]}, np.array([0, 0, 0, 1, 1]), 2)
    assert (told.learnable, told.enough, told.p_value, told.n) == (False, False, None, 5)
    assert told.why == "5 examples are too few to tell what is learned from luck."


def test_few_rows_that_nearly_pass_are_too_few_and_many_are_not(monkeypatch):
    rows, labels = clusters(24, 10, 2, apart=2.0)
    assert learnable({"end": rows}, labels, 2).learnable
    monkeypatch.setattr(module, "LEVEL", 0.0)
    monkeypatch.setattr(module, "FEW_LEVEL", 0.001)
    near = learnable({"end": rows}, labels, 2)
    assert (near.learnable, near.enough) == (False, False)
    assert near.p_value < module.DOUBT
    assert "24 examples are too few to tell what is learned from luck" in near.why
    monkeypatch.setattr(module, "FEW", 12)
    assert learnable({"end": rows}, labels, 2).enough


@pytest.mark.parametrize(("n", "enough"), [(16, False), (24, True)])
def test_where_nothing_shows_half_as_many_rows_are_enough_to_say_no(n, enough):
    told = learnable({"end": noise(n, seed=3)}, np.arange(n) % 2, 2)
    assert told.p_value > module.DOUBT
    assert (told.learnable, told.enough) == (False, enough)


def test_ten_rows_of_two_classes_can_pass():
    rows, labels = clusters(10, 20, 2, apart=8.0)
    told = learnable({"end": rows}, labels, 2)
    assert told.learnable
    assert module.LEVEL / 2 < told.p_value <= module.FEW_LEVEL


def test_a_class_with_one_image_is_left_away_and_said():
    rows, labels = clusters(41, 10, 2, apart=2.0)
    labels[7] = 2
    told = learnable({"end": rows}, labels, 3)
    assert told.learnable
    assert told.n == 40
    assert "1 class with one example (or copies of it) not counted" in told.why
    none = learnable({"end": rows[:4]}, np.arange(4), 4)
    assert (none.learnable, none.enough, none.n) == (False, False, 0)
    assert "Fewer than two classes have two examples that are apart" in none.why
    one = learnable({"end": rows[:12]}, np.r_[np.zeros(11, int), 1], 2)
    assert not one.enough


@pytest.mark.parametrize("spread", [0.0, 1e-7])
def test_pictures_that_are_all_the_same_teach_nothing(spread):
    rows = (5.0 + spread * noise(40)).astype(np.float32)
    told = learnable({"stem": rows, "end": rows}, np.arange(40) % 2, 2)
    assert not told.learnable
    assert told.enough
    assert told.p_value is None
    assert "all 40 examples look the same" in told.why


def test_the_same_pictures_in_every_class_teach_nothing():
    rows = np.tile(noise(10), (3, 1))
    labels, groups = np.repeat(np.arange(3), 10), np.tile(np.arange(10), 3)
    for kin in (None, groups):
        told = learnable({"end": rows}, labels, 3, groups=kin)
        assert not told.learnable
        assert not told.enough or told.p_value > 0.5
    assert not learnable({"end": rows}, labels, 3, groups=np.zeros(30)).enough


def test_small_differences_on_large_numbers_are_seen():
    rows, labels = clusters(60, 20, 3, apart=2.0)
    near = (1000.0 + 0.1 * rows.astype(np.float64)).astype(np.float32)
    assert learnable({"end": near}, labels, 3).learnable


def test_some_of_many_rows_and_stages_are_looked_at(monkeypatch):
    monkeypatch.setattr(module, "MOST", 60)
    rows, labels = clusters(240, 20, 3, apart=2.0)
    told = learnable({"end": View(rows)}, labels, 3)
    assert told.learnable
    assert told.n == 60
    names = [f"s{i}" for i in range(19)]
    assert module._some(names) == ["s4", "s9", "s14", "s18"]
    assert module._some(names[:3]) == ["s0", "s1", "s2"]
    assert module._some(names[:1]) == ["s0"]


def test_scores_do_not_depend_on_how_many_are_computed_together(monkeypatch):
    rows, labels = clusters(30, 10, 3, apart=0.5)
    whole = learnable({"end": rows}, labels, 3)
    monkeypatch.setattr(module, "AT_ONCE", 1000)
    parts = learnable({"end": rows}, labels, 3)
    assert parts.p_value == pytest.approx(whole.p_value, abs=0.01)
    assert parts.chance == pytest.approx(whole.chance, abs=1e-3)


def test_what_does_not_fit_is_refused():
    rows, labels = clusters(30, 8, 3)
    with pytest.raises(OptionError, match="at least one stage"):
        learnable({}, labels, 3)
    with pytest.raises(HeadError, match="labels must have the shape"):
        learnable({"stem": rows[1:], "end": rows}, labels, 3)
    rows[4, 2] = np.inf
    with pytest.raises(HeadError, match="Row 4"):
        learnable({"end": rows}, labels, 3)
