"""A picture of numbers: the drawing, what it says in words, and the numbers themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from regraft.report.markup import Html, details, paragraph, table, tag
from regraft.report.style import inline


@dataclass(frozen=True)
class Chart:
    """A drawn picture.

    Attributes:
        key: its name, of letters; no other on a page has it.
        title: what it shows.
        said: the picture in words, for those who do not see it.
        drawn: the SVG file.
        head, rows: its numbers as a table.
        note: what helps to read it, below it.
        kind: 'narrow', or 'broad' for one that gains from room.
        numbers: what the table is called.
    """

    key: str
    title: str
    said: str
    drawn: bytes
    head: Sequence[Any]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    kind: str = "narrow"
    numbers: str = "The numbers"

    def html(self, *, unfolded: bool = False) -> Html:
        """The figure for a page, its numbers folded or beside it."""
        numbers = details(self.numbers, table(self.head, self.rows, self.title), shown=unfolded)
        return tag(
            "figure",
            tag("figcaption", self.title),
            tag(
                "div", Html(inline(self.drawn, self.key)),
                role="img", aria_label=self.said, class_="drawn",
            ),
            paragraph(self.note, kind="note") if self.note else None,
            numbers,
            class_=self.kind,
            id=f"figure-{self.key}",
        )  # fmt: skip


def below(chart: Chart | None, *words: Any) -> Html | None:
    """Words, and below them a picture with its numbers beside it; None without a picture."""
    if chart is None:
        return None
    return tag("div", *words, chart.html(unfolded=True), class_="shown")


def beside(chart: Chart | None, *words: Any) -> Html | None:
    """A picture with what is to be said of it on its left where there is room; None without one."""
    if chart is None:
        return None
    return tag("div", tag("div", *words), chart.html(), class_="pair")


def percent(value: float | None) -> str:
    """0.8467 as 84.7 %; '–' for nothing."""
    return "–" if value is None else f"{100 * value:.1f} %"


def between(interval: Sequence[float] | None) -> str:
    """An interval of shares in words."""
    return "–" if not interval else f"{percent(interval[0])} to {percent(interval[1])}"


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many digits after the point."""
    return "–" if value is None else f"{value:.{digits}f}"


def short(name: str, most: int = 18) -> str:
    """A name that fits beside a picture, without its middle; the tables have it whole."""
    from regraft.files import visible

    shown = visible(name)
    if len(shown) <= most:
        return shown
    end = (most - 1) // 2
    return f"{shown[: most - 1 - end]}…{shown[-end:]}"


def distinct(names: Sequence[str], most: int = 18) -> list[str]:
    """Names that fit beside a picture and, where they can, differ: what all share is left out."""
    made = [short(name, most) for name in names]
    if len(set(made)) == len(set(names)):
        return made
    start = _shared(names)
    end = _shared([name[start:][::-1] for name in names])
    middle = [name[start : len(name) - end] for name in names]
    return [short(f"{'…' * (start > 0)}{one}{'…' * (end > 0)}", most) for one in middle]


def _shared(names: Sequence[str]) -> int:
    """How many letters all names begin with."""
    first, last = min(names), max(names)
    pairs = zip(first, last, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(first), len(last)))


def count(n: int, one: str, many: str = "") -> str:
    """1 picture, 2 pictures."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
