"""A page: one file that needs nothing else, with a style sheet and without a script."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from regraft import __version__
from regraft.report.markup import Html, join, tag
from regraft.report.material import Material
from regraft.report.sections import SECTIONS, result
from regraft.report.style import DARK, LIGHT

#: Nothing may be loaded from anywhere and nothing run: what a label says stays a text.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        data: the file.
        told: what is in it, as plain data: sections, pictures, explained, missing.
    """

    data: bytes
    told: dict[str, Any]


def of_run(material: Material) -> Page:
    """The page of a run: the same bytes for the same material."""
    made = [(key, title, make(material)) for key, title, make in SECTIONS]
    there = [(key, title, body) for key, title, body in made if body is not None]
    name = str(material.report.get("run") or "a run")
    shown = {one.name: one for one in (*material.hard, *material.unsure)}
    told = {
        "sections": ["accuracy", *(key for key, _, _ in there)],
        "pictures": len(shown),
        "explained": sum(one.overlay is not None for one in shown.values()),
        "missing": list(material.missing),
    }
    date = str(material.report.get("date") or "")
    return Page(page(f"regraft report: {name}", result.headline(material), there, date), told)


def page(title: str, top: Html, sections: Iterable[tuple[str, str, Html]], date: str = "") -> bytes:
    """A whole page.

    Args:
        title: of the window, and the small line above everything.
        top: what comes first.
        sections: (key, title, body) of each.
        date: when it was made, '' where nobody knows.
    """
    there = list(sections)
    links = (tag("li", tag("a", title, href=f"#{key}")) for key, title, _ in there)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", sheet()),
    )
    body = tag(
        "body",
        tag(
            "header",
            tag("h1", title),
            _day(date),
            top,
            tag("nav", tag("ul", *links), aria_label="Sections"),
        ),
        tag("main", *(tag("section", tag("h2", name), b, id=key) for key, name, b in there)),
        tag("footer", f"Made by regraft {__version__}. This file needs no network."),
    )
    return join([Html("<!doctype html>\n"), tag("html", head, body, lang="en")]).encode()


def _day(date: str) -> Html | None:
    """'2026-11-27T19:54:49+00:00' as a line of the header."""
    if not date:
        return None
    told = date[:16].replace("T", " ") + (" UTC" if date.endswith("+00:00") else "")
    return tag("p", tag("time", told, datetime=date), class_="small")


def sheet() -> Html:
    """The style sheet: the colours for a light and a dark screen, white for paper, the rules."""
    rules = files("regraft.report").joinpath("page.css").read_text(encoding="utf-8")
    return Html(
        f":root{{color-scheme:light dark;{_colours(LIGHT)}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{_colours(DARK)}}}}}\n{rules}"
    )


def _colours(palette: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in palette.items())
