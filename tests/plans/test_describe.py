"""What a plan does on a backbone, before anything runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from regraft.plans import Phase, Recipe, lpft, resolve
from regraft.plans.describe import Described, describe
from tests.plans.facts import residual

NET = residual()
AT = len(NET.stages) - 1


def told(*phases: Phase, recipe: Recipe | None = None, at: int = AT) -> list[Described]:
    return describe(resolve(phases, NET, at), recipe or Recipe(), NET, at)


def test_what_is_trained_and_kept() -> None:
    solved, trained = told(*lpft())
    assert (solved.stage, solved.parameters, solved.ceiling) == ("end", 0, None)
    assert (solved.kept, solved.kept_bytes) == ("features of 'pool'", 8 * 4)
    assert (trained.cut, trained.stage, trained.parameters) == (5, "layer3.0", 900)
    assert trained.share == pytest.approx(900 / 1150, abs=1e-6)
    assert (trained.kept, trained.kept_bytes) == ("what 'layer2.1' gives", 512)


def test_the_ceiling_is_below_and_above_over_above() -> None:
    (one,) = told(Phase(cut="layer3", epochs=1))
    below, above = 40 + 4 * 30, 2 * 20
    assert one.ceiling == pytest.approx((below + 3 * above) / (3 * above), abs=1e-3)
    (whole,) = told(Phase(cut=0, epochs=1))
    assert whole.ceiling == 1.0


def test_views_multiply_what_is_kept() -> None:
    phase = Phase(cut="layer3", epochs=1)
    (plain,) = told(phase)
    (views,) = told(phase, recipe=Recipe(augment="flip", views=4))
    assert views.kept_bytes == 5 * plain.kept_bytes
    assert views.views == 5
    (half,) = told(phase, recipe=Recipe(keep="half"))
    assert half.kept_bytes == plain.kept_bytes // 2
    (live,) = told(phase, recipe=Recipe(keep="live"))
    assert live.kept_bytes == 0


def test_at_cut_0_the_decoded_pictures_are_kept() -> None:
    (one,) = told(Phase(cut=0, epochs=1))
    assert (one.kept, one.kept_bytes) == ("decoded pictures", 32 * 32 * 3)


def test_rates_by_depth() -> None:
    (one,) = told(Phase(cut="layer2.1", epochs=1, lr=1.0, decay=0.5))
    assert [(d.stage, d.lr, d.parameters) for d in one.depths] == [
        ("head", 1.0, None), ("layer3.1", 1.0, 400), ("layer3.0", 0.5, 500),
        ("layer2.1", 0.25, 100),
    ]  # fmt: skip


def test_what_is_above_at_does_not_count() -> None:
    (one,) = told(Phase(cut="layer2", epochs=1), at=4)
    assert one.parameters == 200
    assert one.share == pytest.approx(200 / 250)


def test_in_words() -> None:
    phase = Phase(cut="layer3", epochs=4, adapter="lora", rank=2)
    assert told(phase)[0].does == (
        "the head and LoRA of rank 2 from 'layer3.0' up: 4 epochs, ends after 3 without a better "
        "validation"
    )
    assert "from random weights" in told(replace(phase, adapter="", scratch=True, cut=0))[0].does
    assert told(Phase("end", 1, patience=0))[0].does == (
        "the head is trained on the features of 'pool': 1 epoch"
    )
