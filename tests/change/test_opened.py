"""A run that is to be changed: read strictly, and never taken for what it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import regraft
from regraft import ledger
from regraft.backbones import Backbone
from regraft.change.opened import open_run
from regraft.errors import (
    BundleError,
    EngineError,
    OptionError,
)
from regraft.heads.sums import ARRAYS, META
from tests.change.runs import draw, last


def test_a_changed_run_does_not_pretend_to_repeat(tmp_path: Path, net: Backbone) -> None:
    from regraft.cli.fit import SETTINGS
    from regraft.record import read_settings

    regraft.fit(draw(tmp_path / "a"), net, head="ridge", plan="probe").save(tmp_path / "run")
    regraft.add(tmp_path / "run", draw(tmp_path / "b", first=99, count=1), backbone=net)
    with pytest.raises(OptionError, match="was changed by add, remove or merge"):
        read_settings(tmp_path / "run" / "run.toml", SETTINGS)
    again = regraft.remove(tmp_path / "run", ["dots/099.png"], backbone=net)
    assert [one["kind"] for one in again.report["changes"]] == ["add", "remove"]
    assert "099" not in (tmp_path / "run" / "log.txt").read_text()


def test_folders_that_are_no_runs(tmp_path: Path, net: Backbone) -> None:
    new = draw(tmp_path / "a")
    run = tmp_path / "run"
    regraft.fit(new, net, head="ridge", plan="probe").save(run)

    def refused(match: str, folder: Path = run) -> None:
        with pytest.raises(BundleError, match=match):
            regraft.add(folder, new, backbone=net)

    refused("is a bundle: rows and sums stay with the run", run / "bundle")
    refused("is no run folder", tmp_path / "a")
    refused("does not exist", tmp_path / "nothing")
    more = ("trained.json", "run.toml", "report.json")
    kept = {name: (run / name).read_bytes() for name in (META, ARRAYS, *more)}

    def changed(name: str, data: bytes | None, match: str) -> None:
        (run / name).unlink()
        if data is not None:
            (run / name).write_bytes(data)
        refused(match)
        (run / name).write_bytes(kept[name])

    digests = [row.digest for row in ledger.read(run / "trained.json").learned]
    changed("trained.json", json.dumps(digests).encode(), "made by an older regraft")
    changed("trained.json", None, r"trained\.json, the list of the run's rows, is gone")
    changed("report.json", b"{", r"report\.json is not what 'regraft fit' wrote .*; fit again")
    changed("trained.json", b"{}", r"trained\.json must be the list of rows")
    known = ledger.read(run / "trained.json")
    first = next(row for row in known.learned if row.label == "dots")
    swapped = [row._replace(label="checks") if row == first else row for row in known.rows]
    changed("trained.json", known.only(swapped).text(), "does not belong to the run's bundle")
    spots = [row._replace(label=row.label.replace("dots", "spots")) for row in known.rows]
    changed("trained.json", known.only(spots).text(), "other classes")
    changed(ARRAYS, kept[ARRAYS][:-1], "the sums in .* are not what was written")
    changed("run.toml", b"depths = 3", r"run\.toml is not what 'regraft fit' wrote")
    (run / META).unlink()
    (run / ARRAYS).unlink()
    refused("keeps no sums of its rows; fit the data again")


def test_other_features_are_refused(
    tmp_path: Path, net: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.engine.openvino import OpenVinoEngine

    new = draw(tmp_path / "a")
    regraft.fit(new, net, head="ridge", plan="probe", engine="openvino").save(tmp_path / "run")
    real = OpenVinoEngine.fingerprint

    def newer(self: OpenVinoEngine, device: str, precision: str) -> dict[str, str]:
        return real(self, device, precision) | {"version": "9999.1"}

    monkeypatch.setattr(OpenVinoEngine, "fingerprint", newer)
    with pytest.raises(EngineError, match=r"of the engine .* and here it is .*9999\.1"):
        regraft.add(tmp_path / "run", new, backbone=net)
    # what is cached can still be taken out
    name = open_run(tmp_path / "run", net).ledger.learned[0].id
    done = regraft.remove(tmp_path / "run", [name], backbone=net)
    assert last(done)["recalibrated"]
