"""The curve of WiSE-FT as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regraft.errors import need_extra
from regraft.files import write_whole
from regraft.train.wise import Point

LINE, CHOSEN, FAINT = "#1f5fa8", "#c2410c", "#8a8a8a"
STYLE = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud and searched
    "svg.hashsalt": "regraft",  # names inside are the same for the same curve
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
}


def alternative(points: Sequence[Point], picked: Point) -> str:
    """The picture in words, for those who do not see it."""
    first, last = points[0], points[-1]
    return (
        f"WiSE-FT: validation between the weights before training (alpha {first.alpha:g}: accuracy "
        f"{first.accuracy:.3f}, log-loss {first.log_loss:.3f}) and after (alpha {last.alpha:g}: "
        f"accuracy {last.accuracy:.3f}, log-loss {last.log_loss:.3f}). Chosen is alpha "
        f"{picked.alpha:g}: accuracy {picked.accuracy:.3f}, log-loss {picked.log_loss:.3f}."
    )


def draw(points: Sequence[Point], picked: Point, path: Path) -> None:
    """Write what `drawn` gives to a file, whole or not at all. Raises as `drawn` does."""
    write_whole(path, drawn(points, picked))


def drawn(points: Sequence[Point], picked: Point) -> bytes:
    """The curve as SVG: log-loss and accuracy over alpha, with the point that was picked.

    The same curve gives the same bytes with one version of matplotlib. The picture's title is
    `alternative`.

    Args:
        points: in order of alpha, at least one.
        picked: one of them.

    Raises:
        MissingExtra: without the package matplotlib.
    """
    matplotlib: Any = need_extra("matplotlib", "plots", "the picture of WiSE-FT's curve")
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.0, 4.8))
        panels = figure.subplots(2, 1, sharex=True)
        for panel, field, label in zip(
            panels, ("log_loss", "accuracy"), ("log-loss", "accuracy"), strict=True
        ):
            _panel(panel, points, picked, field, label)
        panels[0].set_title("WiSE-FT: between before and after", loc="left", fontsize=10)
        panels[1].set_xlabel("alpha (0: before training, 1: after)")
        panels[1].set_xticks([point.alpha for point in points])
        figure.tight_layout()
        said = {"Title": alternative(points, picked), "Date": None}
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata=said)
    return out.getvalue()


def _panel(panel: Any, points: Sequence[Point], picked: Point, field: str, label: str) -> None:
    values = [getattr(point, field) for point in points]
    panel.plot([point.alpha for point in points], values, color=LINE, marker="o", markersize=4)
    value = getattr(picked, field)
    panel.axvline(picked.alpha, color=CHOSEN, linewidth=1.0, linestyle="--")
    panel.plot([picked.alpha], [value], color=CHOSEN, marker="o", markersize=8, linestyle="none")
    told = f"chosen: alpha {picked.alpha:g}, {label} {value:.3f}"
    panel.set_title(told, loc="right", color=CHOSEN, fontsize=9)
    panel.set_ylabel(f"validation {label}")
    panel.margins(y=0.15)
