import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.heads.calibrate import calibrate, log_prior


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
    labels = np.random.default_rng(seed).integers(0, k, n)
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
