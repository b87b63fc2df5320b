"""How fast this machine is at the parts of a fit: measured on a few of the user's own pictures.

pictures ─► decode ─► engine up to each cut ─► flows ─► forward and backward above each cut

A few seconds, most of them for loading torch and the network. What was measured is kept in the
cache, so that a later forecast for the same network and cuts needs no torch.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft import files, peak
from regraft.cachedir import cache_dir
from regraft.data import Skipped
from regraft.features import Features
from regraft.flows import flow_name, widened
from regraft.loading import Loader
from regraft.pipeline import Pipeline

log = logging.getLogger("regraft")

FORMAT = 1
#: Pictures that are decoded and run through the engine, and rows of a batch above a cut.
PICTURES, ROWS = 24, 16
#: Rows of a batch at which the whole network is measured: enough for a rate, and soon over.
WHOLE_ROWS = 8


@dataclass(frozen=True)
class Above:
    """What lies above a cut costs, in f32, the faster of two memory formats.

    Attributes:
        forward: seconds per row, without a gradient.
        step: seconds per row, forward and backward.
        row_bytes: of memory that a row of a batch needs in a step.
    """

    forward: float
    step: float
    row_bytes: float


@dataclass(frozen=True)
class Rates:
    """What parts of a fit take here.

    Attributes:
        picture: seconds per picture, decoding and engine, with every output that the cuts need.
        opened: seconds to open the engine's session.
        loaded: seconds to load torch and the network.
        resident: bytes that the process holds with both loaded.
        above: by cut.
        threads: that were used.
    """

    picture: float
    opened: float
    loaded: float
    resident: int
    above: dict[int, Above]
    threads: int

    def json(self) -> dict[str, Any]:
        """Plain data that `read` takes."""
        return asdict(self) | {"above": {str(c): asdict(a) for c, a in self.above.items()}}

    @staticmethod
    def read(held: dict[str, Any]) -> Rates:
        above = {int(cut): Above(**one) for cut, one in held["above"].items()}
        return Rates(**{**held, "above": above})


def record(pipe: Pipeline, at: int, cuts: Sequence[int]) -> Path:
    """Where the rates of a network at these cuts are kept."""
    key = {
        "format": FORMAT,
        "network": pipe.info.network,
        "digest": pipe.info.digest,
        "input": pipe.info.input.json(),
        "engine": pipe.engine.name,
        "device": pipe.device,
        "precision": pipe.precision,
        "threads": pipe.threads,
        "at": at,
        "cuts": sorted(cuts),
    }
    return cache_dir() / "rates" / f"{files.digest_of(key)}.json"


def known(pipe: Pipeline, at: int, cuts: Sequence[int], within: float = math.inf) -> Rates | None:
    """What was measured in the last `within` seconds, None if nothing was; needs no torch."""
    path = record(pipe, at, cuts)
    try:
        if within < math.inf and not 0 <= time.time() - path.stat().st_mtime <= within:
            return None
        return Rates.read(files.unsealed(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def measure(pipe: Pipeline, rows: Features, at: int, cuts: Sequence[int]) -> Rates:
    """Measure, and keep what was measured.

    Args:
        pipe: of the features, its precision decided.
        rows: pictures to measure on.
        at: index of the stage that the head reads.
        cuts: first stages that are trained, as numbers; 0 is the whole network.
    """
    wide = widened(replace(pipe, taps=(), keep_row=False), [c for c in cuts if c <= at], "full")
    clock = time.perf_counter
    start = clock()
    spread = np.unique(np.linspace(0, len(rows.examples) - 1, PICTURES).astype(int))
    found = Loader(pipe.info.input, pipe.threads).each([rows.examples[i] for i in spread])
    pictures = [one.rows[0][1] for one in found if not isinstance(one, Skipped)]
    decoded = (clock() - start) / max(len(pictures), 1)
    start = clock()
    session = wide.open(pipe.precision) if wide.taps else None
    opened, start = clock() - start, clock()
    outputs = list(session.run(iter(pictures))) if session else []
    run = (clock() - start) / max(len(pictures), 1)
    start = clock()
    pipe.backbone.network()  # loads torch and the weights
    loaded = clock() - start
    names = [name for name in wide.names if name != flow_name(0)]
    above = {}
    for cut in sorted(cuts, reverse=True):
        if cut > at:
            continue
        if cut == 0:
            flows = np.stack([row[0] for row in pictures])
        else:
            place = names.index(flow_name(cut))
            flows = np.stack([output[place] for output in outputs])
        above[cut] = _above(pipe, at, cut, flows)
    made = Rates(decoded + run, opened, loaded, peak.resident(), above, pipe.threads)
    path = record(pipe, at, cuts)
    try:
        files.write_whole(path, files.sealed(made.json()))
    except OSError as problem:
        log.info("%s cannot be written: %s", path, problem)
    return made


def _above(pipe: Pipeline, at: int, cut: int, flows: np.ndarray) -> Above:
    """Forward and backward of the stages from `cut` up, on these flows (N, …)."""
    import torch

    from regraft.engine.process import settle
    from regraft.heads.layers import Affine, Layers
    from regraft.train.above import Above as Module

    settle(pipe.threads)
    width = pipe.info.stages[at].shape[0 if pipe.info.stages[at].layout == "NCHW" else -1]
    zeros = np.zeros((width, 2), np.float32)
    head = Layers((Affine(zeros[:, 0], zeros, zeros[0]),))
    module = Module(pipe.backbone, cut, at, head).to(pipe.device)
    count = WHOLE_ROWS if cut == 0 else ROWS
    batch = torch.from_numpy(np.resize(flows, (count, *flows.shape[1:])).copy()).to(pipe.device)
    module.cut = cut
    module.train()
    own = [p for p in module.parameters() if p.requires_grad]

    def step(rows: torch.Tensor) -> None:
        loss = torch.nn.functional.cross_entropy(
            module(rows, cut), torch.zeros(len(rows), dtype=torch.long, device=pipe.device)
        )
        torch.autograd.grad(loss, own, allow_unused=True)

    def forward(rows: torch.Tensor) -> None:
        with torch.no_grad():
            module(rows, cut)

    counted, before = peak.begin(), peak.resident()
    seconds = []
    for memory in (torch.contiguous_format, torch.channels_last):
        module.to(memory_format=memory)  # type: ignore[call-overload]
        rows = batch
        if batch.ndim == 4 and batch.is_floating_point():
            rows = batch.contiguous(memory_format=memory)
        seconds.append((_took(step, rows, pipe.device), _took(forward, rows, pipe.device)))
    used = max((peak.peak(counted)[0] or 0) - before, 0) / count
    step_seconds, forward_seconds = min(seconds)
    return Above(forward_seconds / count, step_seconds / count, used)


def _took(run: Callable[[Any], None], rows: Any, device: str) -> float:
    """The fastest of two runs after a warm-up, in seconds."""
    import torch

    best = float("inf")
    for number in range(3):
        start = time.perf_counter()
        run(rows)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        if number:
            best = min(best, time.perf_counter() - start)
    return best
