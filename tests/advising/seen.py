"""Evidence that tests make up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from regraft.advising.evidence import Evidence
from regraft.evaluate import wilson
from regraft.evidence.depths import Depth
from regraft.evidence.growth import Growth
from regraft.evidence.learnable import Learnable
from regraft.similarity import Similarity
from tests.nets import small

INFO = small().info
STAGES = [stage.name for stage in INFO.stages]
CAN = Learnable(True, True, 0.003, 0.9, 0.33, 200, "They do better than shuffled ones.")


def depth(stage: str, accuracy: float, loss: float, n: int = 200, **more: Any) -> Depth:
    interval = wilson(accuracy * n, n)
    return replace(
        Depth(stage, n, accuracy, interval, loss, accuracy, 0.0, 0.01, accuracy, 0.0), **more
    )


def seen(accuracies: list[float], **more: Any) -> Evidence:
    """Evidence with one depth per stage of the small network."""
    depths = tuple(
        depth(stage, one, 1 - one, log_me=one)
        for stage, one in zip(STAGES, accuracies, strict=True)
    )
    held = Evidence(
        info=INFO,
        counts={"a": 100, "b": 100},
        test=100,
        depths=depths,
        growth=Growth((), None, None, "Twice as many may reach more."),
        learnable=CAN,
        similarity=Similarity("like the source", 0.9, "BatchNorm statistics", "They are alike."),
        shift=0.1,
    )
    return replace(held, **more)
