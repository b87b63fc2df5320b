"""The decision, on evidence that is made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from regraft.advising import decide
from regraft.advising.forecast import Forecast
from regraft.evidence.learnable import Learnable
from regraft.similarity import Similarity
from tests.advising.seen import STAGES, depth, seen

CHEAP, DEAR = Forecast(1.0, 10**8, 1.0), Forecast(60.0, 10**9, 60.0)
UNLIKE = Similarity("unlike", 0.1, "BatchNorm statistics", "They are not alike.")
COUNT = len(STAGES)


def test_the_stage_that_most_measures_prefer_is_read() -> None:
    accuracies = [0.5] * (COUNT - 1) + [0.8]
    accuracies[1] = 0.9
    found, why = decide.depth_of(seen(accuracies))
    assert found.stage == STAGES[1]
    assert "+10.0 points against the last stage" in why


def test_one_measure_alone_does_not_decide() -> None:
    held = seen([0.5] * (COUNT - 2) + [0.8, 0.9])
    odd = replace(held.depths[0], log_loss=0.001)
    found, _ = decide.depth_of(replace(held, depths=(odd, *held.depths[1:])))
    assert found.stage == STAGES[-1]


@pytest.mark.parametrize(("like", "picked"), [(True, 2), (False, 1)])
def test_likeness_breaks_a_tie(like: bool, picked: int) -> None:
    held = seen([0.5, 0.9, 0.9, *[0.5] * (COUNT - 3)])
    # One measure each way: their mean ranks are equal.
    one = replace(held.depths[1], log_loss=0.05, knn=0.95)
    other = replace(held.depths[2], accuracy=0.92, log_me=0.95)
    held = replace(held, depths=(held.depths[0], one, other, *held.depths[3:]))
    if not like:
        held = replace(held, similarity=UNLIKE)
    found, why = decide.depth_of(held)
    assert found.stage == STAGES[picked]
    assert ("latest" if like else "earliest") in why


def test_a_stage_that_gives_the_same_as_the_last_is_the_last() -> None:
    found, why = decide.depth_of(seen([0.5] * (COUNT - 2) + [0.9, 0.9]))
    assert found.stage == STAGES[-1]
    assert "none is better" in why


def test_training_gains_with_rows_and_with_what_is_left_to_gain() -> None:
    few, many = seen([0.7] * COUNT, counts={"a": 50}), seen([0.7] * COUNT, counts={"a": 2000})
    assert decide.gain(few, few.last).mean == 0.0
    assert decide.gain(many, many.last).mean == pytest.approx(0.3 * decide.MENDED)
    assert 0.0 < decide.MENDED < 0.33
    sure = seen([0.99] * COUNT, counts={"a": 2000})
    assert decide.gain(sure, sure.last).mean < 0.005


def options(held, budget=None):
    costs = {"probe": CHEAP, "lpft": DEAR}
    return decide.options(held, held.last, costs, budget)


def chosen(held, budget=None) -> str:
    return next(one.plan for one in options(held, budget) if one.chosen)


def test_the_cheaper_plan_unless_the_dearer_is_worth_it() -> None:
    assert chosen(seen([0.7] * COUNT, counts={"a": 2000})) == "lpft"
    assert chosen(seen([0.99] * COUNT, counts={"a": 2000})) == "probe"
    assert chosen(seen([0.7] * COUNT, counts={"a": 60})) == "probe"


@pytest.mark.parametrize("rows", [60, 100, 300, 2000])
@pytest.mark.parametrize("accuracy", [0.5, 0.9, 0.94, 0.96, 0.99])
def test_where_training_does_not_pay_it_is_not_chosen(rows: int, accuracy: float) -> None:
    """Only where it may be chosen does advice measure anew what training costs."""
    held = seen([accuracy] * COUNT, counts={"a": rows})
    assert (chosen(held) == "lpft") == decide.pays(held, held.last)


def test_a_budget_is_kept() -> None:
    held = seen([0.7] * COUNT, counts={"a": 2000})
    assert chosen(held, 30.0) == "probe"
    assert [one.fits for one in options(held, 30.0)] == [True, False]
    assert chosen(held, 61.0) == "lpft"


def test_nothing_is_trained_where_nothing_can_be_learned() -> None:
    not_this = Learnable(False, True, 0.6, 0.5, 0.5, 200, "Shuffled labels do as well.")
    assert chosen(seen([0.5] * COUNT, counts={"a": 2000}, learnable=not_this)) == "probe"
    too_few = Learnable(False, False, None, None, None, 4, "Too few.")
    assert chosen(seen([0.7] * COUNT, counts={"a": 2000}, learnable=too_few)) == "lpft"


def test_what_is_expected_is_less_sure_where_there_is_less_to_go_by() -> None:
    held = seen([0.8] * COUNT)

    def width(held, **more) -> float:
        found = decide.expected(replace(held, **more), held.last)
        assert found is not None
        low, high = found[1]
        assert 0.0 <= low <= found[0] <= high <= 1.0
        return high - low

    assert width(held) < width(held, test=20)
    assert width(held) < width(held, shift=0.6) < width(held, shift=2.0)
    few = replace(held, depths=tuple(depth(name, 0.8, 0.2, n=30) for name in STAGES))
    assert width(held) < width(few)
    moved = decide.expected(replace(held, shift=2.0), held.last)
    plain = decide.expected(held, held.last)
    assert moved is not None
    assert plain is not None
    assert moved[0] < plain[0] - 0.1


def test_nothing_is_expected_where_nothing_was_answered() -> None:
    lost = replace(depth(STAGES[-1], 0.0, 0.0), accuracy=None, accuracy_ci95=None)
    assert decide.expected(seen([0.5] * COUNT), lost) is None
