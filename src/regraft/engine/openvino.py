"""Frozen stages on the CPU with OpenVINO: no torch once a trunk has been compiled.

A trunk is converted once with every output and kept as OpenVINO's own graph; a session cuts away
what its wanted outputs do not need. Rows go in one by one, one thread per stream: the bits of a
row then depend neither on its batch-mates nor on the number of threads.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.engine import CPU_ONLY, Activations, Trunk
from regraft.errors import EngineError
from regraft.files import cache_full, is_sealed, put_folder, seal, touch, whole_folder
from regraft.inputs import Row

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("regraft")

GRAPH, WEIGHTS = "trunk.xml", "trunk.bin"  # OpenVINO writes the second beside the first

#: One thread converts at a time: Python's filters of warnings, which `convert` sets, are the whole
#: process's. A forked child has a lock of its own: no thread is left in it to give this one back.
_converting = threading.Lock()
_first = threading.Lock()


def _unlock() -> None:
    global _converting, _first
    _converting, _first = threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_unlock)

#: What a run's finished rows gave, by their number.
Finished = dict[int, Activations | BaseException]


def runtime() -> Any:
    """The package openvino, without the telemetry that it sends as soon as it is imported.

    It counts its uses in the user's home and reports them to a web analytics service from a process
    of its own. Without the package `openvino_telemetry` it does neither.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    _make_tables(openvino)
    return openvino


@cache
def _make_tables(openvino: Any) -> None:
    """Have OpenVINO's binding make its tables of types, in one thread.

    It makes them when a tensor's data are first touched, and gives Python's lock away meanwhile: a
    second thread that touches some then waits for the tables and holds that lock, for good.
    """
    import numpy as np

    with _first:
        for kind in ("u1", "f4", "i8"):
            _ = openvino.Tensor(np.zeros(1, kind)).data


class OpenVinoEngine:
    """See the module."""

    name = "openvino"

    def missing(self, device: str) -> str:
        if device != "cpu":
            return CPU_ONLY
        try:
            version("openvino")
        except PackageNotFoundError:
            return "the package openvino is not installed"
        return ""

    def precisions(self, device: str) -> tuple[str, ...]:
        # The processor is asked and not OpenVINO, so that a warm run need not import it; where
        # bf16 is not native it is emulated, a third as fast as f32 (docs/benchmarks.md).
        return ("f32", "bf16") if "bf16" in instruction_set() else ("f32",)

    def fingerprint(self, device: str, precision: str) -> dict[str, str]:
        return {
            "engine": self.name,
            "version": version("openvino"),
            "precision": precision,
            "instructions": instruction_set(),
        }

    def open(
        self, trunk: Trunk, folder: Path, *, device: str, precision: str, threads: int
    ) -> OpenVinoSession:
        ov = runtime()
        core = ov.Core()
        read, built = read_trunk(core, trunk, folder)
        graph = keep_outputs(read, trunk)
        compiled = core.compile_model(
            graph,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": precision,
                "PERFORMANCE_HINT": "THROUGHPUT",
                "NUM_STREAMS": threads,
                "INFERENCE_NUM_THREADS": threads,
            },
        )
        got = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if got not in (precision, {"f32": "float32", "bf16": "bfloat16"}[precision]):
            raise EngineError(f"openvino was asked for {precision} and runs {got}; use f32.")
        return OpenVinoSession(compiled, threads, built)


class OpenVinoSession:
    """A compiled trunk with a queue of requests in flight."""

    def __init__(self, compiled: Any, threads: int, built: bool) -> None:
        ov = runtime()
        self.built = built
        # Two requests per stream: one runs while the next one's pixels are copied in.
        self._queue = ov.AsyncInferQueue(compiled, 2 * threads)
        self._queue.set_callback(_keep)

    def run(self, rows: Iterable[Row]) -> Iterator[Activations]:
        # Of this run alone: what one that was left half-way has computed is no answer of the next.
        done: Finished = {}
        given = 0
        try:
            for number, row in enumerate(rows):
                self._queue.start_async(dict(enumerate(batch_of_one(row))), userdata=(done, number))
                while given in done:
                    yield _outputs(done.pop(given))
                    given += 1
        finally:
            self._queue.wait_all()
        while given in done:
            yield _outputs(done.pop(given))
            given += 1


