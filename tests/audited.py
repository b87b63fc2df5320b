"""Data to audit, and what holds of every audit of them."""

from __future__ import annotations

from pathlib import Path

from regraft.findings import Audit
from tests.data.scenes import jpeg, scene

PER_CLASS = 6


def fill(folder: Path, start: int, count: int = PER_CLASS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(jpeg(scene(start + number)))


def adds_up(found: Audit) -> None:
    assert found.seen == found.used + len(found.skipped) + found.ignored
    assert found.used == sum(sum(parts.values()) for parts in found.classes.values())
    assert len(found.leaked) == found.used
    assert set(found.json()) == {
        "seen",
        "used",
        "skipped",
        "ignored",
        "classes",
        "duplicates",
        "leaks",
        "conflicts",
        "notes",
    }


def flat_data(root: Path) -> Path:
    """Two class folders."""
    fill(root / "ant", 0)
    fill(root / "bee", 100)
    return root


def parted_data(root: Path) -> Path:
    """The same as a training part, with validation and test parts beside it."""
    flat_data(root / "train")
    for part, start in (("val", 200), ("test", 300)):
        fill(root / part / "ant", start, 3)
        fill(root / part / "bee", start + 50, 3)
    return root
