"""Plans: what to train, phase by phase, as plain data.

    name or plan.toml ─► (Phase, …) + Recipe ─► regraft.train
"""

from regraft.plans.phase import Phase
from regraft.plans.recipe import Recipe

__all__ = ["Phase", "Recipe"]
