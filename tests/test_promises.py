"""Every promise of docs/promises.md has a test, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| (.+) \| (.*) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@cache
def functions(path: str) -> frozenset[str]:
    """The functions of a file, read and not run."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_promises_are_numbered_and_none_is_overlooked() -> None:
    rows = ROW.findall(PAGE)
    assert [int(number) for number, _, _ in rows] == list(range(1, len(rows) + 1))
    assert len(rows) == len(re.findall(r"^\| *\d", PAGE, re.MULTILINE))


@pytest.mark.parametrize(("number", "promise", "held"), ROW.findall(PAGE), ids=lambda x: x[:40])
def test_a_promise_has_tests_that_exist(number: str, promise: str, held: str) -> None:
    named = TEST.findall(held)
    assert named, f"promise {number} ({promise}) has no test"
    assert len(named) == held.count("`") / 2, f"promise {number} names something that is no test"
    missing = [f"{path}::{name}" for path, name in named if not _there(path, name)]
    assert not missing, f"promise {number} names tests that are not there"


def test_every_file_of_promises_is_on_the_page() -> None:
    """Tests that hold nothing that is promised belong elsewhere."""
    files = {f"tests/promises/{path.name}" for path in (ROOT / "tests/promises").glob("test_*.py")}
    assert not files - {path for path, _ in TEST.findall(PAGE)}


def _there(path: str, name: str) -> bool:
    return (ROOT / path).is_file() and name in functions(path)
