"""The how-tos and the README's Python run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from regraft.cli import run
from tests.pictures import picture, write_folder

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the how-tos speak of."""
    write_folder(tmp_path / "photos", 6)
    write_folder(tmp_path / "source", 4)
    for number, kind in enumerate(("checks", "dots", "stripes")):
        for folder in ("new", f"more/{kind}"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            picture(kind, 500 + number).save(tmp_path / folder / f"{kind}.png")
    picture("dots", 600).save(tmp_path / "new.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [*sorted((ROOT / "docs" / "howto").glob("*.md")), ROOT / "README.md"],
    ids=lambda p: p.stem,
)
def test_every_block_runs(page: Path, home: Path) -> None:
    names: dict[str, object] = {}
    blocks = BLOCK.findall(page.read_text())
    assert blocks
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, str(page), "exec"), names)
            continue
        for line in text.strip().splitlines():
            program, *arguments = shlex.split(line)
            assert program == "regraft", line
            assert run(arguments) == 0, line


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"], ids=lambda p: p.stem
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target
