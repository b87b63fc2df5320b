"""Bytes as people read them."""

from __future__ import annotations

import pytest

from regraft.sizes import told


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (17_500, "17.5 kB"), (2.3e9, "2.3 GB"),
     (543_200_000, "543.2 MB")],
)  # fmt: skip
def test_the_largest_unit_of_which_there_is_one(count: float, text: str) -> None:
    assert told(count) == text
