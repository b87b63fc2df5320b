"""What is to be compared: plans times backbones, checked before anything is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regraft.asked import every_stage, stage_names
from regraft.backbones import Backbone
from regraft.backbones.info import BackboneInfo
from regraft.backbones.resolve import resolve
from regraft.choose import EARLY
from regraft.errors import OptionError, RegraftError
from regraft.plans import Phase, Planned, planned

Given = str | Sequence[Phase] | Planned
Net = str | Backbone | None
MOST_SEEDS = 100
#: Forward, and twice as much backward.
PASSES = 3
#: What a folder's name may not hold.
_ODD = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True)
class Wanted:
    """One arm, before it is run.

    Attributes:
        name: the plan's, and the backbone's after a comma where there are several.
        plan: the plan's name.
        planned: the plan.
        net: the backbone as it was given.
        backbone: its name.
        folder: what its runs' folders are called, without the seed.
        phases: of each phase its epochs, and what one of them costs per row, see `work_of`; empty
            as long as the backbone was not asked, and where nothing is trained.
        stages: how many stages' features a head is chosen on.
    """

    name: str
    plan: str
    planned: Planned
    net: Net
    backbone: str
    folder: str
    phases: tuple[tuple[int, float], ...] = ()
    stages: int = 1

    @property
    def work(self) -> float:
        """Multiply-adds of its training per row, times two, if no epoch is saved."""
        return sum(epochs * work for epochs, work in self.phases)

    @property
    def trains(self) -> bool:
        """Whether anything is trained; otherwise a head is solved and that is all."""
        return self.planned.trains


def asked(
    plans: Sequence[str] | Mapping[str, Given],
    seeds: int,
    settings: Mapping[str, Any] | None,
    backbones: Sequence[Net] = (None,),
) -> list[Wanted]:
    """The arms in the order in which they were named, checked before anything is read.

    Raises:
        OptionError: an unknown plan or setting, fewer than two arms, or no seed.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise OptionError(f"--seeds must be 1 to {MOST_SEEDS}, got {seeds}.")
    if isinstance(plans, str):
        raise OptionError("plans must be a list of plans, not one text.")
    named: Mapping[str, Given] = plans if isinstance(plans, Mapping) else _by_name(plans)
    nets = _nets(backbones)
    if not named or len(named) * len(nets) < 2:
        raise OptionError(
            f"--plans must name two plans or more, got {', '.join(named) or 'none'}; or name "
            "several --backbones."
        )
    arms = []
    for net, called in nets.items():
        for plan, done in _planned(named, settings).items():
            name = plan if len(nets) == 1 else f"{plan}, {called[0]}"
            arms.append(Wanted(name, plan, done, called[1], net, ""))
    return _housed(arms)


def _nets(backbones: Sequence[Net]) -> dict[str, tuple[str, Net]]:
    found: dict[str, tuple[str, Net]] = {}
    for net in backbones:
        name = net.info.name if isinstance(net, Backbone) else net or "the packaged backbone"
        if name in found:
            raise OptionError(f"--backbones names '{name}' twice; name each once.")
        found[name] = (name, net)
    if not found:
        raise OptionError("--backbones must name at least one backbone, got none.")
    return found


def _planned(named: Mapping[str, Given], settings: Mapping[str, Any] | None) -> dict[str, Planned]:
    found = {name: planned(plan) for name, plan in named.items()}
    if settings:
        if not any(plan.trains for plan in found.values()):
            raise OptionError(
                f"{next(iter(settings))} has no effect: none of these plans trains anything."
            )
        found = {
            name: planned(
                named[name] if plan.trains else plan, None, settings if plan.trains else None
            )
            for name, plan in found.items()
        }
    return found


def _by_name(plans: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for plan in plans:
        name = Path(plan).stem if plan.endswith(".toml") else plan
        if name in found:
            raise OptionError(f"--plans names '{name}' twice; give each plan another name.")
        found[name] = plan
    return found


def _housed(arms: list[Wanted]) -> list[Wanted]:
    """With names of folders: what a file system takes, each once."""
    taken: set[str] = set()
    housed = []
    for arm in arms:
        plain = _ODD.sub("-", arm.name).strip(".-") or "plan"
        name, number = plain, 1
        while name in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name)
        housed.append(replace(arm, folder=name))
    return housed


def by_cost(arms: Sequence[Wanted], at: str, how: Mapping[str, Any]) -> list[Wanted]:
    """The arms, cheap ones first: solved heads, then by the work of training; see `work_of`.

    Args:
        arms: as they were asked for.
        at: the stage that the head reads, as `regraft.fit` takes it.
        how: of the other arguments of `regraft.fit`, those that name the backbone.

    Raises:
        BackboneError: a backbone cannot be had.
    """
    known: dict[str, Backbone] = {}
    named = {key: how.get(key) for key in ("size", "weights", "revision", "digest")}
    found = []
    for arm in arms:
        if arm.backbone not in known:
            known[arm.backbone] = resolve(arm.net, **named)
        found.append(_weighed(arm, known[arm.backbone], at))
    return sorted(found, key=lambda arm: (arm.trains, arm.work, arm.stages))


def _weighed(arm: Wanted, net: Backbone, at: str) -> Wanted:
    """With what it costs; nothing for a plan that does not fit the backbone: it fails at once."""
    arm, place = replace(arm, backbone=net.info.name), arm.planned.at(at)
    if not arm.trains:
        return replace(arm, stages=len(net) if place in (EARLY, "auto") else 1)
    try:
        last = net.index((stage_names(net, place) or every_stage(net))[-1])
        phases = arm.planned.resolved(net, last)
    except RegraftError:
        return arm
    costs = tuple((phase.epochs, work_of(net.info, int(phase.cut), last)) for phase in phases)
    return replace(arm, phases=costs)


def work_of(info: BackboneInfo, cut: int, at: int) -> float:
    """Multiply-adds times two that one epoch takes per row: all stages above the cut, and back.

    A head alone counts as a thousandth of the network: next to nothing, and not nothing.
    """
    above = sum(stage.flops for stage in info.stages[cut : at + 1])
    return float(PASSES * above + sum(stage.flops for stage in info.stages) / 1000)
