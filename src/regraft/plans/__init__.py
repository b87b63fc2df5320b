"""Plans: what to train, phase by phase, as plain data.

name, my.toml or phases ─► planned (+ single settings) ─► resolved against a backbone ─► train
"""

from regraft.plans.named import (
    AUTO,
    PLANS,
    bitfit,
    early,
    finetune,
    full,
    gradual,
    lora,
    lpft,
    norm,
    probe,
    scratch,
)
from regraft.plans.phase import Phase
from regraft.plans.planned import Planned, check_auto, planned
from regraft.plans.recipe import Recipe
from regraft.plans.resolve import resolve

__all__ = ["AUTO", "PLANS", "Phase", "Planned", "Recipe", "check_auto", "planned", "resolve"]
__all__ += ["bitfit", "early", "finetune", "full", "gradual", "lora", "lpft", "norm"]
__all__ += ["probe", "scratch"]
