"""What a person should look at: where the rows lie, and the pictures that it gets wrong."""

from __future__ import annotations

from collections.abc import Sequence

from regraft.report.charts import clouds
from regraft.report.figures import below, percent
from regraft.report.markup import Html, details, join, jpeg, paragraph, tag
from regraft.report.material import Material, Shown
from regraft.report.pictures import SCALE

#: Pictures of either kind that are shown at once; the others are folded.
FIRST = 8


def feature_map(material: Material) -> Html | None:
    """The test rows as the head sees them, in two dimensions."""
    made = clouds.feature_map(material.rows) if material.rows else None
    return below(made, paragraph(made.said)) if made else None


def examples(material: Material) -> Html | None:
    """The wrong answers that it was surest of, and those that it could hardly decide."""
    lists = [
        ("Wrong with the highest confidence", material.hard,
         "Look at these first: a wrong label, a picture of two things, or what it never learned."),
        ("Least certain", material.unsure,
         "The two most probable classes are nearly equally probable."),
    ]  # fmt: skip
    said = []
    for title, shown, what in lists:
        if shown:
            said += [tag("h3", title), paragraph(what), _gallery(shown[:FIRST])]
            if rest := shown[FIRST:]:
                said.append(details(f"{len(rest)} more", _gallery(rest)))
    if not said:
        lines = [paragraph(line, kind="note") for line in material.missing]
        return join(lines) if lines else None
    every = (*material.hard, *material.unsure)
    if any(one.overlay for one in every):
        said.insert(0, _legend())
    said += [paragraph(line, kind="note") for line in material.missing]
    return join(said)


def _gallery(shown: Sequence[Shown]) -> Html:
    return tag("ul", *(tag("li", *_card(one)) for one in shown), class_="gallery")


def _legend() -> Html:
    bar = tag("span", class_="scale", style=f"background:linear-gradient(90deg,{','.join(SCALE)})")
    return paragraph(
        "Click a picture to enlarge it. Beside each: which places spoke for the answer that was "
        "given (Grad-CAM), from little", bar, "to much. It shows where the network looked, not "
        "that it was right to.",
        kind="note",
    )  # fmt: skip


def _card(one: Shown) -> Sequence[Html]:
    right = one.label == one.answer
    said = f"true class {one.label}, predicted {one.answer}"
    pictures = [_zoom(one.picture, f"A picture, {said}")]
    if one.overlay:
        pictures.append(_zoom(one.overlay, f"The same picture: what spoke for {one.answer}"))
    name, share = one.next
    truth = f", then {name} {percent(share)}"
    if one.truth is not None and one.label not in (one.answer, name):
        truth += f"; {one.label} {percent(one.truth)}"
    mark = tag("span", "right" if right else "wrong", class_="right" if right else "wrong")
    return [
        tag("div", *pictures, class_="two" if one.overlay else "one"),
        paragraph(mark, f": {one.answer} {percent(one.sure)}{truth}"),
        paragraph(f"true class {one.label}, {one.name}", kind="small"),
    ]


def _zoom(picture: bytes, said: str) -> Html:
    """A picture that grows while it has the focus: that is where one clicks or tabs to."""
    seen = tag("img", src=jpeg(picture), alt=said, loading="lazy")
    return tag("span", seen, class_="zoom", tabindex="0")
