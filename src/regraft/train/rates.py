"""A learning rate per depth: what lies near the picture is general and should move less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from regraft.plans import Phase

HEAD = "head"


class Depth(NamedTuple):
    """One line of the table of rates.

    Attributes:
        stage: its name, or 'head'.
        rate: largest learning rate of the phase there.
        parameters: how many numbers are trained there.
    """

    stage: str
    rate: float
    parameters: int


def rates(stage_of: Mapping[str, int], phase: Phase, top: int) -> dict[str, float]:
    """The learning rate of each parameter: `lr` at the head and at the topmost stage that has
    parameters, and `decay` times that of the stage above further down (Howard & Ruder 2018,
    arXiv:1801.06146). A stage without parameters is no depth of its own.

    Args:
        stage_of: for the name of each parameter the index of its stage; all of them, also those
            that are not trained, so that choosing among them moves no other's rate.
        phase: its `lr` and `decay` count.
        top: index that stands for the head, one above the topmost stage.
    """
    deep = sorted({stage for stage in stage_of.values() if stage < top}, reverse=True)
    below = {stage: steps for steps, stage in enumerate(deep)}
    return {name: phase.lr * phase.decay ** below.get(at, 0) for name, at in stage_of.items()}


def table(
    rate_of: Mapping[str, float],
    stage_of: Mapping[str, int],
    sizes: Mapping[str, int],
    names: Sequence[str],
) -> list[Depth]:
    """What is trained and how fast, the head first and the lowest stage last.

    Args:
        rate_of: see `rates`.
        stage_of: for the name of each parameter the index of its stage.
        sizes: numbers in each parameter that is trained.
        names: of the backbone's stages; what lies above the last of them is the head.
    """
    lines: dict[int, Depth] = {}
    for parameter, size in sizes.items():
        at = stage_of[parameter]
        name = names[at] if at < len(names) else HEAD
        held = lines.get(at, Depth(name, rate_of[parameter], 0))
        lines[at] = held._replace(parameters=held.parameters + size)
    return [lines[at] for at in sorted(lines, reverse=True)]
