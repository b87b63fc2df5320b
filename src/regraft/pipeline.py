"""Everything between a file's bytes and its activations, resolved: what, where, with what.

A pipeline's key holds all that an activation depends on but the bytes of the file; its trunk is
what an engine compiles once for every way of decoding and every set of wanted outputs.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regraft import engine as engines
from regraft.backbones import Backbone
from regraft.backbones.info import BackboneInfo, StageInfo, Tap
from regraft.cachedir import cache_dir
from regraft.data import decoder
from regraft.data.decoders import looker
from regraft.data.views import View
from regraft.engine import Engine, Session, Trunk, precision
from regraft.errors import EngineError, OptionError
from regraft.files import digest_of
from regraft.inputs import InputSpec

log = logging.getLogger("regraft")

FORMAT = 3
PRECISIONS = ("f32", "bf16")
#: What 'auto' stands for, where the machine has it: 'f32' or 'bf16'. For tests on any processor.
FORCED = "REGRAFT_PRECISION"
#: The name under which decoded rows are kept.
ROW = "row"


@dataclass(frozen=True)
class Pipeline:
    """Everything between a file's bytes and its activations, resolved.

    Attributes:
        backbone: the frozen stages.
        taps: which stages' outputs to keep; nothing above the highest runs.
        engine: what runs them.
        device: 'cpu', 'cuda', 'cuda:N' or 'mps'.
        precision: one of the engine's, '' until it has been decided.
        threads: of the decoder and of the engine.
        keep_row: whether the decoded row is kept too, under `ROW`: what flows at cut 0.
        half: whether flows are kept in half precision; pooled outputs never are.
        view: which random version of the pictures is looked at; None for the pictures themselves.
    """

    backbone: Backbone
    taps: tuple[Tap, ...]
    engine: Engine
    device: str
    precision: str
    threads: int
    keep_row: bool = False
    half: bool = False
    view: View | None = None

    def __post_init__(self) -> None:
        """Raises EngineError if something is to be kept that is not one array of numbers."""
        for tap in self.taps:
            stage = self.info.stages[tap.stage]
            if not tap.pooled and not has_flow(stage):
                raise EngineError(
                    f"what leaves stage '{stage.name}' is more than one tensor ({stage.layout}) "
                    "and cannot be kept as it flows; cut elsewhere."
                )
        if self.keep_row and [array.dtype.name for array in self.info.input.example()] != ["uint8"]:
            raise EngineError(
                f"rows of {self.info.input.modality} cannot be kept as they are; cut above 0."
            )

    @property
    def info(self) -> BackboneInfo:
        return self.backbone.info

    @property
    def names(self) -> tuple[str, ...]:
        """What is kept of each row: one name per tap, in order, and `ROW` if it is kept."""
        return (*(tap_name(tap) for tap in self.taps), *([ROW] if self.keep_row else []))

    @property
    def halved(self) -> frozenset[str]:
        """The names of what is kept in half precision."""
        return frozenset(tap_name(tap) for tap in self.taps if self.half and not tap.pooled)

    @property
    def row_bytes(self) -> int:
        """What is kept of one row, its look not counted."""
        count = 0
        for tap in self.taps:
            stage = self.info.stages[tap.stage]
            if tap.pooled:
                count += 4 * (stage.shape[0 if stage.layout == "NCHW" else -1])
            else:
                count += math.prod(stage.shape) * (2 if self.half else 4)
        rows = self.info.input.example() if self.keep_row else ()
        return count + sum(array.nbytes for array in rows)

    def key(self) -> dict[str, Any]:
        """All that an activation depends on but the bytes of the file."""
        more: dict[str, Any] = {"half": True} if self.halved else {}
        if self.view is not None:
            more["view"] = self.view.json()
        if not self.taps:  # rows alone: no network has a say
            return look_key(self.info.input) | {"taps": self.names} | more
        engine = self.engine.fingerprint(self.device, self.precision)
        return key_of(self.info, self.names, {"engine": engine} | more)

    def facts(self) -> dict[str, Any]:
        """Which decoder and which engine make the features: for the record."""
        key = self.key()
        return {name: key[name] for name in ("decoder", "engine")}

    def trunk(self) -> Trunk:
        """What the engine is to run: every stage is an output, the taps are the wanted ones.

        Each is there pooled and, where it is one tensor, as it flows: no cut needs its own trunk.
        """
        stages = self.info.stages
        raw = [Tap(stage.index, False) for stage in stages if has_flow(stage)]
        every = {tap_name(tap): tap for tap in [*(Tap(stage.index) for stage in stages), *raw]}

        def build(names: Sequence[str]) -> Any:
            from regraft.stages import Below

            taps = tuple(every[name] for name in names)
            return Below(self.info.input.preamble(), self.backbone.stages, taps)

        outputs = tuple(every)
        key = {
            "format": FORMAT,
            "input": self.info.input.traced(),
            "weights": self.info.digest,
            "network": self.info.network,
            "outputs": outputs,
        }
        wanted = tuple(tap_name(tap) for tap in self.taps)
        return Trunk(key, outputs, wanted, build, self.info.input.example())

    def open(self, name: str) -> Session:
        """A session in precision `name`."""
        trunk = self.trunk()
        folder = cache_dir() / "trunks" / digest_of([trunk.key, self.engine.name])
        return self.engine.open(
            trunk, folder, device=self.device, precision=name, threads=self.threads
        )


def has_flow(stage: StageInfo) -> bool:
    """Whether what leaves a stage is one tensor, which an engine can give back as it is."""
    return "+" not in stage.layout


def tap_name(tap: Tap) -> str:
    """The name of a tap in cache, trunk and head: '017' pooled, '017-flow' as it flows."""
    return f"{tap.stage:03d}" + ("" if tap.pooled else "-flow")


def key_of(info: BackboneInfo, names: Sequence[str], facts: dict[str, Any]) -> dict[str, Any]:
    """`Pipeline.key` from its outputs' names and what is known of `Pipeline.facts`.

    With the facts that a run recorded it is the key of the run's own activations, whatever
    decoder and engine are installed now.
    """
    return (
        look_key(info.input)
        | {
            "weights": info.digest,
            "network": info.network,
            # Which outputs are asked for changes what an engine fuses, and so the last bits.
            "taps": tuple(names),
        }
        | facts
    )


def look_key(spec: InputSpec) -> dict[str, Any]:
    """All that a row and its look depend on but the bytes of the file."""
    looks = looker(spec.modality)
    return {
        "format": FORMAT,
        "decoder": decoder(spec.modality).fingerprint(spec),
        "look": looks.LOOK if looks else None,
        "input": spec.json(),
    }


def default_threads() -> int:
    """The processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def pipeline(
    backbone: Backbone,
    taps: Sequence[Tap],
    *,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Pipeline:
    """Resolve what is to run where. The precision stays open ('') if it must be measured first.

    Raises:
        OptionError: an argument with a value it cannot have.
        EngineError: no engine runs on the device, or a flow is wanted that is not one tensor.
    """
    where, runner = _place(device, engine)
    if threads is not None and threads < 1:
        raise OptionError(f"--threads must be 1 or more, got {threads}.")
    chosen = "" if precision == "auto" else precision
    if chosen and chosen not in PRECISIONS:
        raise OptionError(f"precision must be auto, f32 or bf16, got '{precision}'.")
    made = Pipeline(backbone, tuple(taps), runner, where, chosen, threads or default_threads())
    return made if chosen else replace(made, precision=_known(made))


def _place(device: str, engine: str) -> tuple[str, Engine]:
    """Where to run and with what; 'auto' falls back to the CPU where a GPU cannot be used."""
    where = engines.resolve_device(device)
    if engine != "auto":
        return where, engines.engine(engine)
    try:
        return where, engines.pick(where)
    except EngineError as problem:
        if device != "auto" or where == "cpu":
            raise
        log.warning("%s Going on with the CPU.", problem)
        return "cpu", engines.pick("cpu")


def precision_record(pipe: Pipeline) -> Path:
    """Where the precision that was decided for `pipe` is written down."""
    return precision.record_path(cache_dir(), pipe.engine, pipe.device, pipe.trunk().key)


def decided(pipe: Pipeline) -> tuple[Pipeline, bool]:
    """The pipeline with its precision, and whether its trunk had to be compiled to find it out."""
    if pipe.precision:
        return pipe, False
    every = replace(pipe, taps=tuple(Tap(stage.index) for stage in pipe.info.stages), view=None)
    name, built = precision.decide(
        precision_record(pipe),
        pipe.engine.precisions(pipe.device),
        every.open,
        pipe.info.input.samples(precision.CHECK_ROWS),
    )
    return replace(pipe, precision=name), built


def _known(pipe: Pipeline) -> str:
    """The precision where nothing has to be measured: forced, the only one, or recorded; else ''.

    Raises:
        OptionError: REGRAFT_PRECISION is none.
    """
    tried = pipe.engine.precisions(pipe.device)
    forced = os.environ.get(FORCED) or "auto"
    if forced not in ("auto", *PRECISIONS):
        raise OptionError(f"{FORCED} must be auto, f32 or bf16, got '{forced}'.")
    if len(tried) == 1 or forced in tried:
        return forced if forced in tried else tried[0]
    return precision.recorded(precision_record(pipe), tried) or ""
