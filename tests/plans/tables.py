"""The tables of the how-to, made from plans and settings: `python -m tests.plans.tables`."""

from __future__ import annotations

import re
from pathlib import Path

from regraft.plans.named import BEGUN, PLANS, told
from regraft.plans.phase import Phase
from regraft.plans.recipe import Recipe
from regraft.plans.setting import Setting, settings_of


def plans_table() -> str:
    """Every named plan: what it does and the phases it consists of."""
    lines = ["| plan | what it does | phases |", "| --- | --- | --- |"]
    for name, make in PLANS.items():
        phases = " → ".join(_phase(phase) for phase in make())
        begun = ", ".join(f"`{key}={value}`" for key, value in BEGUN.get(name, {}).items())
        phases += f"; {begun}" if begun else ""
        lines.append(f"| `{name}` | {told(name)} | {phases} |")
    return "\n".join(lines)


def _phase(phase: Phase) -> str:
    if phase.solve:
        return "solve the head"
    parts = [f"cut `{phase.cut}`", f"{phase.epochs} epochs", f"lr {phase.lr:g}"]
    return ", ".join([*parts, phase.adapter] if phase.adapter else parts)


def settings_table(record: type[Phase] | type[Recipe]) -> str:
    """Every setting of a phase or a recipe: default, range, what it does, where it comes from."""
    lines = ["| setting | default | what it does | source |", "| --- | --- | --- | --- |"]
    for name, setting in settings_of(record).items():
        lines.append(f"| `{name}` | {_default(setting)} | {setting.help} | {setting.paper} |")
    return "\n".join(lines)


def _default(setting: Setting) -> str:
    if isinstance(setting.default, bool):
        return str(setting.default).lower()
    return "" if setting.default == "" else f"{setting.default}"


PAGE = Path(__file__).parents[2] / "docs" / "howto" / "train.md"
END = "\n<!-- end -->"
MARK = re.compile(r"(<!-- (\w+): .*? -->\n)(.*?)(\n?<!-- end -->)", re.DOTALL)
TABLES = {
    "plans": plans_table,
    "phase": lambda: settings_table(Phase),
    "recipe": lambda: settings_table(Recipe),
}


def filled(page: str) -> str:
    """The page with every marked table made anew."""
    return MARK.sub(lambda found: found[1] + TABLES[found[2]]() + END, page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