def _keep(request: Any, place: tuple[Finished, int]) -> None:
    """What a queue calls with each finished request: the outputs go to their place, by number.

    It must not know the session: through C++ the queue holds it, the session holds the queue, and
    such a cycle is never freed, with all memory, threads and files of the compiled network. Nor may
    it raise: C++ ends the process then. An error, of memory say, is kept in the outputs' place.
    """
    done, number = place
    try:
        done[number] = tuple(tensor.data[0].copy() for tensor in request.output_tensors)
    except BaseException as problem:  # without its frames, which hold the request
        done[number] = problem.with_traceback(None)


def _outputs(kept: Activations | BaseException) -> Activations:
    """What `_keep` has kept of a row; raises the error that took its place."""
    if isinstance(kept, BaseException):
        raise kept
    return kept


def batch_of_one(row: Row) -> list[np.ndarray]:
    """The row's arrays with a batch axis of 1."""
    return [array[None] for array in row]


def read_trunk(core: Any, trunk: Trunk, folder: Path) -> tuple[Any, bool]:
    """The graph kept in `folder`, and whether it had to be converted first.

    Another process may take the folder away to repair or to clear it, just when it is read.
    """
    for _ in range(3):
        built = not is_sealed(folder)
        if built:
            with _converting:
                if not is_sealed(folder):  # another thread may have been first
                    convert(trunk, folder)
        try:
            for path in folder.iterdir():
                touch(path)
            return core.read_model(folder / GRAPH), built
        except (OSError, RuntimeError):
            if is_sealed(folder):
                raise
    raise EngineError(f"{folder} is taken away as often as it is made; run one command at a time.")


def keep_outputs(graph: Any, trunk: Trunk) -> Any:
    """`graph` with the wanted outputs of `trunk`, in that order."""
    ov = runtime()
    sources = dict(zip(trunk.outputs, graph.outputs, strict=True))
    wanted = [sources[name].get_node().input_value(0) for name in trunk.wanted]
    return ov.Model(wanted, graph.get_parameters(), "trunk")


def convert(trunk: Trunk, folder: Path) -> None:
    """Convert the trunk's module into `folder`, whole or not at all; f32, batch of 1.

    Raises:
        EngineError: OpenVINO cannot convert one of the module's operations.
    """
    import warnings

    import torch

    ov = runtime()
    example = tuple(torch.from_numpy(array) for array in batch_of_one(trunk.example))
    module = trunk.build(trunk.outputs).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch.jit's own deprecation, of no use to the user
        try:
            # Traced without torch's second, checking pass and frozen: converts in less than half
            # the time of the module itself, to the same operations.
            traced = torch.jit.trace(  # type: ignore[no-untyped-call]
                module, example, check_trace=False, strict=False
            )
            graph = ov.convert_model(
                torch.jit.freeze(traced, optimize_numerics=False),
                example_input=example if len(example) > 1 else example[0],
                input=[ov.PartialShape(list(array.shape)) for array in example],
            )
        except Exception as problem:
            first = str(problem).strip().splitlines()[0]
            raise EngineError(
                f"openvino cannot run this backbone ({first}); "
                "use --device cpu with engine 'torch'."
            ) from problem
    numbers = sum(array.nbytes for array in module.state_dict().values())
    try:
        with whole_folder(folder.parent) as part:
            ov.save_model(graph, part / GRAPH, compress_to_fp16=False)
            seal(part)
            put_trunk(part, folder)
    except (OSError, RuntimeError) as problem:  # OpenVINO's own when it is the one that writes
        raise cache_full(folder.parent, numbers, problem) from problem


def put_trunk(part: Path, folder: Path) -> None:
    """Give `part` its name; a folder that another process put there first stays if it is sound."""
    if folder.exists() and not is_sealed(folder):
        log.warning("cache entry %s is damaged: compiling it again", folder)
        shutil.rmtree(folder, ignore_errors=True)
    try:
        put_folder(part, folder)
    except OSError:
        if not is_sealed(folder):
            raise


def instruction_set() -> str:
    """The widest vector instructions of this processor, since they decide the last bits."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split()
    except (OSError, IndexError):
        return platform.machine()
    wide = ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx2", "asimd")
    return "+".join([platform.machine(), *(flag for flag in wide if flag in flags)])
