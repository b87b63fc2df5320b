"""What was asked for, from all the ways to ask for it: name, file, phases, single settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.errors import OptionError
from regraft.plans.layers import layers_of
from regraft.plans.named import ABOVE, AUTO, BEGUN, PLANS, Plan, named, parameters
from regraft.plans.phase import Phase
from regraft.plans.recipe import Recipe
from regraft.plans.resolve import check, check_recipe, resolve
from regraft.plans.setting import settings_of, unknown
from regraft.plans.text import read_plan

if TYPE_CHECKING:
    from regraft.backbones import Backbone

OWN = "own"  # what a plan of one's own phases is called
EARLY = "early"
ONE = "phase."  # begins the name of a setting of one phase: 'phase.2.lr'


@dataclass(frozen=True)
class Planned:
    """A plan with its recipe, before it is known for which backbone.

    Attributes:
        name: of the plan, of its file, or 'own'.
        phases: as they were written.
        recipe: what holds for all of them.
    """

    name: str
    phases: Plan
    recipe: Recipe

    @property
    def trains(self) -> bool:
        """Whether anything is trained; otherwise the head is solved and that is all."""
        return any(not phase.solve for phase in self.phases)

    def at(self, at: str) -> str:
        """The stage that the head reads, from what was asked for."""
        return EARLY if self.name == EARLY and at == "end" else at

    def resolved(self, backbone: Backbone, at: int) -> Plan:
        """The phases with numbers as cuts.

        Raises:
            CutError, OptionError: see `regraft.plans.resolve`.
        """
        return resolve(self.phases, backbone.info, at, lambda: layers_of(backbone))


def planned(
    plan: str | Sequence[Phase] | Planned,
    recipe: Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Planned:
    """A plan from all that was said of it.

    Args:
        plan: a name, the path of a plan file ('my.toml'), phases, or a `Planned`.
        recipe: what holds for all phases; None for what the plan brings, else the defaults.
        settings: single settings that win: fields of the recipe, of phases ('lr' for all to which
            it applies, 'phase.2.lr' for one), or a plan's own parameters. Texts are read as the
            command line's.

    Raises:
        OptionError: names what cannot be had.
    """
    rest = dict(settings or {})
    if isinstance(plan, Planned):
        begun = plan
    elif not isinstance(plan, str):
        begun = Planned(OWN, tuple(plan), Recipe())
    elif plan.endswith(".toml"):
        begun = Planned(Path(plan).stem, *read_plan(Path(plan)))
    else:
        own = parameters(plan) if plan in PLANS else {}
        begun = Planned(plan, named(plan, _own(own, rest)), Recipe(**BEGUN.get(plan, {})))
    check(begun.phases)
    done = changed(replace(begun, recipe=recipe or begun.recipe), rest)
    check(done.phases)
    check_recipe(done.recipe)
    return done


def check_auto(
    plan: object, recipe: Recipe | None, settings: Mapping[str, Any] | None, budget: object
) -> None:
    """Refuse settings of a plan that is still to be advised, and a budget for one that is not.

    Raises:
        OptionError: there are some.
    """
    if plan != AUTO and budget is not None:
        raise OptionError("--budget is for --plan auto, where the advice keeps to it.")
    if plan == AUTO and (settings or recipe is not None):
        name = next(iter(settings)) if settings else "recipe"
        raise OptionError(
            f"{name} is a setting of a plan that trains: name one, e.g. --plan lpft; with --plan "
            "auto the advice decides."
        )


def changed(plan: Planned, settings: Mapping[str, Any]) -> Planned:
    """The plan with single settings changed.

    Raises:
        OptionError: an unknown name, or a value that it cannot have.
    """
    phases, recipe = list(plan.phases), plan.recipe
    of_phase, of_recipe = settings_of(Phase), settings_of(Recipe)
    for name, value in settings.items():
        if name in of_recipe:
            read = _read(of_recipe[name], value, "")
            recipe = replace(recipe, **{name: read})
        elif name.startswith(ONE):
            number, key = _one(name, len(phases))
            where = f"phase {number}: "
            if key not in of_phase:
                raise unknown(key, of_phase, where)
            read = _read(of_phase[key], value, where)
            phases[number - 1] = replace(phases[number - 1], **{key: read})
        elif name in of_phase:
            phases = _everywhere(phases, name, _read(of_phase[name], value, ""))
        else:
            raise unknown(name, {**of_recipe, **of_phase}, "")
    return replace(plan, phases=tuple(phases), recipe=recipe)


def _read(setting: Any, value: Any, where: str) -> Any:
    if isinstance(value, str):
        value = setting.read(value, where)
    setting.check(value, where)
    return float(value) if setting.types == (float,) else value


def _everywhere(phases: list[Phase], name: str, value: Any) -> list[Phase]:
    """The phases with a setting changed where it applies."""
    if name == "solve":
        raise OptionError("solve must name its phase: phase.1.solve=true.")
    trained = [i for i, phase in enumerate(phases) if not phase.solve]
    if name in ABOVE:
        trained = [i for i in trained if phases[i].cut != "end"] or trained[-1:]
    if not trained:
        raise OptionError(
            f"{name} has no effect: this plan solves its head and trains nothing; choose another "
            "--plan, e.g. lpft."
        )
    if name == "cut" and len(trained) > 1:
        spelled = ", ".join(f"phase.{i + 1}.cut" for i in trained)
        raise OptionError(f"cut must name its phase, since this plan has several: {spelled}.")
    done = list(phases)
    last = phases[trained[-1]].lr
    for i in trained:
        here = value * phases[i].lr / last if name == "lr" and last and i != trained[-1] else value
        done[i] = replace(phases[i], **{name: here})
    return done


def _one(name: str, count: int) -> tuple[int, str]:
    number, _, key = name.removeprefix(ONE).partition(".")
    if not number.isdecimal() or not key:
        raise OptionError(f"'{name:.60}' must be spelled like phase.2.lr.")
    if not 1 <= int(number) <= count:
        raise OptionError(
            f"there is no phase {number}: this plan has {count}, so phase.1 to phase.{count}."
        )
    return int(number), key


def _own(known: Mapping[str, Any], settings: dict[str, Any]) -> dict[str, int]:
    """Takes a plan's own parameters, all whole numbers, out of the settings."""
    taken = {}
    for name in [name for name in settings if name in known]:
        text = str(settings.pop(name))
        if not text.isdecimal() or int(text) < 1:
            raise OptionError(f"{name} must be a whole number, 1 or more, got '{text:.60}'.")
        taken[name] = int(text)
    return taken
