import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft import heads
from regraft.heads.calibrate import calibrate, log_prior, unseen_loss, with_absent


def noisy(n, k, seed, sharp=3.0, bias=0.0):
    """Scores whose softmax(sharp · scores + bias) is the truth's distribution."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, k))
    logits = sharp * scores + bias + rng.gumbel(size=(n, k))
    return scores, logits.argmax(axis=1)


def test_the_true_temperature_and_bias_are_found():
    bias = np.array([1.0, 0.0, -1.0])
    scores, labels = noisy(20_000, 3, 0, 3.0, bias)
    found = calibrate(scores, labels)
    assert found.sharpness == pytest.approx(3.0, rel=0.05)
    np.testing.assert_allclose(found.bias - found.bias.mean(), bias, atol=0.1)
    p = found.probabilities(scores)
    confident = p.max(axis=1)
    for low in (0.4, 0.6, 0.8):
        among = (confident > low) & (confident < low + 0.1)
        right = (p.argmax(axis=1) == labels)[among].mean()
        assert right == pytest.approx(confident[among].mean(), abs=0.04)


@given(st.integers(0, 1000), st.integers(2, 5), st.integers(2, 60))
@settings(max_examples=40, deadline=None)
def test_temperature_alone_changes_no_answer(seed, k, n):
    scores, labels = noisy(n, k, seed)
    found = calibrate(scores, labels, bias=False)
    assert not found.bias.any()
    assert found.sharpness > 0
    p = found.probabilities(scores).astype(np.float64)
    picked = p[np.arange(n), scores.argmax(axis=1)]
    assert (picked >= p.max(axis=1) - 1e-7).all()


@given(st.integers(0, 1000), st.integers(2, 5), st.integers(2, 200))
@settings(max_examples=40, deadline=None)
def test_separable_scores_stay_finite_and_sure(seed, k, n):
    labels = np.random.default_rng(seed).permutation(np.arange(n) % k)  # rare ones are less sure
    found = calibrate(1e3 * np.eye(k)[labels], labels)
    p = found.probabilities(1e3 * np.eye(k)[labels])[np.arange(n), labels]
    assert np.isfinite(found.sharpness)
    assert np.isfinite(found.bias).all()
    assert (p > 1.5 / k if n >= 4 * k else p > 1 / k).all()
    assert (p < 1.0).all()


def test_scores_worse_than_chance_become_uniform():
    scores = np.eye(2)[1 - np.arange(40) % 2]
    p = calibrate(scores, np.arange(40) % 2).probabilities(scores)
    np.testing.assert_allclose(p, 0.5, atol=0.01)


def test_few_rows_get_no_bias_and_equal_scores_no_temperature():
    scores, labels = noisy(12, 4, 0)
    np.testing.assert_allclose(calibrate(scores, labels).bias, log_prior(labels, 4))
    flat = calibrate(np.ones((8, 2)), np.arange(8) % 2)
    assert flat.sharpness == 1.0
    np.testing.assert_allclose(flat.probabilities(np.ones((3, 2))), 0.5)


def test_units_of_the_scores_do_not_matter():
    scores, labels = noisy(300, 3, 1)
    one, other = calibrate(scores, labels), calibrate(1e4 * scores, labels)
    np.testing.assert_allclose(
        one.probabilities(scores), other.probabilities(1e4 * scores), atol=1e-6
    )


def test_scores_that_say_nothing_leave_the_shares_of_the_classes():
    rng = np.random.default_rng(0)
    labels = (np.arange(400) % 10 == 0).astype(np.int64)
    p = calibrate(rng.normal(size=(400, 2)), labels).probabilities(np.zeros((1, 2)))
    np.testing.assert_allclose(p[0], [0.9, 0.1], atol=0.02)


def test_rows_that_are_not_fair_change_nothing_but_the_shares():
    scores, labels = noisy(300, 3, 1)
    spoilt, wrong = scores.copy(), np.arange(300) % 3 == 0
    spoilt[wrong] = -1e3 * np.eye(3)[labels[wrong]]
    found = calibrate(spoilt, labels, fair=~wrong)
    alone = calibrate(scores[~wrong], labels[~wrong])
    assert found.sharpness == pytest.approx(alone.sharpness, rel=0.02)
    assert found.log_loss(spoilt, labels, ~wrong) < 0.9 * calibrate(spoilt, labels).log_loss(
        spoilt, labels, ~wrong
    )


@pytest.mark.parametrize("k", [2, 10, 300])
def test_without_rows_to_learn_from_a_class_that_stands_out_is_about_even(k):
    rng = np.random.default_rng(0)
    scores = 7.0 * rng.normal(size=(max(k, 200), k))
    labels = np.arange(len(scores)) % k
    found = calibrate(scores, labels, fair=np.zeros(len(scores), bool))
    assert found.sharpness * 7.0 == pytest.approx(np.sqrt(2 * np.log(k)), rel=0.5)
    out = rng.normal(size=(500, k))
    out[:, 0] = np.sqrt(2 * np.log(k))
    p = found.probabilities(7.0 * out)[:, 0]
    assert 0.3 < p.mean() < 0.8
    assert unseen_loss(scores, labels, np.zeros(len(scores), bool)) == np.inf


def test_classes_that_were_left_out_do_not_widen_the_spread():
    scores = np.random.default_rng(0).normal(size=(40, 40))
    none = np.zeros(40, bool)
    clean = calibrate(scores, np.arange(40), fair=none).sharpness
    scores[np.arange(40), np.arange(40)] = -50.0
    scores[np.arange(40), (np.arange(40) + 1) % 40] = -50.0
    spoilt = calibrate(scores, np.arange(40), fair=none).sharpness
    assert spoilt == pytest.approx(clean, rel=0.1)


def test_two_rows_do_not_overrule_three_hundred_classes():
    scores = np.random.default_rng(0).normal(size=(301, 300))
    labels = np.r_[np.arange(300), 0]
    told = np.isin(np.arange(301), (0, 300))
    scores[told, 0] = -3.0  # both wrong
    assert calibrate(scores, labels, fair=told).sharpness > 1.0


def test_a_class_that_the_held_out_rows_lack_keeps_its_share_of_the_learned():
    """Else a class that came later, without rows held out for it, would never be answered."""
    assert with_absent(np.array([10, 20, 0]), np.array([30, 60, 30])).tolist() == [10, 20, 7.5]
    assert with_absent(np.array([1, 2]), np.array([9, 1])).tolist() == [1, 2]
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 40)
    rows = (random.normal(0, 1, (120, 6)) + 2.0 * np.eye(3, 6)[truth]).astype(np.float32)
    held = np.arange(0, 80, 4)
    fitted = heads.fit("ridge", rows, truth, 3, validation=(rows[held], truth[held]))
    share = np.mean(fitted.probabilities(rows).argmax(axis=1) == 2)
    assert 0.2 < share < 0.45
