"""docs/speed.svg from the tables that bench/speed.py prints: seconds of a whole fit, as bars.

python bench/speed.py … | tee results.md; python bench/picture.py results.md docs/speed.svg
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

NAMES = {
    "plain": "eager timm + scikit-learn",
    "channels-last": "the same, channels-last",
    "tutorial": "the tutorials' frozen loop",
    "cold": "regraft, first run ever",
    "compiled": "regraft, new photos",
    "warm": "regraft, photos seen before",
}
OURS = ("cold", "compiled", "warm")
LEFT, WIDTH, ROW, TOP = 200, 420, 22, 54


def read(path: Path) -> dict[str, dict[str, float]]:
    """For each data set the process seconds of each contestant."""
    found: dict[str, dict[str, float]] = {}
    for line in path.read_text().splitlines():
        if line.startswith("### "):
            name = line[4:].split()[0]
            found[name] = {}
        elif match := re.match(r"\| ([a-z-]+) \| ([\d.]+) \|", line):
            found[name][match[1]] = float(match[2])
    return found


def panel(name: str, seconds: dict[str, float], top: int) -> list[str]:
    """One data set as a title and a bar per contestant, longest first."""
    most = max(seconds.values())
    lines = [f'<text x="16" y="{top + 14}" class="title">{name}</text>']
    for place, (who, value) in enumerate(sorted(seconds.items(), key=lambda item: -item[1])):
        y = top + 26 + place * ROW
        kind = "ours" if who in OURS else "theirs"
        width = max(2.0, WIDTH * value / most)
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 13}" class="name">{NAMES[who]}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{ROW - 6}" class="{kind}"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{y + 13}" class="value">{value:.1f} s</text>',
        ]
    return lines


STYLE = (
    "<style>text{font:13px sans-serif;fill:#57606a}.name{text-anchor:end}"
    ".title,.head{font-weight:bold}.ours{fill:#1a7f64}.theirs{fill:#9aa4ae}"
    "@media(prefers-color-scheme:dark){text{fill:#b6bec7}.theirs{fill:#6e7781}"
    ".ours{fill:#3fb68b}}</style>"
)
TITLE = "Seconds of a whole fit: regraft against the usual recipes"


def draw(tables: dict[str, dict[str, float]]) -> str:
    """The whole picture; readable on light and on dark pages."""
    body, top = [], TOP
    for name, seconds in tables.items():
        body += panel(name, seconds, top)
        top += 40 + ROW * len(seconds)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {top}" width="720" '
        f'role="img" aria-label="{TITLE}">'
    )
    title = f'<text x="16" y="28" class="head">{TITLE}</text>'
    return "\n".join([head, STYLE, title, *body, "</svg>"]) + "\n"


def main() -> None:
    source, target = map(Path, sys.argv[1:3])
    target.write_text(draw(read(source)))


if __name__ == "__main__":
    main()
