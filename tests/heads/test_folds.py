import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.errors import HeadError
from regraft.heads.folds import folds


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
