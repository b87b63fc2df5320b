"""Where the numbers of each epoch go, besides the run: TensorBoard or MLflow.

    tensorboard:FOLDER      event files
    mlflow:FOLDER or URI    a run in that folder or on that server

MLflow reports its use to its makers by itself; here it is kept from that.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from regraft.errors import OptionError, did_you_mean, need_extra
from regraft.files import digest

warner = logging.getLogger("regraft")

#: Takes what is told of an epoch: plain data, `number` counts epochs over all phases from 1.
Log = Callable[[Mapping[str, Any]], None]
#: What is told of an epoch but is no measurement of it.
PLACES = ("number", "epochs", "phases", "left_seconds")
EXPERIMENT = "regraft"
TAG = "regraft.training"


def check(where: str) -> tuple[str, str]:
    """The kind and the place of a log, before anything costly is begun.

    Args:
        where: 'tensorboard:FOLDER' or 'mlflow:FOLDER or URI'.

    Raises:
        OptionError: it is neither.
        MissingExtra: the package is not installed.
    """
    kind, _, place = where.partition(":")
    if kind not in SINKS or not place:
        raise OptionError(
            f"log must be tensorboard:FOLDER or mlflow:FOLDER (or a server's URI), got '{where}'."
            + did_you_mean(kind, [k for k in SINKS if k != kind])
        )
    if kind == "mlflow":
        _keep_quiet()
    need_extra(kind, kind, f"--log {kind}")
    return kind, place


def sink(where: str, name: str, key: str = "") -> AbstractContextManager[Log]:
    """Within the block, what is called once per epoch with its numbers.

    Args:
        where: see `check`.
        name: of the run, as it is shown.
        key: what a training that goes on after a stop has in common with the one that stopped;
            MLflow's run goes on, too. A new run if empty. TensorBoard knows it by its folder.

    Raises:
        OptionError, MissingExtra: see `check`.
    """
    kind, place = check(where)
    return SINKS[kind](place, name, key)


def numbers(event: Mapping[str, Any]) -> dict[str, float]:
    """What can be drawn of an epoch: finite numbers by name."""
    return {
        name: float(value)
        for name, value in event.items()
        if name not in PLACES
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    }


@contextmanager
def _tensorboard(folder: str, name: str, key: str) -> Iterator[Log]:
    from torch.utils.tensorboard import SummaryWriter

    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise _refused("tensorboard", folder, problem) from problem
    writer: Any = None

    def write(step: int, found: Mapping[str, float]) -> None:
        nonlocal writer
        if writer is None:  # what an attempt before wrote of this epoch and later is not shown
            writer = SummaryWriter(folder, purge_step=step)
        for what, value in found.items():
            writer.add_scalar(what, value, step)
        writer.flush()

    try:
        yield _Patient(write, folder)
    finally:
        if writer is not None:
            with suppress(OSError):
                writer.close()


@contextmanager
def _mlflow(place: str, name: str, key: str) -> Iterator[Log]:
    from mlflow.tracking import MlflowClient

    uri = place if "://" in place else Path(place).absolute().as_uri()
    try:
        client = MlflowClient(tracking_uri=uri)
        run = _run_of(client, name, digest(key.encode())[:32] if key else "")
    except Exception as problem:  # MLflow's folders raise nothing more precise
        raise _refused("mlflow", place, problem) from problem

    def write(step: int, found: Mapping[str, float]) -> None:
        for what, value in found.items():
            client.log_metric(run, what, value, step=step)

    ended = "KILLED"
    try:
        yield _Patient(write, place)
        ended = "FINISHED"
    finally:
        with suppress(Exception):
            client.set_terminated(run, ended)


class _Patient:
    """A log whose place fails loses its lines; the training that it tells of goes on."""

    def __init__(self, write: Callable[[int, Mapping[str, float]], None], place: str) -> None:
        self._write, self._place = write, place
        self._warned = False

    def __call__(self, event: Mapping[str, Any]) -> None:
        step, found = int(event["number"]), numbers(event)
        try:
            self._write(step, found)
        except Exception as problem:  # MLflow's folders raise nothing more precise
            if not self._warned:
                warner.warning("%s cannot be written: %s", self._place, _first_line(problem))
            self._warned = True


def _run_of(client: Any, name: str, mark: str) -> str:
    """The run of a training that did not end, or a new one."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    within = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
    if mark:
        for run in client.search_runs([within], f"tags.`{TAG}` = '{mark}'"):
            if run.info.status != "FINISHED":
                client.update_run(run.info.run_id, status="RUNNING")
                return str(run.info.run_id)
    tags = {TAG: mark} if mark else {}
    return str(client.create_run(within, run_name=name, tags=tags).info.run_id)


def _keep_quiet() -> None:
    """Keep MLflow from reporting, and let it write into folders; read when it is imported."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")


def _refused(kind: str, place: str, problem: BaseException) -> OptionError:
    told = _first_line(problem)
    return OptionError(f"log must be a place that {kind} can write to, got '{place}': {told}")


def _first_line(problem: BaseException) -> str:
    return str(problem).split("\n")[0].strip()


SINKS: dict[str, Callable[[str, str, str], AbstractContextManager[Log]]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
}
