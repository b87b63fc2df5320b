"""Facts of backbones that are made up: stages with names, work and parameters."""

from __future__ import annotations

from dataclasses import replace

from regraft.backbones.info import BackboneInfo, StageInfo
from regraft.inputs import ImageSpec


def info(*stages: tuple[str, int, int], layout: str = "NCHW") -> BackboneInfo:
    """A backbone of stages (name, parameters, FLOPs): each gives (8, 4, 4), the last (8,)."""
    made = [
        StageInfo(i, name, "Block", parameters, (8, 4, 4), layout, 0, flops, 8 * 16 * 4)
        for i, (name, parameters, flops) in enumerate(stages)
    ]
    made[-1] = replace(made[-1], shape=(8,), layout="NC", activation_bytes=32)
    return BackboneInfo("made", "module", "", "d", "n", "", ImageSpec((32, 32)), tuple(made))


def residual() -> BackboneInfo:
    """Groups of blocks as a ResNet has them: much work below, many parameters above."""
    return info(
        ("stem", 10, 40),
        ("layer1.0", 20, 30), ("layer1.1", 20, 30),
        ("layer2.0", 100, 30), ("layer2.1", 100, 30),
        ("layer3.0", 500, 20), ("layer3.1", 400, 20),
        ("pool", 0, 0),
    )  # fmt: skip


def flat(count: int = 12) -> BackboneInfo:
    """Equal blocks side by side in one module, as a transformer has them."""
    blocks = [(f"blocks.{i}", 100, 100) for i in range(count)]
    return info(("patch", 1, 1), *blocks, ("norm", 1, 0), ("pool", 0, 0))


def masked() -> BackboneInfo:
    """Stages that pass a mask on, as text has them."""
    return info(("embed", 10, 1), ("layer.0", 10, 10), ("layer.1", 10, 10), layout="NLC+mask")
