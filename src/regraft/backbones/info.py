"""Facts about a backbone as plain data: what a warm run needs, without importing torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from regraft.inputs import InputSpec, spec_from


@dataclass(frozen=True)
class StageInfo:
    """One stage.

    Attributes:
        index: place in the list, 0 is nearest the input.
        name: the module path it ends with, e.g. 'blocks.3' or 'layer2.1'.
        kind: what a person calls it, e.g. the module's class name.
        parameters: numbers in it that training could change.
        shape: its output for one row, without the batch axis.
        layout: how to read the output: 'NCHW', 'NHWC', 'NLC', 'NC', or 'NLC+mask' for (x, mask).
        prefix_tokens: leading tokens of an 'NLC' output that are not patches (class, register).
        flops: multiply-adds times two for one row.
        activation_bytes: size of its float32 output for one row.
    """

    index: int
    name: str
    kind: str
    parameters: int
    shape: tuple[int, ...]
    layout: str
    prefix_tokens: int = 0
    flops: int = 0
    activation_bytes: int = 0


@dataclass(frozen=True)
class BackboneInfo:
    """Everything about a backbone but its weights.

    Attributes:
        name: the full name that loads it again, e.g. 'tf_efficientnet_lite0.in1k'.
        source: 'package', 'hub', 'file', 'random' or 'module'.
        revision: package version, or commit of the hub's repository; '' where there is none.
        digest: blake2b-256 of all parameters and buffers by name: which weights.
        network: blake2b-256 of what is computed with them, and how it is cut: which network.
        licence: of the weights, SPDX-like; '' if unknown.
        input: size, normalisation, … as the backbone was trained.
        stages: in order; the last one's output is the backbone's own pooled feature.
        base: digest of the weights that these were trained from; '' as they were published.
    """

    name: str
    source: str
    revision: str
    digest: str
    network: str
    licence: str
    input: InputSpec
    stages: tuple[StageInfo, ...]
    base: str = ""

    def json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads."""
        plain = ("name", "source", "revision", "digest", "network", "licence")
        fields = {name: getattr(self, name) for name in plain}
        fields |= {"base": self.base} if self.base else {}
        return fields | {"input": self.input.json(), "stages": [asdict(s) for s in self.stages]}

    @staticmethod
    def from_json(data: dict[str, Any]) -> BackboneInfo:
        stages = tuple(StageInfo(**{**s, "shape": tuple(s["shape"])}) for s in data["stages"])
        return BackboneInfo(**{**data, "input": spec_from(data["input"]), "stages": stages})


@dataclass(frozen=True)
class Tuning:
    """What training changed of a backbone.

    Attributes:
        tensors: names of the parameters and buffers that are others now, sorted.
        stages: names of the stages that have them, in order.
        parameters: how many numbers the changed parameters have; buffers do not count.
    """

    tensors: tuple[str, ...]
    stages: tuple[str, ...]
    parameters: int

    def json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Tuning:
        return Tuning(tuple(data["tensors"]), tuple(data["stages"]), data["parameters"])


@dataclass(frozen=True)
class Tap:
    """One output that is wanted of the frozen stages.

    Attributes:
        stage: index of the stage whose output it is.
        pooled: True for the mean over positions (B, D), False for the raw flow.
    """

    stage: int
    pooled: bool = True
