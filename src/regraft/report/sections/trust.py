"""How far to trust it: whether it is as sure as it is right, and whether it learned by heart."""

from __future__ import annotations

import math
from typing import Any

from regraft.report.charts import curves
from regraft.report.figures import below, count, number, percent
from regraft.report.markup import Html, bullets, paragraph, tag, text
from regraft.report.material import Material
from regraft.report.sections.plan import settings_of

#: A validation loss that is higher by less than this share of the best is no worse.
LEVEL = 0.03
#: Nor is an accuracy that is lower by less than this: three of 36 rows may be chance.
FALL = 0.1


def calibration(material: Material) -> Html | None:
    """How often answers of so much probability are right."""
    rows = material.rows
    if rows is None or not len(rows.labels):
        return None
    found = curves.calibrated(rows.probabilities.max(axis=1), rows.truth == rows.answer)
    made = curves.reliability(found)
    if found.error <= found.chance:
        told = (
            f"No sign of miscalibration: the expected calibration error is "
            f"{percent(found.error)}, and up to {percent(found.chance)} would be chance with "
            f"{count(len(rows.labels), 'picture')}."
        )
    else:
        lean = "over-confident" if found.lean > 0 else "under-confident"
        told = (
            f"It is {lean}: the expected calibration error is {percent(found.error)}, more than "
            f"the {percent(found.chance)} that would be chance. Do not take its probabilities at "
            "their word."
        )
    kind = "fine" if found.error <= found.chance else "warning"
    return below(made, paragraph(told, kind=kind))


def overfitting(material: Material) -> Html | None:
    """Training and validation, epoch by epoch; where they part, and what to do."""
    training = material.report.get("training") or {}
    curve = training.get("curve") or []
    if not curve:
        return None
    before = _before(training)
    onset = began(curve, before)
    said = [
        paragraph(_verdict(curve, before, onset, training), kind="warning" if onset else "fine")
    ]
    if onset:
        said += [tag("h3", "What to do"), bullets(map(text, _mend(settings_of(material), onset)))]
    return below(curves.training(curve, before, onset), *said)


def wise(material: Material) -> Html | None:
    """Between the weights before training and those after."""
    curve = (material.report.get("training") or {}).get("wise")
    made = curves.wise(curve) if curve else None
    return below(made, paragraph(made.said)) if made else None


def _before(training: dict[str, Any]) -> float | None:
    """The validation loss of what there was before the first epoch, where it is known."""
    mixed = (training.get("wise") or {}).get("curve") or []
    start = next((point["log_loss"] for point in mixed if point["alpha"] == 0.0), None)
    best = training.get("best") or {}
    if start is None and best.get("phase") == 0:
        start = best.get("log_loss")
    return start if start is not None and math.isfinite(start) else None


def began(curve: list[dict[str, Any]], before: float | None) -> int | None:
    """The number of the epoch in which over-fitting began, None if it did not.

    It did if training went on getting better after an epoch and validation did not: its loss, at
    the temperature that training gave it as the training loss is, has been worse by more than
    `LEVEL` in every epoch since; or its accuracy has been lower since, in the end by more than
    `FALL`.

    Args:
        curve: train_loss, raw_loss (or log_loss, in runs of before) and accuracy of each epoch.
        before: the loss before the first.
    """
    raw = [curves.validation_loss(one) for one in curve]
    losses = [before, *raw]
    values = [math.inf if one is None else one for one in losses]
    own = [math.inf if one["train_loss"] is None else one["train_loss"] for one in curve]

    def falling(best: int) -> bool:
        return own[-1] < own[best - 1] if best else own[-1] <= own[0]

    best = min(range(len(values)), key=values.__getitem__)
    later = values[best + 1 :]
    worse = bool(later) and min(later) > values[best] * (1 + LEVEL)
    if worse and math.isfinite(values[best]) and falling(best):
        return best + 1
    right = [one["accuracy"] or 0.0 for one in curve]
    top = max(range(len(right)), key=right.__getitem__)
    lower = right[top + 1 :]
    if lower and max(lower) < right[top] and lower[-1] < right[top] - FALL and falling(top + 1):
        return top + 2
    return None


def _verdict(
    curve: list[dict[str, Any]], before: float | None, onset: int | None, training: dict[str, Any]
) -> str:
    gap = curves.gap_of(curve[-1])
    apart = (
        f"After {count(len(curve), 'epoch')} the loss on validation rows is {number(gap)} "
        f"{'above' if gap >= 0 else 'below'} that on training rows."
        if gap is not None
        else "The last losses are not finite."
        )  # fmt: skip
    if onset is None:
        return (
            f"No sign of over-fitting: validation did not get worse while training went on. {apart}"
        )
    kept = "Weights from before that are used" if onset > 1 else "What was kept is told below"
    if training.get("wise"):
        share = training["wise"]["alpha"]
        kept = f"Of what training changed a share of {share:g} was kept (WiSE-FT)"
    elif onset == 1:
        kept = "The head that was solved before is used"
    return (
        f"Over-fitting began in epoch {onset}: from there on training got better and validation "
        f"worse. {apart} {kept}, so the harm is smaller than the picture shows."
    )


def _mend(settings: dict[str, Any], onset: int) -> list[str]:
    """What helps against it that was not done yet, the cheapest first."""
    phases = settings.get("phases") or settings.get("phase") or []
    trained = [one for one in phases if not one.get("solve")]
    said = ["Train at a smaller rate: lr=1e-4."]
    if onset > 1 and len(trained) == 1:
        fewer = count(onset - 1, "epoch")
        said.insert(0, f"Train for {fewer}, so that the rate falls sooner: epochs={onset - 1}.")
    if not settings.get("augment"):
        said.append("Show each picture in several versions: augment=flip views=4.")
    if any(one.get("cut") != "end" for one in trained):
        said.append("Cut higher, so that fewer stages learn: cut=top:2, or --plan probe.")
    if not settings.get("dropout"):
        said.append("Drop a share of what the head reads while it learns: dropout=0.2.")
    if not settings.get("l2sp"):
        said.append("Pull the weights back to where they began: l2sp=0.01.")
    return [*said, "Add pictures: nothing else helps as surely."]
