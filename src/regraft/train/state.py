"""Where a training is, on disk: whole or not at all, and never a pickle.

<out>.unfinished/started.json            what was asked, what was chosen, which rows
<out>.unfinished/checkpoint.safetensors  place in the plan, weights now and best, optimizer
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import xxhash

from regraft.errors import OptionError
from regraft.files import reason, whole_file
from regraft.train.started import CHECKPOINT

log = logging.getLogger("regraft")

#: Seconds between two checkpoints, and after a better validation.
EVERY_SECONDS, BETTER_SECONDS = 15.0, 2.0
Tensors = dict[str, torch.Tensor]


@dataclass
class Place:
    """Where in the plan a training is, as plain data.

    Attributes:
        phase: index of the phase.
        epoch: of the phase, 0 is the first.
        step: of the epoch, the next to do.
        parts: that batches are computed in.
        eager: whether compiling failed and was given up.
        loss: sum over the rows of this epoch so far.
        rows: of this epoch so far.
        since: epochs of this phase without a better validation.
        phase_best: the least log-loss of this phase.
        best: of all phases: where (phase from 1; 0 is before training), accuracy, log_loss.
        curve: one entry per epoch that ended.
        stopped: why the plan ended early, '' if it did not.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    parts: int = 1
    eager: bool = False
    loss: float = 0.0
    rows: int = 0
    since: int = 0
    phase_best: float = float("inf")
    best: dict[str, Any] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""


@dataclass
class State:
    """A place with the tensors that belong to it.

    Attributes:
        place: where.
        now: every tensor of the module.
        best: every tensor of the best module so far.
        more: of the optimizer and the running mean, by prefix and name.
    """

    place: Place
    now: Tensors
    best: Tensors
    more: Tensors


class Keeper:
    """Writes a state now and then, and finds it again.

    Args:
        folder: where to; None keeps nothing.
        every: seconds between two checkpoints; a state that is not written is computed again.
            `REGRAFT_CHECKPOINT_SECONDS`, or 15, if None.
    """

    def __init__(self, folder: Path | None, every: float | None = None) -> None:
        self._file = None if folder is None else folder / CHECKPOINT
        self._every = seconds() if every is None else every
        self._last = time.monotonic()

    def due(self, *, better: bool = False) -> bool:
        """Whether it is time for the next checkpoint; sooner if there is something `better`."""
        wait = min(self._every, BETTER_SECONDS) if better else self._every
        return self._file is not None and time.monotonic() - self._last >= wait

    def keep(self, state: State) -> None:
        """Write `state`. A disk that does not take it costs the checkpoint, not the training."""
        if self._file is None:
            return
        try:
            with whole_file(self._file) as part:
                write(part, state)
        except OSError as problem:
            log.warning(
                "%s cannot be written (%s): training goes on, and would begin again if stopped",
                self._file,
                reason(problem),
            )
        self._last = time.monotonic()

    def found(self) -> State | None:
        """The last state that was kept, None if there is none or it is rotten."""
        if self._file is None or not self._file.exists():
            return None
        try:
            return read(self._file)
        except (ValueError, KeyError, TypeError, OSError) as problem:
            log.warning("%s is damaged (%s): training begins again", self._file, problem)
            return None


def seconds() -> float:
    """Between two checkpoints, as the environment or the default has it.

    Raises:
        OptionError: the environment holds no such number.
    """
    told = os.environ.get("REGRAFT_CHECKPOINT_SECONDS", "")
    try:
        every = float(told or EVERY_SECONDS)
        if every >= 0:
            return every
    except ValueError:
        pass
    raise OptionError(f"REGRAFT_CHECKPOINT_SECONDS must be a number of seconds, got '{told:.40}'.")


def write(path: Path, state: State) -> None:
    """Write a state as one safetensors file.

    Raises:
        OSError: the disk does not take it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    parts = {"now": state.now, "best": state.best, "more": state.more}
    tensors = {
        f"{kind}/{name}": tensor.detach().cpu().contiguous().clone()
        for kind, held in parts.items()
        for name, tensor in held.items()
    }
    text = json.dumps(asdict(state.place), sort_keys=True)
    try:
        save_file(tensors, path, metadata={"place": text, "seal": _seal(text, tensors)})
    except SafetensorError as problem:
        raise OSError(str(problem)) from problem


def read(path: Path) -> State:
    """The state in a file.

    Raises:
        ValueError: it is not what was written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as problem:
        raise ValueError(str(problem)) from problem
    if told.get("seal") != _seal(told.get("place", ""), tensors):
        raise ValueError("the checksum does not match")
    parts: dict[str, Tensors] = {"now": {}, "best": {}, "more": {}}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        parts[kind][rest] = tensor
    return State(Place(**json.loads(told["place"])), **parts)


def _seal(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    state = xxhash.xxh3_128(text.encode())
    for name in sorted(tensors):
        state.update(name.encode())
        state.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return str(state.hexdigest())
