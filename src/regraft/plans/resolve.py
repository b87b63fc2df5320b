"""A plan in words becomes a plan in numbers, against the stages of one backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from regraft.errors import CutError, OptionError
from regraft.plans.phase import Phase
from regraft.plans.places import Layers, cut_of
from regraft.plans.recipe import Recipe
from regraft.plans.setting import check_settings

if TYPE_CHECKING:
    from regraft.backbones.info import BackboneInfo

MASKED = "NLC+mask"


def resolve(
    plan: Sequence[Phase],
    info: BackboneInfo,
    at: int,
    layers: Callable[[], Layers] | None = None,
) -> tuple[Phase, ...]:
    """The plan with every cut as a number; `at + 1` where only the head is trained.

    Args:
        plan: phases whose cuts are spelled in any way.
        info: of the backbone.
        at: index of the stage that the head reads.
        layers: tells them, see `regraft.plans.places`; only asked where a cut counts layers.

    Raises:
        CutError: a cut does not exist, lies above `at`, or lies above the cut before it.
        OptionError: a phase holds what it cannot.
    """
    check(plan)
    found: list[Phase] = []
    for number, phase in enumerate(plan, 1):
        cut = _cut(phase, info, at, layers)
        where = f"phase {number}: "
        if cut > at and _trains_stages(phase):
            raise OptionError(
                f"{where}the cut '{phase.cut}' leaves no stage to train below the head, but "
                f"{_above(phase)} is asked for; lower the cut."
            )
        if found and cut > int(found[-1].cut):
            raise CutError(_rising(number, phase, info, cut, int(found[-1].cut)))
        found.append(replace(phase, cut=cut))
    return tuple(found)


def check(plan: Sequence[Phase]) -> None:
    """Refuse what no backbone can make right.

    Raises:
        OptionError: names the phase and the setting.
    """
    if not plan:
        raise OptionError("a plan must have at least one phase.")
    for number, phase in enumerate(plan, 1):
        where = f"phase {number}: " if len(plan) > 1 else "the phase: "
        if not isinstance(phase, Phase):
            raise OptionError(f"{where}must be a regraft.plans.Phase, got {phase!r:.60}.")
        check_settings(phase, where)
        if phase.solve:
            _check_solved(phase, where)
        elif phase.epochs == 0:
            raise OptionError(
                f"{where}epochs must be 1 or more where something is trained, got 0; 'solve' "
                "solves the head without any."
            )
        if phase.scratch and number > 1:
            raise OptionError(
                f"{where}scratch would throw away what the phases before it learned; it belongs "
                "into the first phase."
            )


def _check_solved(phase: Phase, where: str) -> None:
    if phase.epochs:
        raise OptionError(
            f"{where}epochs must be 0 where the head is solved, got {phase.epochs}; train it with "
            "solve = false, or leave epochs out."
        )
    if phase.cut != "end" and not isinstance(phase.cut, int):
        raise OptionError(
            f"{where}cut must be 'end' where the head is solved, got '{phase.cut}'; only the head "
            "can be solved."
        )
    if _trains_stages(phase):
        raise OptionError(f"{where}solves the head, so it trains no {_above(phase)}.")


def check_recipe(recipe: Recipe) -> None:
    """Refuse what no data can make right.

    Raises:
        OptionError: names the setting.
    """
    check_settings(recipe)
    if recipe.augment:
        from regraft.data.augment import parse

        parse(recipe.augment)
    if recipe.accumulate > recipe.batch:
        raise OptionError(
            f"accumulate must be at most the batch ({recipe.batch}), got {recipe.accumulate}."
        )
    if recipe.compile == "on" and recipe.checkpoint:
        raise OptionError(
            "compile must be off or auto where checkpoint is true: it recomputes eagerly."
        )
    if recipe.wise not in ("off", "auto") and not _is_share(recipe.wise):
        raise OptionError(
            f"wise must be off, auto, or a number from 0 to 1, got '{recipe.wise:.60}'."
        )
    if recipe.ewc_source and not recipe.ewc:
        raise OptionError("ewc_source has an effect only together with ewc, e.g. ewc=100.")


def _cut(phase: Phase, info: BackboneInfo, at: int, layers: Callable[[], Layers] | None) -> int:
    if phase.solve:
        return at + 1  # a number is what 'end' was on another backbone
    cut = cut_of(phase.cut, info.stages, at, layers)
    if cut == 0 or info.stages[cut - 1].layout != MASKED:
        return cut
    if phase.cut in ("auto", "end"):
        return 0 if phase.cut == "auto" else cut
    raise CutError(
        f"cut '{phase.cut}' cannot be trained from: '{info.stages[cut - 1].name}' below it passes "
        "a mask on besides its output; use cut 0."
    )


def _trains_stages(phase: Phase) -> bool:
    return bool(phase.adapter or phase.scratch)


def _above(phase: Phase) -> str:
    return f"adapter '{phase.adapter}'" if phase.adapter else "stage from random weights"


def _rising(number: int, phase: Phase, info: BackboneInfo, cut: int, before: int) -> str:
    def name(index: int) -> str:
        return info.stages[index].name if index < len(info.stages) else "end"

    return (
        f"phase {number}: the cut rises from {before} ({name(before)}) to {cut} ({name(cut)}); "
        "each phase must train at least the stages of the phase before it, so lower the cut "
        f"'{phase.cut}' or put the phase earlier."
    )


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
