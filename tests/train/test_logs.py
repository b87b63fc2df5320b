"""Numbers of epochs, written to TensorBoard and MLflow and read back."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from regraft.errors import MissingExtra, OptionError
from regraft.train import logs


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever opens a connection fails."""

    def refused(*args: object) -> None:
        raise AssertionError(f"a connection to {args[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket.socket, "connect_ex", refused)


def epoch(number: int, accuracy: float) -> dict[str, Any]:
    return {
        "number": number,
        "phase": 0,
        "epoch": number,
        "epochs": 9,
        "phases": 1,
        "accuracy": accuracy,
        "train_loss": math.inf,
        "left_seconds": 3.0,
        "name": "x",
        "better": True,
    }


def scalars(folder: Path, what: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return [(event.step, event.value) for event in found.Scalars(what)]


def test_tensorboard_shows_each_epoch_once_after_a_stop(tmp_path: Path) -> None:
    """The second attempt begins at a checkpoint before the last epoch of the first."""
    with logs.sink(f"tensorboard:{tmp_path}/t", "lpft") as log:
        for number in (1, 2, 3):
            log(epoch(number, number / 8))
    with logs.sink(f"tensorboard:{tmp_path}/t", "lpft") as log:
        for number in (3, 4):
            log(epoch(number, number / 8))
    assert scalars(tmp_path / "t", "accuracy") == [(n, n / 8) for n in (1, 2, 3, 4)]


def runs(folder: Path) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=folder.as_uri())
    home = client.get_experiment_by_name(logs.EXPERIMENT)
    assert home is not None
    return [
        (run.info.run_name, run.info.status, client, run.info.run_id)
        for run in client.search_runs([home.experiment_id])
    ]


def test_mlflow_goes_on_with_the_run_that_did_not_end(tmp_path: Path) -> None:
    where = f"mlflow:{tmp_path}/m"
    with pytest.raises(KeyboardInterrupt), logs.sink(where, "lpft", "out") as log:
        _stopped(log)
    with logs.sink(where, "lpft", "out") as log:
        log(epoch(2, 0.75))
    ((name, status, client, run),) = runs(tmp_path / "m")
    assert (name, status) == ("lpft", "FINISHED")
    history = client.get_metric_history(run, "accuracy")
    assert [(m.step, m.value) for m in history] == [(1, 0.5), (2, 0.75)]
    assert set(client.get_run(run).data.metrics) == {"phase", "epoch", "accuracy"}


def _stopped(log: logs.Log) -> None:
    log(epoch(1, 0.5))
    raise KeyboardInterrupt


def test_mlflow_begins_anew_after_an_end_and_for_another_training(tmp_path: Path) -> None:
    for key in ("out", "out", "other", "", ""):
        with logs.sink(f"mlflow:{tmp_path}/m", "lpft", key) as log:
            log(epoch(1, 0.5))
    assert len(runs(tmp_path / "m")) == 5


def test_only_finite_numbers_that_measure_something_are_drawn() -> None:
    assert logs.numbers(epoch(1, 0.5)) == {"phase": 0.0, "epoch": 1.0, "accuracy": 0.5}


@pytest.mark.parametrize("where", ["", "tensorboard", "mlflow:", "tensorbord:x", "/x"])
def test_another_place_is_refused(where: str) -> None:
    with pytest.raises(OptionError, match="log must be tensorboard:FOLDER or mlflow:FOLDER"):
        logs.check(where)


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_a_place_that_cannot_be_written_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with (
        pytest.raises(OptionError, match=f"log must be a place that {kind} can write to"),
        logs.sink(f"{kind}:{tmp_path}/file/log", "lpft"),
    ):
        pass


def test_a_log_that_fails_later_costs_only_its_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import shutil

    with logs.sink(f"mlflow:{tmp_path}/m", "lpft") as log:
        log(epoch(1, 0.5))
        shutil.rmtree(tmp_path / "m")
        log(epoch(2, 0.5))
        log(epoch(3, 0.5))
    assert caplog.text.count("cannot be written") == 1


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("tensorboard", "mlflow"):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtra, match=rf"pip install 'regraft\[{package}\]'"):
            logs.check(f"{package}:x")


def test_asking_for_a_log_loads_no_torch_and_mlflow_reports_nothing() -> None:
    code = (
        "import sys; from regraft.train import logs; logs.check('mlflow:x');"
        "assert 'torch' not in sys.modules; import mlflow.telemetry.client as c;"
        "print(c.get_telemetry_client())"
    )
    clean = {k: v for k, v in os.environ.items() if "TELEMETRY" not in k and k != "CI"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "None"), done.stderr
