"""What training makes small, and what is said when it is no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from regraft.plans import Recipe
from regraft.train.loss import Loss, cause, classes_weights

LABELS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 3])
AUTO = Recipe(class_weights="auto", label_smoothing=0.1)
NAMES = ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"]
FLOWS = [np.zeros((5, 2, 2), np.float32)]


def logits(rows: int = 9, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))


def test_weights_have_mean_one_over_rows_and_classes_weigh_the_same() -> None:
    weights = classes_weights(LABELS, 4)
    assert weights[LABELS].mean() == pytest.approx(1.0)
    sums = np.bincount(LABELS, weights[LABELS])[[0, 1, 3]]
    assert sums == pytest.approx([3.0] * 3)


def test_classes_that_the_data_lack_break_nothing() -> None:
    loss = Loss(AUTO, LABELS, 4, "cpu")
    assert np.isfinite(classes_weights(LABELS, 4)).all()
    assert torch.isfinite(loss(logits(2), torch.tensor([2, 2])))
    assert torch.isfinite(loss(logits(1), torch.tensor([0])))


def test_without_settings_it_is_torchs_cross_entropy() -> None:
    target = torch.from_numpy(LABELS)
    assert Loss(Recipe(), LABELS, 4, "cpu")(logits(), target) == cross_entropy(logits(), target)


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(label_smoothing=0.2), AUTO])
def test_certain_shares_are_classes(recipe: Recipe) -> None:
    loss, target = Loss(recipe, LABELS, 4, "cpu"), torch.from_numpy(LABELS)
    shares = one_hot(target, 4).float()
    torch.testing.assert_close(loss(logits(), shares), loss(logits(), target))


def test_a_mixed_row_has_the_mixed_loss() -> None:
    loss = Loss(Recipe(label_smoothing=0.1), LABELS, 4, "cpu")
    row = logits(1)
    mixed = loss(row, torch.tensor([[0.3, 0.7, 0.0, 0.0]]))
    apart = 0.3 * loss(row, torch.tensor([0])) + 0.7 * loss(row, torch.tensor([1]))
    torch.testing.assert_close(mixed, apart)


def test_parts_add_up_to_the_batch_whatever_classes_they_have() -> None:
    loss, target = Loss(AUTO, LABELS, 4, "cpu"), torch.from_numpy(LABELS)
    parts = 6 / 9 * loss(logits()[:6], target[:6]) + 3 / 9 * loss(logits()[6:], target[6:])
    torch.testing.assert_close(parts, loss(logits(), target))


def test_a_rare_class_pulls_more() -> None:
    target = torch.tensor([0, 3])
    free = torch.zeros(2, 4, requires_grad=True)
    torch.autograd.backward(Loss(Recipe(class_weights="auto"), LABELS, 4, "cpu")(free, target))
    assert free.grad is not None
    torch.testing.assert_close(free.grad[1].norm(), 6 * free.grad[0].norm())


def test_a_flow_that_is_no_number_is_named() -> None:
    broken = [FLOWS[0].copy(), np.ones((5, 2), bool)]
    broken[0][3, 1, 1] = np.nan
    told = cause([1.0, 1.0], broken, "f32", NAMES)
    assert "'d.jpg'" in told
    assert "a.jpg" not in told


def test_a_loss_that_rose_is_the_rates_fault() -> None:
    told = cause([2.0, 0.7, 1.5, 35.2], FLOWS, "f32", NAMES)
    assert "rose from 0.7 to 35.2 over the 2 steps" in told
    assert "divide lr by 10" in told
    assert "'a.jpg', 'b.jpg', 'c.jpg' and 2 more" in told


def test_a_loss_that_did_not_rise_points_at_one_step() -> None:
    assert "had not risen" in cause([2.0, 0.7, 0.8], FLOWS, "f32", NAMES)
    assert "at the beginning" in cause([], FLOWS, "f32", NAMES)


def test_bf16_is_blamed_only_if_f32_is_finite() -> None:
    assert "amp = 'f32'" in cause([1.0, 1.0], FLOWS, "bf16", NAMES, lambda: 0.5)
    assert "amp" not in cause([1.0, 1.0], FLOWS, "bf16", NAMES, lambda: float("nan"))
    assert "amp" not in cause([1.0, 1.0], FLOWS, "f32", NAMES, lambda: 0.5)


def test_flows_of_whole_numbers_are_never_to_blame() -> None:
    rows = [np.zeros((5, 2, 2, 3), np.uint8)]
    assert "check these files" not in cause([1.0, 9.0], rows, "f32", NAMES)
