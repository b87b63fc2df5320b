import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft import heads
from regraft.heads.contract import clusters
from regraft.heads.prototypes import METRICS, Prototypes, _left_out


def by_hand(rows, labels, n_classes, metric, without):
    """Scores of the rows `without` by class means of the others."""
    z = (rows - rows.mean(axis=0, dtype=np.float64)) / rows.std(axis=0, dtype=np.float64)
    if metric == "cosine":
        z /= np.linalg.norm(z, axis=1, keepdims=True)
    left = np.setdiff1d(np.arange(len(z)), without)
    means = np.array([z[left][labels[left] == k].mean(axis=0) for k in range(n_classes)])
    if metric == "cosine":
        return z[without] @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    far = -0.5 * ((z[without][:, None] - means) ** 2).sum(axis=2)
    return far + 0.5 * (z[without] ** 2).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("metric", METRICS)
@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_leaving_out_is_a_mean_without(metric, seed):
    rows, labels = clusters(24, 6, 3, seed=seed)
    ours = _left_out(rows, labels, 3, metric, None)
    groups = np.random.default_rng(seed).permutation(24) // 2
    grouped = _left_out(rows, labels, 3, metric, groups)
    for i in range(24):
        np.testing.assert_allclose(ours[i], by_hand(rows, labels, 3, metric, [i])[0], atol=1e-4)
        members = np.flatnonzero(groups == groups[i])
        truth = by_hand(rows, labels, 3, metric, members)[list(members).index(i)]
        np.testing.assert_allclose(grouped[i], truth, atol=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_answers_are_nearest_means(metric):
    rows, labels = clusters(30, 6, 3)
    layers = Prototypes().solve(rows, labels, 3, {"metric": metric}, seed=0)
    z = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    if metric == "cosine":
        z /= np.linalg.norm(z, axis=1, keepdims=True)
    means = np.array([z[labels == k].mean(axis=0) for k in range(3)])
    if metric == "cosine":
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        nearest = (z @ means.T).argmax(axis=1)
    else:
        nearest = ((z[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(layers(rows).argmax(axis=1), nearest)


@pytest.mark.parametrize("metric", METRICS)
@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_uneven_groups_are_left_out_whole(metric, seed):
    rows, labels = clusters(24, 6, 3, seed=seed)
    groups = np.r_[np.zeros(12, int), 1, 1, 1, 2, 2, np.arange(3, 10)]
    ours = _left_out(rows, labels, 3, metric, groups)
    for g in range(10):
        members = np.flatnonzero(groups == g)
        truth = by_hand(rows, labels, 3, metric, members)
        np.testing.assert_allclose(ours[members], truth, atol=1e-4)


def test_a_row_alone_in_its_class_does_not_count():
    rows, labels = clusters(9, 4, 2)
    labels[:] = 0
    labels[3] = 1
    seen = heads.fit("prototypes", rows, labels, 2).validation
    assert list(seen.rows) == [0, 1, 2, 4, 5, 6, 7, 8]
    assert seen.n == len(seen.scores) == 8
    assert np.isfinite(_left_out(rows, labels, 2, "cosine", None)).all()
