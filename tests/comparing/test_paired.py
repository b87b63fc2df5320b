"""Intervals and tests of arms that share rows, against tables and against simulated truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regraft.comparing import Made, Right, Scored
from regraft.comparing.paired import (
    BOTH,
    MCNEMAR,
    T,
    beyond,
    discordant,
    holm,
    interval,
    mcnemar,
    of_difference,
    of_rows,
    p_value,
    paired_t,
)
from regraft.parts import GIVEN, HELD_OUT

PLAIN = Scored(0, 100, 400, 0.9, 0.9, 0.5, 1.0, 2.0, 10, HELD_OUT)


def made(accuracy: float, right: Right | None = None, **other: object) -> Made:
    return Made(replace(PLAIN, accuracy=accuracy, **other), right)


def rows(*right: int) -> Right:
    return {f"row {number}": bool(one) for number, one in enumerate(right)}


@pytest.mark.parametrize(
    ("t", "degrees", "p"),
    [
        (12.7062, 1, 0.05), (4.30265, 2, 0.05), (3.18245, 3, 0.05), (2.77645, 4, 0.05),
        (2.57058, 5, 0.05), (2.22814, 10, 0.05), (1.98397, 100, 0.05), (4.0321, 5, 0.01),
        (-2.77645, 4, 0.05), (0.0, 7, 1.0), (1.0, 1, 0.5),
    ],
)  # fmt: skip
def test_student_as_in_the_tables(t: float, degrees: int, p: float) -> None:
    assert beyond(t, degrees) == pytest.approx(p, abs=2e-5)


def test_t_and_its_interval_say_the_same() -> None:
    values = [0.01, 0.03, 0.02, 0.04]
    # A shift that puts 0 right on the interval's end makes p 5 %.
    low, _ = interval(values, 0.25)
    assert paired_t([value - low for value in values], 0.25) == pytest.approx(0.05, abs=2e-3)
    assert paired_t([0.02, 0.02], 0.25) == 0.0
    assert paired_t([0.0, 0.0], 0.25) == 1.0


def test_mcnemar_is_the_toss_of_a_coin() -> None:
    assert mcnemar(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert mcnemar(2, 10) == mcnemar(10, 2)
    assert mcnemar(0, 0) == mcnemar(1, 0) == mcnemar(5, 5) == 1.0
    assert mcnemar(0, 6) == pytest.approx(2 / 64)
    assert 0 < mcnemar(4000, 6000) < 1e-80


def test_rows_that_both_have_right_say_nothing() -> None:
    one, other = rows(1, 1, 0, 1), rows(1, 0, 1, 0)
    assert discordant(one, other) == (2, 1)
    assert discordant(one, {"another row": True}) is None
    assert discordant(one, None) is None


def test_the_interval_of_one_seed_holds_what_it_says() -> None:
    random = np.random.default_rng(0)
    n, both, only_a, only_b = 60, 0.7, 0.15, 0.05
    draws = random.multinomial(n, [both, only_a, only_b, 1 - both - only_a - only_b], 4000)
    held = [low <= only_a - only_b <= high for low, high in (of_rows(a, b, n) for _, a, b, _ in draws)]  # fmt: skip  # noqa: E501
    assert 0.94 < np.mean(held) < 0.985
    assert of_rows(0, 0, 5)[0] < 0 < of_rows(0, 0, 5)[1]


def test_which_test_is_taken() -> None:
    a, b = rows(*[1] * 8, 0, 0), rows(*[1] * 2, *[0] * 6, 1, 1)
    exact = mcnemar(6, 2)
    assert p_value([made(0.8, a)], [made(0.4, b)]) == (exact, MCNEMAR)
    assert p_value([made(0.8)], [made(0.4)]) == (None, "")
    # Each seed divides the data anew: what the seeds say counts.
    more, less = [made(x, a) for x in (0.8, 0.7, 0.9)], [made(x, b) for x in (0.4, 0.35, 0.5)]
    assert p_value(more, less) == (paired_t([0.4, 0.35, 0.4], 0.25), T)
    # The rows are given: seeds alone, which agree, would be far too sure.
    given = [[one._replace(scored=replace(one.scored, test_part=GIVEN)) for one in runs]
             for runs in (more, less)]  # fmt: skip
    p, test = p_value(*given)
    assert (p, test) == (exact, BOTH)
    assert paired_t([0.4, 0.35, 0.4], 0.0) < 0.01 < exact


def test_seeds_that_agree_to_the_row_are_not_certainty() -> None:
    a, b = rows(1, 1), rows(1, 0)
    p, test = p_value([made(1.0, a)] * 3, [made(0.5, b)] * 3)
    assert (p, test) == (1.0, MCNEMAR)
    assert p_value([made(1.0)] * 3, [made(0.5)] * 3) == (None, "")


def test_one_seed_has_an_interval_from_the_rows_on_which_both_differ() -> None:
    a, b = rows(*[1] * 90, *[0] * 10), rows(*[1] * 80, *[0] * 20)
    low, high = of_difference([made(0.9, a)], [made(0.8, b)])
    assert 0 < low < 0.1 < high < 0.2
    assert of_difference([made(0.9)], [made(0.8)]) is None


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
