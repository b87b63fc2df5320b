"""A head moves between its solved form and the one that is trained, and says the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regraft import heads
from regraft.heads.modules import chain_module, layers_of
from regraft.train import head


def blobs(n: int = 60, d: int = 5, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.arange(n) % k
    rows = random.normal(50.0, 3.0, (n, d)) + 4.0 * np.eye(k, d)[labels]
    rows[:, -1] = 7.0  # a constant column
    return rows.astype(np.float32), labels


@pytest.mark.parametrize("name", ["ridge", "logistic", "prototypes", "mlp"])
def test_a_solved_head_says_the_same_as_logits(name: str) -> None:
    rows, labels = blobs()
    fitted = heads.fit(name, rows, labels, 3)
    module = chain_module(head.solved(fitted, rows))
    with torch.inference_mode():
        said = torch.softmax(module(torch.from_numpy(rows)), dim=1).numpy()
    np.testing.assert_allclose(said, fitted.probabilities(rows), atol=2e-5)


def test_one_affine_head_reads_features_of_spread_one() -> None:
    rows, labels = blobs()
    module = chain_module(head.solved(heads.fit("logistic", rows, labels, 3), rows))
    with torch.inference_mode():
        seen = module[0](torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(seen[:, :-1].std(axis=0), 1.0, atol=1e-3)
    np.testing.assert_allclose(seen.mean(axis=0), 0.0, atol=1e-3)


def test_a_fresh_head_knows_nothing() -> None:
    rows, _ = blobs()
    layers = head.fresh(5, 3, rows)
    assert not layers(rows).any()
    assert head.fresh(5, 3).dim == 5


def test_what_was_trained_comes_back() -> None:
    rows, _ = blobs()
    layers = head.fresh(5, 3, rows)
    module = chain_module(layers)
    with torch.no_grad():
        module[1].linear.weight.copy_(torch.randn(3, 5))
        module[1].linear.bias.copy_(torch.randn(3))
        said = module(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(layers_of(module, layers)(rows), said, atol=1e-5)


def test_the_temperature_of_a_trained_head_is_from_rows_it_did_not_learn_from() -> None:
    rows, labels = blobs()
    layers = head.fresh(5, 3, rows)
    random = np.random.default_rng(1)
    sure = (50.0 * np.eye(3)[labels] + random.normal(0, 40.0, (60, 3))).astype(np.float32)
    made = head.fitted("trained", layers, sure, labels, np.bincount(labels), 0.0)
    assert made.calibration.sharpness < 0.5  # it was far too sure
    assert made.validation is not None
    assert made.validation.kind == "held out"
    assert made.validation.n == 60


def test_balance_lifts_a_rare_class() -> None:
    rows, labels = blobs()
    logits = np.zeros((60, 3), np.float32)
    counts = np.array([100, 10, 1])
    plain = head.fitted("trained", head.fresh(5, 3), logits, labels, counts, 0.0)
    even = head.fitted("trained", head.fresh(5, 3), logits, labels, counts, 1.0)
    gained = even.probabilities(rows)[0] - plain.probabilities(rows)[0]
    assert gained[2] > 0.1 > gained[0]
