"""Between the weights before and after."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from regraft.errors import OptionError
from regraft.train.wise import ALPHAS, Point, curve, mix, pick
from tests.nets import small


def _ends() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    before = {n: t.detach().clone() for n, t in small(0).stages.tensors().items()}
    after = {n: t.detach().clone() for n, t in small(1).stages.tensors().items()}
    for name, tensor in after.items():
        if not tensor.is_floating_point():
            tensor.fill_(7)  # BatchNorm's count of batches
        assert name.endswith(("bias", "norm.weight", "running_mean", "running_var")) or not (
            torch.equal(tensor, before[name])
        )
    return {n: torch.empty_like(t) for n, t in before.items()}, before, after


def test_the_ends_are_before_and_after_to_the_bit() -> None:
    live, before, after = _ends()
    mix(live, before, after, 0.0)
    whole = [n for n, t in live.items() if not t.is_floating_point()]
    assert all(torch.equal(t, before[n]) for n, t in live.items() if n not in whole)
    mix(live, before, after, 1.0)
    assert all(torch.equal(t, after[n]) for n, t in live.items())
    mix(live, before, after, 0.5)
    assert all(torch.equal(live[n], after[n]) for n in whole)


def test_in_between_it_is_the_weighted_mean() -> None:
    live, before, after = _ends()
    mix(live, before, after, 0.3)
    for name, tensor in live.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.7 * before[name] + 0.3 * after[name])


def test_a_mask_that_holds_infinity_stays_as_it_is() -> None:
    mask = torch.tensor([0.0, -math.inf])
    live = {"mask": torch.empty(2)}
    mix(live, {"mask": mask}, {"mask": mask}, 0.5)
    assert torch.equal(live["mask"], mask)


def test_the_curve_scores_the_module_at_every_alpha() -> None:
    live, before, after = {"w": torch.zeros(1)}, {"w": torch.zeros(1)}, {"w": torch.ones(1)}

    def score() -> tuple[float, float]:
        return float(live["w"]), (float(live["w"]) - 0.6) ** 2 + 0.5

    found = curve(live, before, after, score)
    assert [point.alpha for point in found] == list(ALPHAS)
    assert [point.accuracy for point in found] == pytest.approx(list(ALPHAS))
    picked = pick(found)
    assert picked.alpha == 0.6
    mix(live, before, after, picked.alpha)
    assert float(live["w"]) == pytest.approx(0.6)
    assert picked.json() == {"alpha": 0.6, "accuracy": picked.accuracy, "log_loss": picked.log_loss}


def test_of_what_cannot_be_told_apart_the_nearest_to_before_is_picked() -> None:
    points = [
        Point(0.0, 0.5, 0.9),
        Point(0.2, 0.6, 0.50001),
        Point(0.8, 0.7, 0.5),
        Point(1.0, 0.9, math.nan),
    ]
    assert pick(points).alpha == 0.2
    assert pick([Point(0.0, 0.5, math.inf), points[2]]).alpha == 0.8
    with pytest.raises(OptionError, match="finite"):
        pick([Point(1.0, 0.0, math.inf)])


def test_another_point_than_half_way_has_to_be_better_than_noise() -> None:
    random = np.random.default_rng(0)
    half = random.uniform(0, 1, 40)

    def points(gain: float) -> list[Point]:
        best = half - gain + random.normal(0, 0.2, 40)
        return [
            Point(0.5, 0.9, float(half.mean()), half),
            Point(1.0, 0.9, float(best.mean()), best),
        ]

    assert pick(points(0.3)).alpha == 1.0
    assert pick(points(0.01)).alpha == 0.5


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(OptionError, match=r"alpha in 0\.\.1"):
        mix(*_ends(), alpha)


def test_a_head_that_was_not_solved_before_has_no_way_to_go() -> None:
    live, after = {"head.0.weight": torch.zeros(2, 3)}, {"head.0.weight": torch.ones(2, 3)}
    for before in ({}, {"head.0.weight": torch.zeros(2, 4)}):
        with pytest.raises(OptionError, match=r"head\.0\.weight.*lpft"):
            mix(live, before, after, 0.5)


POINTS = [Point(a, 0.9 + a / 20, 0.3 - a * (1.4 - a) / 4) for a in ALPHAS]
