import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft import heads
from regraft.errors import HeadError
from regraft.heads import leave_out as module
from regraft.heads import ridge as ridge_module
from regraft.heads.calibrate import calibrate
from regraft.heads.contract import View, clusters
from regraft.heads.leave_out import leave_out, leave_out_all
from regraft.heads.moments import Moments
from regraft.heads.ridge import PENALTIES, Ridge, spread_out
from regraft.heads.spectrum import decompose, of_moments


def brute_force(rows, labels, n_classes, penalty, without):
    """Scores of the rows `without` by a fit on the others: plain normal equations."""
    x = rows.astype(np.float64)
    z = (x - x.mean(axis=0)) / x.std(axis=0)  # the scale of all rows, as documented
    y = np.eye(n_classes)[labels]
    left = np.setdiff1d(np.arange(len(x)), without)
    a = np.c_[z, np.ones(len(z))]
    shrink = np.diag(np.r_[np.full(x.shape[1], len(x) * penalty), 0.0])
    w = np.linalg.solve(a[left].T @ a[left] + shrink, a[left].T @ y[left])
    return a[without] @ w


@pytest.mark.parametrize(("n", "dim"), [(30, 4), (12, 20), (21, 20), (20, 20)])
@given(st.integers(0, 10_000), st.integers(2, 4), st.sampled_from(PENALTIES[3:]))
@settings(max_examples=15, deadline=None)
def test_leave_one_out_is_a_fit_without_the_row(n, dim, seed, n_classes, penalty):
    rows, labels = clusters(n, dim, n_classes, seed=seed)
    spectrum = decompose(rows, labels, n_classes)
    ours = leave_out(spectrum, spectrum.coordinates(rows), labels, penalty)
    truth = [brute_force(rows, labels, n_classes, penalty, [i])[0] for i in range(n)]
    np.testing.assert_allclose(ours, truth, atol=1e-7)
    streamed = leave_out_all(spectrum, View(rows), labels, penalty)
    np.testing.assert_allclose(streamed, truth, atol=2e-5)


@pytest.mark.parametrize("sizes", [(1, 1, 2, 2, 2, 3, 3, 4, 5, 7), (1, 2, 4, 23)])
@given(st.integers(0, 10_000), st.sampled_from(PENALTIES[3:]))
@settings(max_examples=15, deadline=None)
def test_leave_group_out_is_a_fit_without_the_group(sizes, seed, penalty):
    rows, labels = clusters(30, 5, 3, seed=seed)
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    spectrum = decompose(rows, labels, 3)
    ours = leave_out(spectrum, spectrum.coordinates(rows), labels, penalty, groups)
    streamed = leave_out_all(spectrum, View(rows), labels, penalty, groups)
    for g in np.unique(groups):
        members = np.flatnonzero(groups == g)
        truth = brute_force(rows, labels, 3, penalty, members)
        np.testing.assert_allclose(ours[members], truth, atol=1e-7)
        np.testing.assert_allclose(streamed[members], truth, atol=2e-5)


@given(st.integers(0, 10_000), st.sampled_from(PENALTIES))
@settings(max_examples=15, deadline=None)
def test_primal_equals_dual(seed, penalty):
    rows, labels = clusters(18, 18, 3, seed=seed)
    dual = decompose(rows, labels, 3)
    primal = of_moments(Moments.of(rows, labels, 3))
    assert dual.inside is not None
    assert primal.inside is None
    np.testing.assert_allclose(dual.inside, dual.coordinates(rows), atol=1e-8)
    a = dual.fit(dual.coordinates(rows), penalty)
    b = primal.fit(primal.coordinates(rows), penalty)
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_weights_are_those_of_scikit_learn():
    from sklearn.linear_model import Ridge as Reference
    from sklearn.preprocessing import StandardScaler

    for n, dim in ((50, 6), (20, 40)):
        rows, labels = clusters(n, dim, 3)
        layers = Ridge().solve(rows, labels, 3, {"penalty": 0.3}, seed=0)
        scaled = StandardScaler().fit_transform(rows.astype(np.float64))
        reference = Reference(alpha=0.3 * n).fit(scaled, np.eye(3)[labels])
        share = np.bincount(labels) / n
        theirs = (reference.predict(scaled) - share) / np.sqrt(share * (1 - share))
        np.testing.assert_allclose(layers(rows), theirs, atol=1e-4)


def test_order_of_rows_does_not_matter():
    for n in (60, 14):
        rows, labels = clusters(n, 15, 3)
        order = np.random.default_rng(0).permutation(n)
        one = heads.fit("ridge", rows, labels, 3)
        other = heads.fit("ridge", rows[order], labels[order], 3)
        assert one.settings == other.settings
        np.testing.assert_allclose(one.validation.scores[order], other.validation.scores, atol=1e-6)
        np.testing.assert_allclose(one.probabilities(rows), other.probabilities(rows), atol=1e-5)


