"""How results show themselves: a few lines in a terminal, a small card in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from regraft.files import visible

SIDE = 96  # pixels of a thumbnail
MOST_BARS = 5


def percent(value: float | None) -> str:
    """0.9477 as 94.8 %."""
    return "–" if value is None else f"{100 * value:.1f} %"


def ranked(probabilities: Mapping[str, float]) -> str:
    """The most probable classes on a line."""
    some = list(probabilities.items())[:3]
    return ", ".join(f"{visible(label)} {percent(share)}" for label, share in some)


def card(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """HTML: a title and lines of a name and a text."""
    lines = "".join(
        f"<tr><td style='text-align:left'>{escape(name)}</td>"
        f"<td style='text-align:left'>{escape(said)}</td></tr>"
        for name, said in rows
    )
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


def thumbnail(path: Path) -> str:
    """HTML: a small picture, '' where it cannot be read (any more) or never was a file."""
    import base64
    import io

    from regraft.errors import RegraftError

    try:
        from PIL import Image

        from regraft.data.decode_image import decode
        from regraft.inputs import ImageSpec

        spec = ImageSpec((SIDE, SIDE), crop=1.0, geometry="pad")
        out = io.BytesIO()
        Image.fromarray(decode(path.read_bytes(), spec)[0]).save(out, "JPEG", quality=80)
    except (OSError, ValueError, RegraftError):
        return ""
    data = base64.b64encode(out.getvalue()).decode()
    return f"<img alt='' width={SIDE} height={SIDE} src='data:image/jpeg;base64,{data}'>"


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
    place = f"{folder}, with report.html" if folder else "not saved: run.save(folder)"
    return [*rows, ("folder", place)]


def text(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """The same as lines of text."""
    return "\n".join([title, *(f"  {name:<11} {said}" for name, said in rows)])
