"""HTML from plain values: whatever is not markup already is escaped where it meets markup."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from regraft.files import visible

_SHARE = re.compile(r"(\d) %")
VOID = frozenset({"img", "meta", "br"})


class Html(str):
    """Markup. Any other text is text."""

    __slots__ = ()


def text(value: Any) -> Html:
    """A value as text of a page, on one line; markup as it is."""
    if isinstance(value, Html):
        return value
    return Html(_SHARE.sub(r"\1&nbsp;%", escape(visible(str(value)))))


def lines(value: str) -> Html:
    """Text of several lines, for a <pre>."""
    return Html("\n".join(text(line) for line in value.split("\n")))


def join(parts: Iterable[Any]) -> Html:
    """One after the other; None is nothing."""
    return Html("".join(text(part) for part in parts if part is not None))


def tag(kind: str, /, *inside: Any, **attributes: Any) -> Html:
    """<kind …>inside</kind>; `class_` is class, `aria_label` is aria-label, None is left out."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{kind}{told}>" + ("" if kind in VOID else f"{join(inside)}</{kind}>"))


def paragraph(*inside: Any, kind: str | None = None) -> Html:
    """A paragraph of class `kind`."""
    return tag("p", *inside, class_=kind)


def bullets(items: Iterable[Any]) -> Html:
    """A list."""
    return tag("ul", *(tag("li", item) for item in items))


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], caption: str = "") -> Html:
    """A table whose first column names the rows; it scrolls by itself where it is too wide."""
    body = (
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:]))
        for row in rows
    )
    made = tag(
        "table",
        tag("caption", caption) if caption else None,
        tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))),
        tag("tbody", *body),
    )
    return tag("div", made, class_="wide", tabindex="0", role="group", aria_label=caption or None)


def details(summary: str, *inside: Any, shown: bool = False) -> Html:
    """What is folded away without a script, or unfolded at first."""
    return tag("details", tag("summary", summary), *inside, open="" if shown else None)


def jpeg(data: bytes) -> str:
    """The address of a picture that lies in the page itself."""
    return "data:image/jpeg;base64," + b64encode(data).decode()
