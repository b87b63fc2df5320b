"""A rate per depth is printed as a table."""

from __future__ import annotations

import pytest

from regraft.plans import Phase
from regraft.train.told import lines, rate_tables
from tests.train.jobs import job


def test_each_stage_has_its_rate_and_size() -> None:
    made = job((Phase(cut=4, epochs=1, lr=1e-2), Phase(cut=1, epochs=1, lr=1e-3, decay=0.5)))
    head, stages = rate_tables(made)
    assert [line["stage"] for line in head] == ["head"]
    assert [line["stage"] for line in stages] == ["head", "top", "middle"]
    assert [line["rate"] for line in stages] == pytest.approx([1e-3, 1e-3, 5e-4])
    assert stages[1]["parameters"] == 16 * 24 * 9 + 24 + 2 * 24
    said = lines([head, stages])
    assert said[0].startswith("phase 1 trains 75 numbers")
    assert any(line.split() == ["middle", "0.0005", "1,776"] for line in said)


def test_a_long_table_is_cut_in_the_middle() -> None:
    table = [{"stage": f"s{i}", "rate": 1e-3, "parameters": i} for i in range(30)]
    said = lines([table])
    assert "… 22 more" in "\n".join(said)
    assert len(said) == 10
