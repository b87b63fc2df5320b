"""Distances of made-up layers: known values, chance taken off, broken channels borne."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.similarity.distance import Layer, by_stage, distances, hellinger


def layer(pictures: np.ndarray, mean: float = 0.0, variance: float = 1.0, stage: int = 0) -> Layer:
    """A layer that remembers one mean and variance and is given (n, C, positions)."""
    channels = pictures.shape[1]
    moments = np.stack([pictures.mean(2), (pictures**2).mean(2)], axis=1)
    stored = np.full(channels, mean), np.full(channels, variance)
    return Layer("norm", stage, *stored, moments)


def pictures(n: int, seed: int = 0, channels: int = 200) -> np.ndarray:
    """(n, C, 50) of variance 1, three quarters of which lie between whole pictures."""
    random = np.random.default_rng(seed)
    each = random.normal(size=(n, channels, 1)) * np.sqrt(0.75)
    return each + random.normal(size=(n, channels, 50)) * 0.5


def test_hellinger_agrees_with_the_integral() -> None:
    x = np.linspace(-30, 30, 200_001)

    def density(mean: float, variance: float) -> np.ndarray:
        return np.exp(-((x - mean) ** 2) / 2 / variance) / np.sqrt(2 * np.pi * variance)

    for a in ((0.0, 1.0), (1.0, 4.0), (-2.0, 0.3)):
        for b in ((0.0, 1.0), (3.0, 2.0)):
            overlap = np.sqrt(density(*a) * density(*b)).sum() * (x[1] - x[0])
            values = [np.array(v) for v in (*a, *b)]
            assert float(hellinger(*values)) == pytest.approx(1 - overlap, abs=1e-6)


@pytest.mark.parametrize("n", [8, 16, 64])
def test_chance_is_taken_off(n: int) -> None:
    """Pictures of the source itself lie at nothing, however few: positions are no pictures."""
    found = [by_stage([layer(pictures(n, seed))]) for seed in range(10)]
    raw = np.mean([distances(layer(pictures(n, seed)))[0] for seed in range(10)])
    assert raw > 0.1 / n
    assert np.mean([f.whole for f in found]) < raw / 4


def test_a_moved_mean_is_found_at_any_number_of_pictures() -> None:
    far = [by_stage([layer(pictures(n), mean=2.0)]).whole for n in (8, 64)]
    truth = float(hellinger(*(np.array(v) for v in (0.0, 1.0, 2.0, 1.0))))
    np.testing.assert_allclose(far, truth, rtol=0.1)


def test_the_error_is_that_of_repeated_samples() -> None:
    found = [by_stage([layer(pictures(32, seed, 20), mean=1.0)]) for seed in range(60)]
    spread = np.std([f.whole for f in found])
    assert np.mean([f.error for f in found]) == pytest.approx(spread, rel=0.35)


def test_depths_count_the_same() -> None:
    near, far = layer(pictures(16), stage=2), layer(pictures(16), mean=4.0, stage=7)
    found = by_stage([near, near, near, far])
    assert set(found.stages) == {2, 7}
    assert found.whole == pytest.approx((found.stages[2] + found.stages[7]) / 2)


def test_channels_that_never_move_are_borne() -> None:
    x = pictures(16)
    x[:, :20] = 0.0
    given = layer(x)
    given.variance[:20] = 0.0
    with np.errstate(all="raise"):
        assert by_stage([given]).whole < 0.02
        assert by_stage([layer(np.zeros((5, 3, 4)), variance=0.0)]).whole == 0
