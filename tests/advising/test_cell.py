"""The tutorials' table."""

from __future__ import annotations

import pytest

from regraft.advising.cell import LARGE, cell


@pytest.mark.parametrize(
    ("rows", "verdict", "plan", "early", "domain", "followed"),
    [
        (50, "like the source", "probe", False, "similar", True),
        (50, "like the source", "probe", True, "similar", False),
        (50, "unlike", "probe", True, "different", True),
        (50, "somewhat unlike", "lpft", True, "different", False),
        (LARGE, "like the source", "lpft", False, "similar", True),
        (LARGE, "unlike", "probe", True, "different", False),
        (50, "unknown", "probe", True, "unknown", True),
    ],
)
def test_the_cell_and_whether_the_advice_agrees(
    rows: float, verdict: str, plan: str, early: bool, domain: str, followed: bool
) -> None:
    found = cell(rows, verdict, plan, early)
    assert (found.domain, found.followed) == (domain, followed)
    assert found.data == ("large" if rows >= LARGE else "small")
    assert found.rule
