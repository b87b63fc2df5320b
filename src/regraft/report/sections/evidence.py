"""What was measured on the way: each stage's worth, and what more pictures would bring."""

from __future__ import annotations

from collections import Counter
from typing import Any

from regraft.evaluate import wilson
from regraft.report.charts import curves
from regraft.report.figures import below
from regraft.report.markup import Html, paragraph
from regraft.report.material import Material
from regraft.report.sections.plan import head_name


def depths(material: Material) -> Html | None:
    """The accuracy of a head at every stage."""
    report = material.report
    at = str(report.get("at", "")).split("+")
    points, how = profile(material)
    made = curves.depths(points, at, how)
    return below(made, paragraph(made.said)) if made else None


def profile(material: Material) -> tuple[list[dict[str, Any]], str]:
    """Stage, accuracy and interval of every stage that was tried alone, and how."""
    advised = (material.report.get("advice") or {}).get("depths") or []
    points = [
        {"stage": one["stage"], "accuracy": one["accuracy"],
         "ci95": one.get("ci95") or one.get("accuracy_ci95")}
        for one in advised if one.get("accuracy") is not None
    ]  # fmt: skip
    if points:
        return points, "A head on each stage's output, on rows that it had not seen."
    alone = [t for t in material.tried if len(t["at"]) == 1 and t.get("accuracy") is not None]
    heads = Counter(one["head"] for one in alone)
    if not heads:
        return [], ""
    head = heads.most_common(1)[0][0]
    order = {name: number for number, name in enumerate(material.stages)}
    own = sorted((t for t in alone if t["head"] == head), key=lambda t: order.get(t["at"][0], 0))
    points = [
        {"stage": t["at"][0], "accuracy": t["accuracy"],
         "ci95": wilson(t["accuracy"] * t["n"], t["n"])}
        for t in own
    ]  # fmt: skip
    how = f"A {head_name(head)} on each stage's output, {own[0]['kind']}, {own[0]['n']} pictures."
    return points, how


def growth(material: Material) -> Html | None:
    """The learning curve."""
    advice = material.report.get("advice") or {}
    points = list(advice.get("learning_curve") or [])
    doubled = advice.get("doubled") or {}
    if points and doubled.get("accuracy") is not None:
        points.append(doubled | {"rows": 2 * points[-1]["rows"], "extrapolated": True})
    made = curves.growth(points)
    return below(made, paragraph(made.said)) if made else None
