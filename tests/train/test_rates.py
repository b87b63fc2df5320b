"""A learning rate for each depth."""

from __future__ import annotations

import pytest

from regraft.plans import Phase
from regraft.train.rates import Depth, rates, table

STAGES = {"stem.weight": 0, "a.weight": 2, "a.bias": 2, "b.weight": 4, "head.0.weight": 5}


def test_the_head_and_the_topmost_stage_have_the_rate_itself() -> None:
    found = rates(STAGES, Phase(cut=0, lr=0.1, decay=0.5), top=5)
    assert found["head.0.weight"] == found["b.weight"] == 0.1


def test_a_stage_without_parameters_is_no_depth() -> None:
    found = rates(STAGES, Phase(cut=0, lr=0.1, decay=0.5), top=5)
    assert found["a.weight"] == found["a.bias"] == pytest.approx(0.05)
    assert found["stem.weight"] == pytest.approx(0.025)


def test_a_top_without_parameters_leaves_the_rate_to_the_stage_below() -> None:
    found = rates(STAGES | {"head.0.weight": 8}, Phase(cut=0, lr=0.1, decay=0.5), top=8)
    assert found["b.weight"] == 0.1


def test_without_decay_all_are_equal() -> None:
    assert set(rates(STAGES, Phase(cut=0, lr=0.3), top=5).values()) == {0.3}


def test_a_stage_called_head_is_a_stage() -> None:
    """Some networks end in a stage of that name, below the new head."""
    found = rates({"head.norm": 3, "x": 2, "head.0": 4}, Phase(cut=0, lr=1.0, decay=0.1), top=4)
    assert found == {"head.norm": 1.0, "x": pytest.approx(0.1), "head.0": 1.0}


def test_the_table_counts_what_is_trained_from_the_head_down() -> None:
    found = rates(STAGES, Phase(cut=0, lr=0.1, decay=0.5), top=5)
    sizes = {"a.weight": 30, "a.bias": 3, "b.weight": 50, "head.0.weight": 7}
    assert table(found, STAGES, sizes, ["stem", "pool", "a", "act", "b"]) == [
        Depth("head", 0.1, 7),
        Depth("b", 0.1, 50),
        Depth("a", 0.05, 33),
    ]
