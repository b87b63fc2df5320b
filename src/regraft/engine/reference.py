"""The plain way: one row at a time, float32, eager torch. What every engine is tested against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from regraft.engine import CPU_ONLY, Activations, Trunk
from regraft.inputs import Row


class ReferenceEngine:
    """See the module."""

    name = "reference"

    def missing(self, device: str) -> str:
        return "" if device == "cpu" else CPU_ONLY

    def precisions(self, device: str) -> tuple[str, ...]:
        return ("f32",)

    def fingerprint(self, device: str, precision: str) -> dict[str, str]:
        return {"engine": self.name, "version": version("torch"), "precision": precision}

    def open(
        self, trunk: Trunk, folder: Path, *, device: str, precision: str, threads: int
    ) -> ReferenceSession:
        return ReferenceSession(trunk)


class ReferenceSession:
    """The trunk's module itself."""

    built = True

    def __init__(self, trunk: Trunk) -> None:
        self._module = trunk.build(trunk.wanted).eval()

    def run(self, rows: Iterable[Row]) -> Iterator[Activations]:
        import torch

        for row in rows:
            with torch.inference_mode():
                # copied: a decoder may hand out rows that must not be written to
                outputs = self._module(*(torch.from_numpy(array[None].copy()) for array in row))
            yield tuple(output[0].float().numpy() for output in outputs)
