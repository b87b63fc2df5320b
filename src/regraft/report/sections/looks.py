"""What a person should look at: where the rows lie, and the pictures that it gets wrong."""

from __future__ import annotations

from collections.abc import Sequence

from regraft.report.charts import clouds
from regraft.report.figures import beside, percent
from regraft.report.markup import Html, join, jpeg, paragraph, tag
from regraft.report.material import Material, Shown
from regraft.report.pictures import SCALE


def feature_map(material: Material) -> Html | None:
    """The test rows as the head sees them, in two dimensions."""
    made = clouds.feature_map(material.rows) if material.rows else None
    return beside(made, paragraph(made.said)) if made else None


def examples(material: Material) -> Html | None:
    """The wrong answers that it was surest of, and those that it could hardly decide."""
    lists = [
        ("Wrong, and sure of it", material.hard,
         "Look at these first: a wrong label, a picture of two things, or what it never learned."),
        ("Hardly decided", material.unsure,
         "Between the two likeliest classes there was little to choose."),
    ]  # fmt: skip
    said = []
    for title, shown, what in lists:
        if shown:
            items = (tag("li", *_card(one)) for one in shown)
            said += [tag("h3", title), paragraph(what), tag("ul", *items, class_="gallery")]
    if not said:
        lines = [paragraph(line, kind="note") for line in material.missing]
        return join(lines) if lines else None
    every = (*material.hard, *material.unsure)
    if any(one.overlay for one in every):
        said.insert(0, _legend())
    said += [paragraph(line, kind="note") for line in material.missing]
    return join(said)


def _legend() -> Html:
    bar = tag("span", class_="scale", style=f"background:linear-gradient(90deg,{','.join(SCALE)})")
    return paragraph(
        "Beside each picture: which places spoke for the answer that was given (Grad-CAM), from "
        "little", bar, "to much. It shows where the network looked, not that it was right to.",
        kind="note",
    )  # fmt: skip


def _card(one: Shown) -> Sequence[Html]:
    right = one.label == one.answer
    said = f"truly {one.label}, called {one.answer}"
    seen = tag("img", src=jpeg(one.picture), alt=f"A picture, {said}", loading="lazy")
    pictures = [seen]
    if one.overlay:
        spoke = f"The same picture: what spoke for {one.answer}"
        pictures.append(tag("img", src=jpeg(one.overlay), alt=spoke, loading="lazy"))
    name, share = one.next
    truth = f", then {name} {percent(share)}"
    if one.truth is not None and one.label not in (one.answer, name):
        truth += f"; {one.label} {percent(one.truth)}"
    mark = tag("span", "right" if right else "wrong", class_="right" if right else "wrong")
    return [
        tag("div", *pictures, class_="two" if one.overlay else "one"),
        paragraph(mark, f": {one.answer} {percent(one.sure)}{truth}"),
        paragraph(f"truly {one.label}, {one.name}", kind="small"),
    ]
