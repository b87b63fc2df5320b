"""What a plan does on a backbone, phase by phase, before anything runs: words and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from regraft.plans.named import Plan
from regraft.plans.phase import Phase
from regraft.plans.recipe import Recipe

if TYPE_CHECKING:
    from regraft.backbones.info import BackboneInfo, StageInfo

FLOAT_BYTES, HALF_BYTES = 4, 2
BACKWARD = 2  # a backward pass is two forward passes of work
HEAD = "head"


@dataclass(frozen=True)
class Depth:
    """How fast one stage learns.

    Attributes:
        stage: its name, or 'head'.
        lr: its largest learning rate.
        parameters: numbers that are trained in it; None for the head, whose size the classes make.
    """

    stage: str
    lr: float
    parameters: int | None


@dataclass(frozen=True)
class Described:
    """One phase.

    Attributes:
        phase: its number, from 1.
        does: what it does, in words.
        cut: index of the first stage that is trained.
        stage: the name of that stage, or 'end'.
        parameters: numbers that are trained, without the head.
        share: of all parameters up to the stage that the head reads, 0..1.
        kept: what is computed once and kept: words.
        kept_bytes: of that per picture, all views of it together.
        views: how many versions of a picture that counts: the plain one and augmented ones.
        ceiling: how many times faster an epoch can at most be than one that runs the frozen stages
            too: the forward work below the cut plus three times that above it, over the latter.
            None where no stage is trained.
        depths: rate and parameters per stage, the head first.
        tensors: names of what is trained; None where nobody asked.
    """

    phase: int
    does: str
    cut: int
    stage: str
    parameters: int
    share: float
    kept: str
    kept_bytes: int
    views: int
    ceiling: float | None
    depths: tuple[Depth, ...]
    tensors: tuple[str, ...] | None = None

    def json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


#: Per stage's name, the numbers in each tensor that a phase trains there.
Trained = Callable[[Phase], Mapping[str, Mapping[str, int]]]


def describe(
    plan: Plan, recipe: Recipe, info: BackboneInfo, at: int, trained: Trained | None = None
) -> list[Described]:
    """Each phase of a resolved plan.

    Args:
        plan: phases whose cuts are numbers.
        recipe: its augmentation and views count.
        info: of the backbone.
        at: index of the stage that the head reads.
        trained: tells what a phase trains; without it everything above the cut is counted.
    """
    stages = info.stages[: at + 1]
    return [_one(n, phase, recipe, info, stages, trained) for n, phase in enumerate(plan, 1)]


def _one(
    number: int,
    phase: Phase,
    recipe: Recipe,
    info: BackboneInfo,
    stages: Sequence[StageInfo],
    trained: Trained | None,
) -> Described:
    cut = int(phase.cut)
    above = stages[cut:]
    found = trained(phase) if trained and above and not phase.solve else None
    counts = {
        stage.name: stage.parameters if found is None else sum(found.get(stage.name, {}).values())
        for stage in above
    }
    whole = sum(stage.parameters for stage in stages)
    kept, size = _kept(phase, info, stages)
    half = recipe.keep == "half" and 0 < cut <= len(stages) - 1
    views = 1 + (recipe.views if recipe.augment and not phase.solve else 0)
    live = recipe.keep == "live" and not phase.solve
    names = None if found is None else tuple(name for one in found.values() for name in one)
    return Described(
        phase=number,
        does=does(phase, info, stages),
        cut=cut,
        stage=stages[cut].name if above else "end",
        parameters=sum(counts.values()),
        share=round(sum(counts.values()) / whole, 6) if whole else 0.0,
        kept="nothing, computed in every epoch" if live else kept,
        kept_bytes=0 if live else size * views // (HALF_BYTES if half else 1),
        views=views,
        ceiling=_ceiling(stages, cut) if above else None,
        depths=() if phase.solve else _depths(phase, above, counts),
        tensors=names,
    )


def does(phase: Phase, info: BackboneInfo, stages: Sequence[StageInfo]) -> str:
    """What a phase does, in words."""
    cut = int(phase.cut)
    if phase.solve:
        return f"the head is solved on the features of '{stages[-1].name}'"
    how = f"{phase.epochs} epochs" if phase.epochs > 1 else "1 epoch"
    stop = f", ends after {phase.patience} without a better validation" if phase.patience else ""
    if cut >= len(stages):
        return f"the head is trained on the features of '{stages[-1].name}': {how}{stop}"
    few = {"lora": f"LoRA of rank {phase.rank}", "bitfit": "the biases", "norm": "the norms"}
    what = few.get(phase.adapter, "everything")
    only = f", of it '{phase.only}'" if phase.only else ""
    place = f"from '{stages[cut].name}' up" if cut else "of all stages"
    begin = ", from random weights" if phase.scratch else ""
    return f"the head and {what} {place}{only}{begin}: {how}{stop}"


def _kept(phase: Phase, info: BackboneInfo, stages: Sequence[StageInfo]) -> tuple[str, int]:
    """What is kept of a picture, and how many bytes one version of it takes."""
    cut = int(phase.cut)
    top = stages[-1]
    if cut >= len(stages):
        width = top.shape[0] if top.layout in ("NC", "NCHW") else top.shape[-1]
        return f"features of '{top.name}'", width * FLOAT_BYTES
    if cut == 0:
        (row,) = info.input.example()[:1]
        return "decoded pictures", prod(row.shape) * row.dtype.itemsize
    return f"what '{stages[cut - 1].name}' gives", stages[cut - 1].activation_bytes


def _ceiling(stages: Sequence[StageInfo], cut: int) -> float | None:
    below = sum(stage.flops for stage in stages[:cut])
    above = (1 + BACKWARD) * sum(stage.flops for stage in stages[cut:])
    return round((below + above) / above, 3) if above else None


def _depths(
    phase: Phase, above: Sequence[StageInfo], counts: Mapping[str, int]
) -> tuple[Depth, ...]:
    """Rates as `regraft.train.rates` gives them: a stage without parameters is no depth."""
    found = [Depth(HEAD, phase.lr, None)]
    deep = [stage for stage in above if stage.parameters][::-1]
    for steps, stage in enumerate(deep):
        found.append(Depth(stage.name, phase.lr * phase.decay**steps, counts[stage.name]))
    return tuple(found)
