"""One look for every picture: key colours that a page replaces, and SVG whose text stays text.

A picture is drawn in the colours of `LIGHT`. `inline` turns each into `var(--name,#colour)`, so a
page's style sheet decides, for a dark screen too; as a file of its own it is right on white.
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours by name, on white and on a dark page. `series-N` are for classes: told apart by people
#: with any kind of colour vision (after Okabe & Ito 2008), and each has a marker of its own.
LIGHT = {
    "paper": "#ffffff",
    "ink": "#1c2129",
    "soft": "#555e6b",
    "line": "#d5dae1",
    "wash": "#f3f5f8",
    "accent": "#1f5fa8",
    "bad": "#b8400e",
    "good": "#1d7348",
    "series-0": "#0066aa",
    "series-1": "#d95f02",
    "series-2": "#008866",
    "series-3": "#b8527f",
    "series-4": "#7a6a00",
    "series-5": "#3aa0dd",
    "series-6": "#6a51a3",
    "series-7": "#8c3b2a",
}
DARK = {
    "paper": "#14181d",
    "ink": "#e7ebf0",
    "soft": "#a3adba",
    "line": "#363e49",
    "wash": "#1e242c",
    "accent": "#7cb4f2",
    "bad": "#ff9a66",
    "good": "#6fd3a0",
    "series-0": "#5aa9e6",
    "series-1": "#ff9540",
    "series-2": "#3fc9a2",
    "series-3": "#eb8fb8",
    "series-4": "#d6c445",
    "series-5": "#9ad8ff",
    "series-6": "#b7a2ee",
    "series-7": "#dd8877",
}
PAPER, INK, SOFT, LINE = (LIGHT[name] for name in ("paper", "ink", "soft", "line"))
ACCENT, BAD, GOOD = (LIGHT[name] for name in ("accent", "bad", "good"))
SERIES = tuple(colour for name, colour in LIGHT.items() if name.startswith("series-"))
MARKERS = "os^Dv<>p"
#: Inches of a picture: 360 points, the width of a phone's screen, so that there nothing shrinks.
WIDTH = 5.0

RC: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and translated
    "svg.hashsalt": "regraft",  # the same picture has the same bytes
    "font.family": "sans-serif",
    "font.size": 11.0,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called a$b$
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "lines.linewidth": 1.8,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}


@contextmanager
def drawing(height: float, width: float = WIDTH) -> Iterator[Figure]:
    """A figure in regraft's style, `width` x `height` inches; finish it with `svg` in the block."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its own fonts and folders
    if "matplotlib" not in sys.modules:
        # No window is ever opened, and a backend that is not installed ends the import.
        os.environ.pop("MPLBACKEND", None)
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # the user's own style may ask for LaTeX or fonts that are not here
        matplotlib.rcParams.update(RC)
        # A class may be written in letters that the font for measuring lacks; the browser has them.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure, said: str) -> bytes:
    """The figure as an SVG file whose title is `said`: the same bytes for the same picture."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Title": said, "Date": None, "Creator": None})
    return out.getvalue()


_COLOURS = re.compile("|".join(LIGHT.values()))
_NAMES = {colour: name for name, colour in LIGHT.items()}
_HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


def _font(found: re.Match[str]) -> str:
    return f"font-size: {found[2]}" + ("; font-weight: bold" if found[1] else "")


def inline(data: bytes, key: str) -> str:
    """The drawing of an SVG file for the inside of a page: an <svg> without title, no links.

    Args:
        data: as `svg` made it.
        key: a name that no other picture of the page has; the names inside begin with it.
    """
    text = _HEAD.sub("", data.decode(), count=1)
    text = re.sub(r"<title>.*?</title>|<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.S)  # would hold for the whole page
    size = _SIZE.search(text)
    assert size is not None
    opening = f'<svg viewBox="0 0 {size[1]} {size[2]}" aria-hidden="true" focusable="false">'
    text = opening + text[text.index(">") + 1 :]
    text = text.replace('xlink:href="#', f'href="#{key}-').replace("url(#", f"url(#{key}-")
    text = re.sub(r'\bid="', f'id="{key}-', text)
    text = re.sub(r"font-family: [^;\"]*; ?", "", text)  # that of the page, as wide or less
    text = re.sub(r"font: ((?:bold )?)([\d.]+px) [^;\"]*", _font, text)
    text = re.sub(r"(\.\d\d)\d+", r"\1", text)
    text = re.sub(r">\s+<", "><", text)
    return _COLOURS.sub(lambda found: f"var(--{_NAMES[found[0]]},{found[0]})", text).strip()
