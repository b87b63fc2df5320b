"""How results show themselves: a few lines in a terminal, a small card in a notebook."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from regraft.files import visible

MOST_BARS = 5
MOST_PAIRS = 3
PAGE = "report.html"


def percent(value: float | None) -> str:
    """0.9477 as 94.8 %."""
    return "–" if value is None else f"{100 * value:.1f} %"


def ranked(probabilities: Mapping[str, float]) -> str:
    """The most probable classes on a line."""
    some = list(probabilities.items())[:3]
    return ", ".join(f"{visible(label)} {percent(share)}" for label, share in some)


def card(title: str, rows: Iterable[tuple[str, str]], more: str = "") -> str:
    """HTML: a title and lines of a name and a text; `more` is HTML and comes last."""
    lines = "".join(
        f"<tr><td style='text-align:left'>{escape(name)}</td>"
        f"<td style='text-align:left'>{escape(said)}</td></tr>"
        for name, said in rows
    )
    return f"<div><strong>{escape(title)}</strong><table>{lines}</table>{more}</div>"


def table(title: str, rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """HTML: a title and a table, its first row the heads; the columns in `right` are numbers."""

    def row(cells: Sequence[str], tag: str) -> str:
        aligned = ("right" if place in right else "left" for place in range(len(cells)))
        pairs = zip(cells, aligned, strict=True)
        filled = (f"<{tag} style='text-align:{at}'>{escape(cell)}</{tag}>" for cell, at in pairs)
        return f"<tr>{''.join(filled)}</tr>"

    lines = row(rows[0], "th") + "".join(row(cells, "td") for cells in rows[1:])
    return f"<div><strong>{escape(title)}</strong><table>{lines}</table></div>"


def bars(probabilities: Mapping[str, float]) -> str:
    """HTML: a bar for each of the most probable classes."""
    out = []
    for label, share in list(probabilities.items())[:MOST_BARS]:
        out.append(
            f"<tr><td style='text-align:left'>{escape(visible(label))}</td>"
            f"<td><div style='width:{120 * share:.0f}px;height:10px;background:#2a78b8'></div></td>"
            f"<td>{percent(share)}</td></tr>"
        )
    return f"<table>{''.join(out)}</table>"


def run_rows(report: Mapping[str, Any], folder: Path | None) -> list[tuple[str, str]]:
    """A run in a few lines: name and text of each."""
    test = report.get("test") or {}
    low, high = test.get("accuracy_ci95") or (None, None)
    score = "none: no image was left to score on"
    if test:
        score = (
            f"accuracy {percent(test.get('accuracy'))} of {test.get('n')} images, 95 % interval "
            f"{percent(low)} to {percent(high)}"
        )
    classes = [visible(str(name)) for name in report.get("classes", ())]
    some = ", ".join(classes[:6]) + (", …" if len(classes) > 6 else "")
    rows = [
        ("backbone", f"{visible(str(report.get('backbone')))}, read at {report.get('at')}"),
        ("head", str(report.get("head"))),
        ("classes", f"{len(classes)}: {some}"),
        ("trained on", f"{(report.get('train') or {}).get('n')} images"),
        ("test", score),
    ]
    if mixed := confused(test, report.get("classes", ())):
        rows.append(("confused", mixed))
    place = f"{folder}, with report.html" if folder else "not saved: run.save(folder)"
    return [*rows, ("folder", place)]


def confused(test: Mapping[str, Any], classes: Sequence[str]) -> str:
    """The pairs of classes that were mixed up most often, '' without any."""
    matrix = test.get("confusion") or ()
    pairs = [
        (count, row, place)
        for row, counts in enumerate(matrix)
        for place, count in enumerate(counts)
        if count and row != place
    ]
    pairs.sort(key=lambda pair: (-pair[0], *pair[1:]))
    told = [
        f"{visible(classes[row])} as {visible(classes[place])} {count} of {sum(matrix[row])}"
        for count, row, place in pairs[:MOST_PAIRS]
    ]
    return "; ".join(told) + ("; …" if len(pairs) > MOST_PAIRS else "")


def page_link(folder: Path | None) -> str:
    """HTML: a link to a run's page, '' where there is none."""
    if folder is None or not (folder / PAGE).is_file():
        return ""
    return f"<a href='{quote((folder / PAGE).as_posix())}' target='_blank'>{PAGE}</a>"


def text(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """The same as lines of text."""
    return "\n".join([title, *(f"  {name:<11} {said}" for name, said in rows)])
