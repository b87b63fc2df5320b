import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft import heads
from regraft.errors import HeadError
from regraft.evidence import growth
from regraft.evidence.growth import MANY, curve, twice
from regraft.heads.contract import View, clusters


def test_a_curve_rises_and_ends_at_all_rows_but_one():
    rows, labels = clusters(200, 40, 4, apart=1.2, seed=2)
    found = growth(rows, labels, 4)
    assert [point.rows for point in found.points] == [20, 40, 100, 200]
    assert [point.share for point in found.points] == [0.1, 0.2, 0.5, 1.0]
    accuracy = [point.accuracy for point in found.points]
    assert accuracy == sorted(accuracy)
    assert accuracy[-1] - accuracy[0] > 0.1
    assert accuracy[-1] == heads.fit("ridge", rows, labels, 4).validation.accuracy
    for point in found.points:
        low, high = point.accuracy_ci95
        assert low < point.accuracy < high
    assert found.doubled > accuracy[-1]
    assert found.doubled_ci95[0] < found.doubled < found.doubled_ci95[1]
    assert f"{found.doubled:.3f}" in found.why
    json.dumps(found.json(), allow_nan=False)


def test_what_half_of_the_rows_foretells_comes_true():
    """New rows of the same kind, as many as one likes: the truth is known."""
    held = 0
    errors, still = [], []
    for seed in range(8):
        rows, labels = clusters(1600, 30, 3, apart=1.6, seed=seed)
        found = growth(rows[:80], labels[:80], 3)
        head = heads.fit("ridge", rows[:160], labels[:160], 3)
        truth = float((head.probabilities(rows[160:]).argmax(axis=1) == labels[160:]).mean())
        held += found.doubled_ci95[0] <= truth <= found.doubled_ci95[1]
        errors.append(found.doubled - truth)
        still.append(found.points[-1].accuracy - truth)
    assert held >= 7
    assert abs(np.mean(errors)) < 0.04
    assert np.mean(np.square(errors)) < np.mean(np.square(still))


def test_a_part_is_scored_on_other_rows_only():
    """Copies of a row would be known again: with their groups they are never on both sides."""
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(40, 60)), 4, axis=0).astype(np.float32)
    labels, groups = np.repeat(np.arange(40) % 2, 4), np.repeat(np.arange(40), 4)
    blind, told = growth(rows, labels, 2), growth(rows, labels, 2, groups=groups)
    assert blind.points[-2].accuracy > 0.85
    assert all(point.accuracy < 0.7 for point in told.points)
    wide = [p.accuracy_ci95[1] - p.accuracy_ci95[0] for p in told.points]
    assert min(wide) > 0.25  # 40 groups, not 160 rows


def test_every_row_is_scored_as_often_by_each_size():
    rows, labels = clusters(60, 10, 3, apart=9.0)
    shares, right = curve(rows, labels, 3, seed=0, groups=None)
    assert shares == [0.1, 0.2, 0.5, 1.0]
    assert all(len(some) == 60 for some in right)
    assert all(some.max() == 1.0 for some in right)
    assert right[-2].mean() > 0.95


def test_many_rows_are_divided_in_halves_once(monkeypatch):
    calls = []
    real = heads.fit

    def counted(name, rows, *given, **how):
        calls.append(len(rows))
        return real(name, rows, *given, **how)

    monkeypatch.setattr(heads, "fit", counted)
    for n, halves in ((60, 6), (MANY + 60, 2)):
        calls.clear()
        growth(*clusters(n, 6, 3), 3)
        assert sum(size > 0.4 * n for size in calls) == halves
        assert len(calls) == halves + 15


def test_few_rows_have_fewer_points_or_none():
    rows, labels = clusters(30, 10, 3, apart=3.0)
    assert [point.rows for point in growth(rows, labels, 3).points] == [6, 15, 30]
    one = growth(rows[:9], labels[:9], 3)
    assert [point.rows for point in one.points] == [9]
    assert (one.doubled, one.doubled_ci95) == (None, None)
    assert one.why == "9 examples are too few to see what half of them would have brought."
    none = growth(rows[:3], np.arange(3), 3)
    assert (none.points, none.doubled) == ((), None)
    assert none.why == "No class has two examples that are apart, so none can be scored."
    grouped = growth(rows, labels, 3, groups=np.zeros(30))
    assert (grouped.points, grouped.doubled) == ((), None)


def test_a_class_with_one_row_does_not_stop_the_rest():
    rows, labels = clusters(61, 10, 3, apart=3.0)
    labels[5] = 3
    found = growth(rows, labels, 4)
    assert len(found.points) == 3
    assert found.points[-1].accuracy > 0.7


def test_rows_that_say_nothing_grow_nothing():
    labels = np.arange(60) % 3
    found = growth(np.ones((60, 4), np.float32), labels, 3)
    assert found.points[-1].accuracy <= 0.4
    assert found.doubled < 0.6


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=4),
    st.integers(5, 300),
    st.floats(0.2, 1.0),
)
def test_the_forecast_is_a_share_inside_its_interval_and_never_below_what_there_is(means, n, worth):
    shares = [0.1, 0.2, 0.5, 1.0][-len(means) :]
    right = [np.where(np.arange(n) < round(mean * n), 1.0, 0.0) for mean in means]
    expected, (low, high) = twice(shares, right, worth * n)
    assert 0.0 <= low <= expected <= high <= 1.0
    assert low < high


def test_errors_that_fall_like_a_power_go_on_so():
    shares = [0.1, 0.2, 0.5, 1.0]
    n = 100_000
    right = [np.where(np.arange(n) < n * 0.1 * share**-0.3, 0.0, 1.0) for share in shares]
    expected, _ = twice(shares, right, float(n))
    assert expected == pytest.approx(1 - 0.1 * 2**-0.3, abs=2e-4)
    flat, _ = twice(shares, [right[-1]] * 4, float(n))
    assert flat == pytest.approx(0.9, abs=1e-3)


def test_the_same_seed_gives_the_same_curve_and_slices_will_do():
    rows, labels = clusters(60, 10, 3)
    assert growth(rows, labels, 3, seed=4) == growth(View(rows), labels, 3, seed=4)
    assert growth(rows, labels, 3, seed=4) != growth(rows, labels, 3, seed=5)


def test_what_does_not_fit_is_refused():
    rows, labels = clusters(30, 8, 3)
    with pytest.raises(HeadError, match="labels must have the shape"):
        growth(rows, labels[1:], 3)
    rows[4, 2] = np.nan
    with pytest.raises(HeadError, match="not a finite number"):
        growth(rows, labels, 3)
