"""One look: colours that can be read on light and dark, SVG that a page can hold."""

from __future__ import annotations

import re

import pytest

from regraft.report.style import ACCENT, BAD, DARK, LIGHT, drawing, inline, svg


def light(colour: str) -> float:
    """The relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_points_stand_out_from_the_page(palette: dict[str, str]) -> None:
    for name in ("ink", "soft", "accent", "bad", "good"):
        assert contrast(palette[name], palette["paper"]) >= 4.5, name
    for name in palette:
        if name.startswith("series"):
            assert contrast(palette[name], palette["paper"]) >= 2.8, name
    assert contrast(palette["soft"], palette["wash"]) >= 4.5


def test_both_palettes_name_the_same_and_no_colour_twice() -> None:
    assert list(LIGHT) == list(DARK)
    assert len({*LIGHT.values()}) == len(LIGHT)


def drawn(label: str = "here") -> bytes:
    with drawing(1.0) as figure:
        panel = figure.subplots()
        panel.plot([0, 1], [0, 1], "o", color=ACCENT, clip_on=True)
        panel.fill([0, 1, 1], [0, 0, 1], color=BAD, alpha=0.5)
        panel.set_xlabel(label)
        return svg(figure, "A line <from> 0 & to 1")


def test_the_same_picture_has_the_same_bytes_and_its_title() -> None:
    assert drawn() == drawn()
    assert b"<dc:date>" not in drawn()
    assert b"A line &lt;from&gt; 0 &amp; to 1" in drawn()


def test_colours_become_variables_with_the_colour_itself_to_fall_back_on() -> None:
    text = inline(drawn(), "one")
    assert f"var(--accent,{ACCENT})" in text
    assert f"var(--bad,{BAD})" in text
    assert not re.search(rf"(?<!,){ACCENT}", text)


def test_names_inside_are_this_pictures_own() -> None:
    text = inline(drawn(), "one")
    named = set(re.findall(r'id="([^"]+)"', text))
    assert named
    assert all(name.startswith("one-") for name in named)
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    assert used
    assert {a or b for a, b in used} <= named


def test_it_brings_no_address_no_style_sheet_and_no_font() -> None:
    text = inline(drawn(), "one")
    for part in ("http", "<style", "<metadata", "font-family", "DejaVu", "<!--", "<?xml"):
        assert part not in text


@pytest.mark.parametrize("label", ["$x_1$ & <b>", "日本語", "a--b"])
def test_any_label_stays_text(label: str) -> None:
    text = inline(drawn(label), "one")
    shown = label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert shown in text
