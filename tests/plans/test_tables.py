"""The how-to's tables say what the code says."""

from __future__ import annotations

from dataclasses import fields

from regraft.plans import PLANS, Phase, Recipe
from tests.plans.tables import MARK, PAGE, filled


def test_the_tables_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    assert [found[1] for found in MARK.findall(page)] == ["plans", "phase", "recipe"]
    assert filled(page) == page, "run: python -m tests.plans.tables"
    for name in [*PLANS, *(field.name for record in (Phase, Recipe) for field in fields(record))]:
        assert f"| `{name}` |" in page


def test_every_setting_says_what_it_does() -> None:
    for record in (Phase, Recipe):
        for field in fields(record):
            assert field.metadata["help"].endswith(".")
