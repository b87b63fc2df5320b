"""Each score against its definition, written out slowly."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.errors import HeadError
from regraft.evidence.scores import NEIGHBOURS, h_score, knn, log_me
from regraft.heads.contract import View, clusters


@st.composite
def examples(draw):
    """Few or many rows of few or many columns, of which some may be constant."""
    n_classes = draw(st.integers(2, 4))
    n = draw(st.integers(2 * n_classes, 30))
    dim = draw(st.integers(1, 40))
    apart = draw(st.floats(0.0, 3.0))
    rows, labels = clusters(n, dim, n_classes, seed=draw(st.integers(0, 99)), apart=apart)
    if dim > 2 and draw(st.booleans()):
        rows[:, 1] = 7.0
    return rows, labels, n_classes


def standardised(rows):
    x = rows.astype(np.float64)
    x = x[:, x.std(axis=0) > 1e-6 * np.abs(x).max()]
    return (x - x.mean(axis=0)) / x.std(axis=0)


def evidence(x, y, log_alpha, log_beta):
    """log N(y; 0, xxᵀ/α + I/β), by the covariance itself."""
    n = len(y)
    cov = x @ x.T / np.exp(log_alpha) + np.eye(n) / np.exp(log_beta)
    _, log_det = np.linalg.slogdet(cov)
    return -0.5 * (y @ np.linalg.solve(cov, y) + log_det + n * np.log(2 * np.pi))


@settings(deadline=None, max_examples=25)
@given(examples())
def test_log_me_is_the_most_evidence_that_any_prior_and_noise_give(made):
    rows, labels, n_classes = made
    x = rows.astype(np.float64)
    reached = n_classes * len(x) * log_me(rows, labels, n_classes)
    grid = np.linspace(-6, 6, 9)
    most = 0.0
    for k in range(n_classes):
        y = (labels == k).astype(np.float64)
        most += max(evidence(x, y, a, b) for a, b in itertools.product(3 + grid, 1 + grid))
    assert reached >= most - 1e-6 * abs(most)


def test_log_me_is_the_value_at_the_papers_fixed_point():
    rows, labels = clusters(60, 12, 3, seed=3)
    x = rows.astype(np.float64)
    total = 0.0
    for k in range(3):
        y = (labels == k).astype(np.float64)
        alpha = beta = 1.0
        for _ in range(200):
            a = alpha * np.eye(12) + beta * x.T @ x
            m = beta * np.linalg.solve(a, x.T @ y)
            values = beta * np.linalg.eigvalsh(x.T @ x)
            gamma = (values / (alpha + values)).sum()
            alpha, beta = gamma / (m @ m), (60 - gamma) / ((y - x @ m) ** 2).sum()
        total += evidence(x, y, np.log(alpha), np.log(beta))
    assert log_me(rows, labels, 3) == pytest.approx(total / 3 / 60, abs=1e-8)


@settings(deadline=None, max_examples=40)
@given(examples())
def test_the_h_score_is_that_of_the_dense_shrunken_covariance(made):
    rows, labels, n_classes = made
    z = standardised(rows)
    n, dim = z.shape
    cov = z.T @ z / n
    mean = np.trace(cov) / dim
    target = mean * np.eye(dim)
    off = sum(((np.outer(row, row) - cov) ** 2).sum() for row in z) / n**2
    apart = ((cov - target) ** 2).sum()
    shrink = min(1.0, off / apart) if apart > 1e-9 * (cov**2).sum() else 1.0
    means = np.stack([z[labels == k].mean(axis=0) for k in range(n_classes)])[labels]
    between = means.T @ means / n
    shrunken = (1 - shrink) * cov + shrink * target
    direct = (1 - shrink) * np.trace(np.linalg.solve(shrunken, between))
    found = h_score(rows, labels, n_classes)
    assert found == pytest.approx(direct, rel=1e-6, abs=1e-9)
    assert -1e-9 <= found <= n_classes - 1 + 1e-9


def test_the_shrinkage_is_that_of_scikit_learn():
    covariance = pytest.importorskip("sklearn.covariance")
    rows, labels = clusters(50, 20, 3, seed=1)
    z = standardised(rows)
    fitted = covariance.LedoitWolf(assume_centered=True).fit(z)
    means = np.stack([z[labels == k].mean(axis=0) for k in range(3)])[labels]
    direct = np.trace(np.linalg.solve(fitted.covariance_, means.T @ means / 50))
    assert h_score(rows, labels, 3) == pytest.approx((1 - fitted.shrinkage_) * direct, rel=1e-6)


def naive_knn(rows, labels, groups):
    """One row after another, the nearest others in order, each with one vote."""
    z = standardised(rows)
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    units = [len(set(groups[labels == k])) for k in np.unique(labels)]
    count = min(NEIGHBOURS, max(1, int(np.median(units)) - 1))
    right = told = 0
    for i in range(len(z)):
        others = [j for j in range(len(z)) if groups[j] != groups[i]]
        if labels[i] not in labels[others]:
            continue
        told += 1
        near = sorted(others, key=lambda j: -(z[i] @ z[j]))[:count]
        votes = {}
        for j in near:
            votes[labels[j]] = votes.get(labels[j], 0.0) + 1 + 1e-3 * (z[i] @ z[j])
        right += max(votes, key=votes.get) == labels[i]
    return right / told if told else None


@settings(deadline=None, max_examples=40)
@given(examples(), st.booleans())
def test_neighbours_are_those_of_a_plain_loop(made, grouped):
    rows, labels, n_classes = made
    rows = np.concatenate([rows, rows[:, :1] ** 2, np.random.default_rng(0).normal(
        size=(len(rows), 2))], axis=1).astype(np.float32)  # fmt: skip
    groups = np.arange(len(rows)) // 2 if grouped else np.arange(len(rows))
    found = knn(rows, labels, n_classes, groups=groups if grouped else None)
    assert found == pytest.approx(naive_knn(rows, labels, groups))


def test_neighbours_of_many_rows_are_those_of_a_plain_loop():
    rows, labels = clusters(200, 6, 4, seed=5, apart=1.0)
    assert knn(rows, labels, 4) == pytest.approx(naive_knn(rows, labels, np.arange(200)))


def test_equally_near_rows_share_their_votes():
    rows = np.repeat(np.float32([[1, 0], [-1, 0]]), 40, axis=0)
    labels = np.tile([0, 1], 40)
    alike = knn(rows, labels, 2)  # of the 39 rows like this one 20 are of the other class
    assert alike == 0.0
    assert knn(rows, np.repeat([0, 1], 40), 2) == 1.0
    same = np.ones((40, 3), np.float32)
    assert knn(same, np.arange(40) % 4, 4) == pytest.approx(0.0)
    assert knn(same, np.r_[np.zeros(30, int), np.ones(10, int)], 2) == pytest.approx(0.75)


@settings(deadline=None, max_examples=20)
@given(examples(), st.integers(0, 99))
def test_neither_the_order_of_rows_nor_of_classes_matters(made, seed):
    rows, labels, n_classes = made
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(len(rows)), rng.permutation(n_classes)
    for score in (knn, log_me, h_score):
        one = score(rows, labels, n_classes)
        other = score(rows[order], names[labels[order]], n_classes)
        assert other == pytest.approx(one, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("score", [knn, log_me, h_score])
def test_rows_that_can_only_be_sliced_will_do_and_bad_ones_are_refused(score):
    rows, labels = clusters(30, 8, 3)
    assert score(View(rows), labels, 3) == score(rows, labels, 3)
    with pytest.raises(HeadError, match="labels must have the shape"):
        score(rows, labels[1:], 3)
    rows[4, 2] = np.nan
    with pytest.raises(HeadError, match="Row 4"):
        score(rows, labels, 3)


def test_rows_that_say_nothing_score_nothing():
    labels = np.arange(12) % 3
    assert h_score(np.ones((12, 5), np.float32), labels, 3) == 0.0
    y = np.eye(3)[labels][:, 0]
    noise = -0.5 * (np.log(2 * np.pi * (y @ y) / 12) + 1)
    assert log_me(np.zeros((12, 5), np.float32), labels, 3) == pytest.approx(noise)
    assert knn(np.eye(3, dtype=np.float32), np.arange(3), 3) is None
    one_group = np.zeros(12)
    assert knn(np.eye(12, dtype=np.float32), labels, 3, groups=one_group) is None
