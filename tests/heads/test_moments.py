import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.errors import HeadError
from regraft.heads import moments as module
from regraft.heads.contract import View, clusters
from regraft.heads.moments import Moments, columns
from regraft.heads.spectrum import of_moments


def close(one: Moments, other: Moments) -> bool:
    pairs = [(getattr(one, k), getattr(other, k)) for k in ("x", "xx", "y", "xy")]
    return one.n == other.n and all(np.allclose(a, b, rtol=1e-12, atol=1e-9) for a, b in pairs)


@given(st.integers(0, 10_000), st.lists(st.integers(0, 40), max_size=6))
def test_sums_do_not_care_how_the_rows_came(seed, cuts):
    rows, labels = clusters(40, 5, 3, seed=seed)
    whole = Moments.of(View(rows), labels, 3)
    parts = Moments.empty(5, 3)
    for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 40], strict=True):
        parts.add(rows[a:b], labels[a:b])
    order = np.random.default_rng(seed).permutation(40)
    assert close(whole, parts)
    assert close(whole, Moments.of(rows[order], labels[order], 3))
    assert close(whole, Moments.of(rows, np.eye(3)[labels], 3))
    assert close(whole, Moments.of(rows[:9], labels[:9], 3) + Moments.of(rows[9:], labels[9:], 3))


@given(st.integers(0, 10_000), st.integers(0, 40))
def test_what_is_removed_was_never_there(seed, cut):
    rows, labels = clusters(40, 5, 3, seed=seed)
    left = Moments.of(rows, labels, 3)
    left.remove(rows[cut:], labels[cut:])
    assert close(left, Moments.of(rows[:cut], labels[:cut], 3))
    with pytest.raises(HeadError, match="cannot be removed"):
        left.remove(np.concatenate([rows, rows]), np.concatenate([labels, labels]))


def test_the_sums_are_what_they_say():
    rows, labels = clusters(30, 4, 2)
    x, y = rows.astype(np.float64), np.eye(2)[labels]
    sums = Moments.of(rows, labels, 2)
    assert sums.n == 30
    np.testing.assert_allclose(sums.xx, x.T @ x, rtol=1e-13)
    np.testing.assert_allclose(sums.xy, x.T @ y, rtol=1e-13)
    np.testing.assert_array_equal(sums.y, y.sum(axis=0))
    mean, scale = sums.centre()
    np.testing.assert_allclose(mean, x.mean(axis=0))
    np.testing.assert_allclose(scale, x.std(axis=0), rtol=1e-9)
    for ours, theirs in zip(columns(View(rows)), (mean, scale), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_many_classes_are_summed_like_few(monkeypatch):
    rows, labels = clusters(50, 4, 7)
    few = Moments.of(rows, labels, 7)
    monkeypatch.setattr(module, "FEW_CLASSES", 2)
    assert close(few, Moments.of(rows, labels, 7))


def test_a_constant_column_says_nothing():
    rows, labels = clusters(30, 4, 2)
    for value in (0.0, 3.3, 1e6):
        rows[:, 2] = value
        spectrum = of_moments(Moments.of(rows, labels, 2))
        assert len(spectrum.values) == 3
        assert not spectrum.weight(0.1)[2].any()


def test_other_shapes_do_not_add():
    with pytest.raises(HeadError, match="do not add"):
        Moments.empty(3, 2) + Moments.empty(4, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(value):
    rows, labels = clusters(9000, 3, 2)
    rows[8123, 1] = value
    with pytest.raises(HeadError, match="Row 8123 "):
        Moments.of(rows, labels, 2)
    with pytest.raises(HeadError, match="Row 8123 "):
        columns(rows)
