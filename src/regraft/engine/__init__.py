"""Engines run frozen stages, fast and without gradients: stages in, activations out.

An engine is one file with a class that fulfils `Engine`, and one line in `ENGINES`. The order of
`ENGINES` is the order of preference on a device; the first that works there is taken.

    Trunk (what to run) ─► Engine.open ─► Session.run(rows) ─► one tuple of activations per row
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from regraft.errors import EngineError, OptionError, did_you_mean
from regraft.inputs import Row

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

ENGINES = {
    "openvino": "regraft.engine.openvino:OpenVinoEngine",
    "torch": "regraft.engine.torch:TorchEngine",
    "reference": "regraft.engine.reference:ReferenceEngine",
}

Activations = tuple["np.ndarray", ...]

CPU_ONLY = "runs on the CPU only"
_DEVICE = re.compile(r"cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True)
class Trunk:
    """The frozen stages that an engine is to run, and how to get them if it has not seen them.

    Attributes:
        key: what the outputs depend on: weights' digest, input spec, what each output is.
        outputs: the name of every output that there is, in order.
        wanted: the outputs to compute; what no wanted output needs does not run.
        build: returns for the names of some outputs the module in eval mode: a batch of rows in, a
            tuple of these outputs out, in that order.
        example: one row, for its shapes and types.
    """

    key: dict[str, Any]
    outputs: tuple[str, ...]
    wanted: tuple[str, ...]
    build: Callable[[Sequence[str]], nn.Module]
    example: Row


class Session(Protocol):
    """An opened trunk.

    Attributes:
        built: whether the trunk had to be compiled from its module first.
    """

    built: bool

    def run(self, rows: Iterable[Row]) -> Iterator[Activations]:
        """The wanted outputs of each row, without batch axis, float32, in the order of `rows`."""


class Engine(Protocol):
    """One way to run a trunk."""

    name: str

    def missing(self, device: str) -> str:
        """Why the engine cannot run on `device` here, '' if it can."""

    def precisions(self, device: str) -> tuple[str, ...]:
        """The precisions worth trying on `device`; the first is the exact one."""

    def fingerprint(self, device: str, precision: str) -> dict[str, str]:
        """All that can move the bits of an activation: version, precision, instruction set."""

    def open(
        self, trunk: Trunk, folder: Path, *, device: str, precision: str, threads: int
    ) -> Session:
        """Make `trunk` ready to run, with what was compiled before into `folder` if it is there."""


def engine(name: str) -> Engine:
    """The engine called `name`.

    Raises:
        OptionError: there is no such engine.
    """
    if name not in ENGINES:
        known = ", ".join(ENGINES)
        raise OptionError(
            f"engine must be one of {known}, got '{name}'." + did_you_mean(name, ENGINES)
        )
    module, cls = ENGINES[name].split(":")
    made: Engine = getattr(import_module(module), cls)()
    return made


def pick(device: str) -> Engine:
    """The first engine that works on `device` ('cpu', 'cuda', 'cuda:1', 'mps').

    Raises:
        EngineError: none does; the reason of each is given.
    """
    reasons = []
    for name in ENGINES:
        made = engine(name)
        reason = made.missing(device)
        if not reason:
            return made
        if reason != CPU_ONLY:
            reasons.append(reason)
    raise EngineError(
        f"--device {device} cannot be used here ({'; '.join(reasons)}); use --device cpu."
    )


def resolve_device(device: str) -> str:
    """'auto' becomes 'cuda' where an NVIDIA driver is loaded, else 'cpu'; others stay.

    The driver's own file is looked at instead of asking torch, whose import alone takes seconds.

    Raises:
        OptionError: `device` is no device's name.
    """
    if device == "auto":
        return "cuda" if Path("/proc/driver/nvidia/version").exists() else "cpu"
    if not _DEVICE.fullmatch(device):
        raise OptionError(f"--device must be auto, cpu, cuda, cuda:N or mps, got '{device}'.")
    return device