@pytest.mark.parametrize("grouped", [False, True])
def test_streaming_changes_nothing(monkeypatch, grouped):
    rows, labels = clusters(400, 6, 3, apart=1.0)
    groups = np.arange(400) // 3 if grouped else None
    whole = heads.fit("ridge", rows, labels, 3, groups=groups)
    monkeypatch.setattr(ridge_module, "MOST_TUNED", 128)
    monkeypatch.setattr(module, "CHUNK", 37)
    streamed = heads.fit("ridge", View(rows), labels, 3, groups=groups)
    if streamed.settings != whole.settings:  # fewer rows may like a neighbouring penalty
        spectrum = decompose(rows, labels, 3)
        again = leave_out_all(spectrum, rows, labels, streamed.settings["penalty"], groups)
        again = spectrum.evidence(again)
    else:
        again = whole.validation.scores
    np.testing.assert_allclose(streamed.validation.scores, again, atol=1e-4)
    assert streamed.validation.n == 400


def test_the_sample_for_the_penalty_is_spread_and_keeps_groups_whole(monkeypatch):
    monkeypatch.setattr(ridge_module, "MOST_TUNED", 128)
    assert list(spread_out(100, None)) == list(range(100))
    chosen = spread_out(5000, None)
    assert len(chosen) == 128
    assert chosen[0] == 0
    assert chosen[-1] == 4999
    groups = np.random.default_rng(0).integers(0, 700, 5000)
    chosen = spread_out(5000, groups)
    assert 64 < len(chosen) < 256
    assert not set(groups[chosen]) & set(np.delete(groups, chosen))


def test_the_sample_for_the_penalty_has_no_giant_group(monkeypatch):
    monkeypatch.setattr(ridge_module, "MOST_TUNED", 128)
    groups = np.r_[np.zeros(3000, int), np.arange(1, 2001)]
    assert 0 < len(spread_out(5000, groups)) <= 256
    assert len(spread_out(5000, np.arange(5000) // 2500)) == 2500, "one group at least"


def test_a_group_too_large_to_leave_out_is_said(monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 8 * 4 * 5)
    rows, labels = clusters(30, 4, 2)
    with pytest.raises(HeadError, match=r"group of 10 rows .* up to 5 rows"):
        heads.fit("ridge", rows, labels, 2, groups=np.arange(30) // 10)


def test_two_rows_one_column():
    fitted = heads.fit("ridge", np.array([[1.0], [2.0]], np.float32), np.array([1, 0]), 2)
    assert fitted.validation.n == 0, "each row is alone in its class"
    assert list(fitted.probabilities(np.array([[1.0], [2.0]], np.float32)).argmax(axis=1)) == [1, 0]


def test_the_chosen_penalty_is_near_the_best_one_on_a_test():
    rows, labels = clusters(1060, 80, 3, apart=1.5)
    train, test = slice(0, 60), slice(60, None)
    fitted = heads.fit("ridge", rows[train], labels[train], 3)
    losses = []
    for penalty in (fitted.settings["penalty"], *PENALTIES):
        layers = Ridge().solve(rows[train], labels[train], 3, {"penalty": penalty}, seed=0)
        scores = layers(rows[test])
        losses.append(calibrate(scores, labels[test]).log_loss(scores, labels[test]))
    assert losses[0] < 1.15 * min(losses) < 0.8 * losses[1]


def test_noise_gives_no_confidence():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    noise = rng.normal(size=(200, 50)).astype(np.float32)
    fitted = heads.fit("ridge", noise, labels, 2)
    assert fitted.validation.accuracy < 0.65
    assert abs(fitted.probabilities(noise) - 0.5).max() < 0.1


def test_a_rare_class_is_found_without_losing_the_common_one():
    rows, labels = clusters(12_000, 20, 2, apart=1.0)
    common, rare = (np.flatnonzero(labels == k) for k in (0, 1))
    train = np.r_[common[:400], rare[:10]]
    x, y = rows[6000:], labels[6000:]
    raw = Ridge()
    spectrum = decompose(rows[train], labels[train], 2)
    penalty = raw.tune(rows[train], labels[train], 2, seed=0, groups=None, held_out=None).settings[
        "penalty"
    ]
    answers = {"raw": spectrum.fit(spectrum.coordinates(x), penalty).argmax(axis=1)}
    for balance in (0.0, 0.5, 1.0):
        fitted = heads.fit("ridge", rows[train], labels[train], 2, balance=balance)
        answers[balance] = fitted.probabilities(x).argmax(axis=1)
    recall = {k: [float((a[y == c] == c).mean()) for c in (0, 1)] for k, a in answers.items()}
    balanced = {k: sum(r) / 2 for k, r in recall.items()}
    accuracy = {k: (40 * r[0] + r[1]) / 41 for k, r in recall.items()}
    assert balanced[0.0] > balanced["raw"] + 0.05
    assert accuracy[0.0] >= accuracy["raw"] - 0.002
    assert balanced[0.5] > balanced[0.0] + 0.05
    with pytest.raises(HeadError, match="balance"):
        heads.fit("ridge", rows[:20], labels[:20], 2, balance=2.0)


@pytest.mark.parametrize("name", ["ridge", "logistic", "prototypes"])
def test_balance_changes_nothing_where_classes_are_equal(name):
    rows, labels = clusters(60, 8, 3)
    p = [heads.fit(name, rows, labels, 3, balance=b).probabilities(rows) for b in (0.0, 1.0)]
    np.testing.assert_allclose(p[0], p[1], atol=1e-6)
