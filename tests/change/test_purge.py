"""The search for traces finds them wherever they are."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import regraft
from regraft.backbones import Backbone
from regraft.change import purge as module
from regraft.change.opened import open_run
from regraft.errors import (
    CacheError,
)
from tests.change.runs import draw, forget


def test_traces_are_found_wherever_they_are(
    tmp_path: Path, net: Backbone, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    """The search itself: a purge that leaves something is noticed."""
    removing = import_module("regraft.change.remove")

    regraft.fit(draw(tmp_path / "a"), net, head="ridge", plan="probe").save(tmp_path / "run")
    run = open_run(tmp_path / "run", net)
    row = run.ledger.learned[0]
    rows = module.rows_of([row.digest])
    assert rows
    hidden = own_cache / "trunks" / "x" / "left.bin"
    hidden.parent.mkdir(parents=True, exist_ok=True)
    clean = run.folder / "log.txt"
    text = clean.read_text()
    forget(own_cache)
    (run.folder / "trained.json").unlink()
    for trace in (bytes.fromhex(row.digest), row.digest.encode(), rows[0]):
        hidden.write_bytes(b"\0" * 4999 + trace + b"\1" * 77)  # at an odd place
        with pytest.raises(CacheError, match=r"left\.bin at byte 4999"):
            module.prove(run.folder, [row.digest], [], rows)
    hidden.write_bytes(b"\0" * 100)
    assert module.prove(run.folder, [row.digest], [row.id], rows).json()["found"] == 0
    clean.write_text(text + f"left out {row.id}: no reason\n")
    with pytest.raises(CacheError, match=r"log\.txt names " + row.id):
        module.prove(run.folder, [row.digest], [row.id], rows)
    monkeypatch.setattr(removing, "purge", lambda digests: 0)
    regraft.fit(tmp_path / "a", net, head="ridge", plan="probe").save(tmp_path / "second")
    with pytest.raises(CacheError, match="traces of removed files are left"):
        regraft.remove(tmp_path / "second", [row.id], backbone=net)
    assert (tmp_path / "second" / "purge.json").exists()
    monkeypatch.undo()
    monkeypatch.setenv("REGRAFT_CACHE", str(own_cache))
    assert open_run(tmp_path / "second", net).lacking([row.digest]) == [row.digest]
    assert not (tmp_path / "second" / "purge.json").exists()


def test_traces_across_pieces_of_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE", 64)
    random = np.random.default_rng(0)
    patterns = [random.bytes(length) for length in (32, 40, 100)]
    searched = module.Patterns(patterns)
    for start in range(0, 200, 7):
        body = b"".join(random.bytes(start + 3) + pattern for pattern in patterns)
        (tmp_path / "file").write_bytes(body + bytes(50))
        found = sorted(module._search(tmp_path / "file", searched))
        assert found == sorted((body.index(pattern), pattern) for pattern in patterns)
