"""The sections of a page in their order: each takes the material and gives markup, or nothing."""

from __future__ import annotations

from collections.abc import Callable

from regraft.report.markup import Html
from regraft.report.material import Material
from regraft.report.sections import evidence, looks, plan, record, result, trust

#: (key, title, what makes it); one that has nothing to show gives None and is left out.
SECTIONS: tuple[tuple[str, str, Callable[[Material], Html | None]], ...] = (
    ("plan", "What was done", plan.plan),
    ("advice", "Advice", plan.advice),
    ("confusion", "Confusion matrix", result.confusion),
    ("classes", "Per-class scores", result.classes),
    ("depths", "Accuracy by stage", evidence.depths),
    ("growth", "Learning curve", evidence.growth),
    ("calibration", "Calibration", trust.calibration),
    ("overfitting", "Overfitting", trust.overfitting),
    ("wise", "Weight averaging (WiSE-FT)", trust.wise),
    ("map", "Embedding map (PCA)", looks.feature_map),
    ("examples", "Top losses", looks.examples),
    ("audit", "Data audit", record.audit),
    ("again", "Reproduce this run", record.again),
    ("cost", "Time and memory", record.cost),
)
