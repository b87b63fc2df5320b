import numpy as np
import pytest

from regraft import heads
from regraft.errors import HeadError
from regraft.heads.contract import check_head, clusters
from regraft.heads.layers import Signs
from regraft.heads.lift import Lifted, lift, widest


def ring(n, seed=0):
    """Two classes, one around the other: no straight line tells them apart."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 2)
    angle = rng.uniform(0, 2 * np.pi, n)
    radius = 1.0 + 2.0 * labels + 0.3 * rng.normal(size=n)
    rows = np.c_[radius * np.cos(angle), radius * np.sin(angle)]
    return rows.astype(np.float32), labels


def test_a_lift_bends_what_is_straight():
    rows, labels = ring(300)
    straight = heads.fit("ridge", rows, labels, 2)
    bent = heads.fit("ridge", rows, labels, 2, lift=256)
    chosen = heads.fit("ridge", rows, labels, 2, lift="auto", memory=1 << 22)
    assert straight.validation.accuracy < 0.7
    assert bent.validation.accuracy > 0.95
    assert chosen.settings["lift"] >= 256
    fresh, truth = ring(500, seed=1)
    assert (bent.probabilities(fresh).argmax(axis=1) == truth).mean() > 0.95


def test_a_lifted_head_keeps_the_contract():
    check_head("ridge", lift=64)


def test_leave_one_out_stays_exact_above_a_lift():
    rows, labels = ring(30)
    fitted = heads.fit("ridge", rows, labels, 2, lift=16)
    x = Lifted(rows, fitted.layers.chain[:3], 16)[0:30].astype(np.float64)
    z = np.c_[(x - x.mean(axis=0)) / x.std(axis=0), np.ones(30)]
    y = np.eye(2)[labels]
    shrink = np.diag(np.r_[np.full(16, 30 * fitted.settings["penalty"]), 0.0])
    for i in range(30):
        left = np.delete(np.arange(30), i)
        w = np.linalg.solve(z[left].T @ z[left] + shrink, z[left].T @ y[left])
        truth = (z[i] @ w - 0.5) / 0.5
        np.testing.assert_allclose(fitted.validation.scores[i], truth, atol=1e-4)


def test_signs_are_fair_fixed_and_cheap_to_store():
    rows, _ = clusters(20, 30, 2)
    _, signs, _ = lift(rows, 512, seed=3)
    assert isinstance(signs, Signs)
    assert signs.bits.nbytes == 30 * 512 // 8
    assert set(np.unique(signs.weight)) == {-1.0, 1.0}
    assert abs(float(signs.weight.mean())) < 0.05
    assert list(signs.bits[0, :8]) == [248, 194, 190, 207, 147, 26, 237, 21]  # on every platform
    assert not np.array_equal(signs.bits, lift(rows, 512, seed=4)[1].bits)


def test_memory_caps_the_width():
    assert widest(10**6, 1 << 34) == 8192
    assert widest(10**6, 1 << 30) == 4096
    assert widest(10**6, 1000) == 0
    assert widest(100, 1 << 30) == 8192
    rows, labels = clusters(60, 5, 2)
    with pytest.raises(HeadError, match="more than 1000 bytes"):
        heads.fit("ridge", rows, labels, 2, lift=512, memory=1000)
    assert heads.fit("ridge", rows, labels, 2, lift="auto", memory=1000).settings["lift"] == 0
    for bad in (-1, "wide"):
        with pytest.raises(HeadError, match="lift must be"):
            heads.fit("ridge", rows, labels, 2, lift=bad)
