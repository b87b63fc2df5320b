"""Frozen stages with torch: compiled, bf16 and channels-last on a GPU; eager float32 elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.engine import Activations, Trunk
from regraft.engine.process import settle
from regraft.inputs import Row

if TYPE_CHECKING:
    import torch

BATCH = {"cuda": 64, "mps": 32, "cpu": 8}


class TorchEngine:
    """See the module."""

    name = "torch"

    def missing(self, device: str) -> str:
        kind = device.split(":")[0]
        if kind == "cpu":
            return ""
        import torch

        if kind == "cuda" and not torch.cuda.is_available():
            return "torch sees no CUDA device"
        if kind == "mps" and not torch.backends.mps.is_available():
            return "torch sees no Apple GPU"
        return ""

    def precisions(self, device: str) -> tuple[str, ...]:
        return ("f32", "bf16") if device.startswith("cuda") else ("f32",)

    def fingerprint(self, device: str, precision: str) -> dict[str, str]:
        return {
            "engine": self.name,
            "version": version("torch"),
            "precision": precision,
            "instructions": device_name(device),
        }

    def open(
        self, trunk: Trunk, folder: Path, *, device: str, precision: str, threads: int
    ) -> TorchSession:
        settle(threads)
        return TorchSession(trunk, device, precision)


class TorchSession:
    """The trunk's module on its device, run in batches that are padded to one size.

    One batch size means one compiled graph, and bits that do not depend on how many rows are left.
    """

    built = True

    def __init__(self, trunk: Trunk, device: str, precision: str) -> None:
        import torch

        self._device = torch.device(device)
        self._batch = BATCH[self._device.type]
        self._half = precision == "bf16"
        module: Any = trunk.build(trunk.wanted).eval().to(self._device)
        module = module.to(memory_format=torch.channels_last)
        self._module = torch.compile(module) if self._device.type == "cuda" else module

    def run(self, rows: Iterable[Row]) -> Iterator[Activations]:
        stream = iter(rows)
        while chunk := list(islice(stream, self._batch)):
            outputs = self._forward(chunk)
            for number in range(len(chunk)):
                yield tuple(output[number] for output in outputs)

    def _forward(self, chunk: list[Row]) -> list[Any]:
        import numpy as np
        import torch

        padded = chunk + [chunk[-1]] * (self._batch - len(chunk))
        batch = [self._send(torch.from_numpy(np.stack(part))) for part in zip(*padded, strict=True)]
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=self._half),
        ):
            outputs = self._module(*batch)
            return [output.float().cpu().numpy() for output in outputs]

    def _send(self, tensor: torch.Tensor) -> torch.Tensor:
        if self._device.type == "cuda":
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)


def device_name(device: str) -> str:
    """What the processor or GPU calls itself."""
    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return f"{device} {torch.backends.cpu.get_cpu_capability()}"
