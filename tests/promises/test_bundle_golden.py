"""Bundles of every format that was ever written load today and say what they said then.

`tests/golden/format-N/` holds the bundles, a few pictures, and the probabilities that the regraft
of that format gave for them. A folder is never changed; a new format gets a new one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import regraft
from regraft.bundle import BACKBONE, CHECKSUMS, CONFIG, FORMAT, pretty
from regraft.errors import BundleError
from regraft.files import digest

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = {1: {"head-only", "calibrated", "standalone"}, 2: {"tuned", "standalone"}}
BUNDLES = sorted(path.parent for path in GOLDEN.glob(f"format-*/*/{CONFIG}"))


def test_every_format_has_its_bundles() -> None:
    held = {path.parent.name for path in BUNDLES}
    assert held == {f"format-{number}" for number in range(1, FORMAT + 1)}
    for number in range(1, FORMAT + 1):
        names = {path.name for path in BUNDLES if path.parent.name == f"format-{number}"}
        assert names == KINDS[number]


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_an_old_bundle_says_what_it_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_PRECISION", "f32")  # in which it was made
    expected = json.loads((folder.parent / "expected.json").read_text())[folder.name]
    found = regraft.load(folder).predict(folder.parent / "inputs")
    assert {Path(one.file).name for one in found} == set(expected)
    for one in found:
        truth = expected[Path(one.file).name]
        assert one.probabilities == pytest.approx(truth, abs=1e-5)
        assert one.label == max(truth, key=truth.__getitem__)


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_saved_again_it_has_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads((folder / CONFIG).read_text())
    monkeypatch.setattr("regraft.model.__version__", config["regraft"])
    whole = (folder / BACKBONE).exists()
    again = regraft.load(folder).save(tmp_path / "again", standalone=whole)
    assert {p.name for p in again.iterdir()} == {p.name for p in folder.iterdir()}
    for path in again.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_a_newer_format_is_refused_by_the_version_that_reads_it(tmp_path: Path) -> None:
    folder = shutil.copytree(BUNDLES[-1], tmp_path / "newer")
    config = json.loads((folder / CONFIG).read_text())
    config |= {"format": FORMAT + 1, "regraft": "7.3.1", "something": {"of": "the future"}}
    (folder / CONFIG).write_bytes(pretty(config))
    sums = json.loads((folder / CHECKSUMS).read_text())
    sums[CONFIG] = digest((folder / CONFIG).read_bytes())
    (folder / CHECKSUMS).write_bytes(pretty(sums))
    said = rf"format {FORMAT + 1} and this regraft reads up to {FORMAT}; install regraft 7\.3\.1"
    with pytest.raises(BundleError, match=said):
        regraft.load(folder)
