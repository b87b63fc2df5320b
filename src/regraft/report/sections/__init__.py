"""The sections of a page in their order: each takes the material and gives markup, or nothing."""

from __future__ import annotations

from collections.abc import Callable

from regraft.report.markup import Html
from regraft.report.material import Material
from regraft.report.sections import evidence, looks, plan, record, result, trust

#: (key, title, what makes it); one that has nothing to show gives None and is left out.
SECTIONS: tuple[tuple[str, str, Callable[[Material], Html | None]], ...] = (
    ("plan", "What was done", plan.plan),
    ("advice", "What was advised", plan.advice),
    ("confusion", "What is taken for what", result.confusion),
    ("classes", "Class by class", result.classes),
    ("depths", "How deep to read", evidence.depths),
    ("growth", "Would more pictures help?", evidence.growth),
    ("calibration", "Is it as sure as it is right?", trust.calibration),
    ("overfitting", "Did it learn by heart?", trust.overfitting),
    ("wise", "How much of the training to keep", trust.wise),
    ("map", "The pictures as the network sees them", looks.feature_map),
    ("examples", "Pictures to look at", looks.examples),
    ("audit", "The data", record.audit),
    ("again", "How to do it again", record.again),
    ("cost", "What it cost", record.cost),
)
