import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.errors import HeadError
from regraft.heads.folds import fair, folds, shared


@given(st.integers(0, 1000), st.integers(10, 80), st.integers(2, 5))
def test_every_class_is_spread_evenly(seed, n, k):
    labels = np.random.default_rng(seed).integers(0, k, n)
    fold = folds(labels, 5, seed=seed)
    counts = np.array([np.bincount(fold[labels == c], minlength=5) for c in range(k)])
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()
    assert np.ptp(np.bincount(fold, minlength=5)) <= 1
    np.testing.assert_array_equal(fold, folds(labels, 5, seed=seed))


@given(st.integers(0, 1000))
def test_groups_stay_together(seed):
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, 2, 100), rng.integers(0, 30, 100)
    fold = folds(labels, 5, seed=seed, groups=groups)
    for g in np.unique(groups):
        assert len(set(fold[groups == g])) == 1
    assert np.bincount(fold, minlength=5).min() > 8


def test_one_row_cannot_be_left_out():
    with pytest.raises(HeadError, match="at least two rows"):
        folds(np.array([0]), 5, seed=0)
    with pytest.raises(HeadError, match="two groups"):
        folds(np.array([0, 1]), 5, seed=0, groups=np.array([7, 7]))


@given(st.integers(0, 1000), st.integers(2, 5))
def test_uneven_groups_leave_no_fold_empty(seed, count):
    rng = np.random.default_rng(seed)
    sizes = np.r_[rng.integers(40, 200), rng.integers(1, 4, 6), np.ones(rng.integers(0, 60), int)]
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    labels = rng.integers(0, 3, len(groups))
    fold = folds(labels, count, seed=seed, groups=groups)
    assert set(fold) == set(range(count))
    assert all(len(set(fold[groups == g])) == 1 for g in range(len(sizes)))
    np.testing.assert_array_equal(fold, folds(labels, count, seed=seed, groups=groups))


@given(st.integers(0, 1000))
def test_rows_beside_groups_are_dealt_by_class(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 90)
    groups = np.r_[0, 0, np.arange(2, 90)]
    fold = folds(labels, 5, seed=seed, groups=groups)
    counts = np.array([np.bincount(fold[labels == c], minlength=5) for c in range(3)])
    assert (np.ptp(counts, axis=1) <= 2).all()
    assert np.ptp(np.bincount(fold, minlength=5)) <= 4


def test_a_row_counts_only_if_its_class_stays():
    labels = np.array([0, 0, 1, 2, 2, 2])
    assert list(fair(labels)) == [True, True, False, True, True, True]
    groups = np.array(["a", "a", "b", "c", "c", "b"])
    assert list(fair(labels, groups)) == [False, False, False, True, True, True]
    assert not fair(labels, np.zeros(6)).any()


def test_groups_of_one_size_come_together():
    groups = np.array([3, 1, 3, 0, 5, 5, 7, 7, 7])
    found = [members.tolist() for members in shared(groups)]
    assert found == [[[0, 2], [4, 5]], [[6, 7, 8]]]
    assert list(shared(None)) == []
