"""The sections of a page in their order: each takes the material and gives markup, or nothing."""

from __future__ import annotations

from collections.abc import Callable

from regraft.report.markup import Html
from regraft.report.material import Material
from regraft.report.sections import result

#: (key, title, what makes it); one that has nothing to show gives None and is left out.
SECTIONS: tuple[tuple[str, str, Callable[[Material], Html | None]], ...] = (
    ("confusion", "What is taken for what", result.confusion),
    ("classes", "Class by class", result.classes),
)
