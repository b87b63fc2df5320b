"""What lies beside the bundle for people, made when a fit is saved."""

from __future__ import annotations

from typing import Any

from regraft.model import Model
from regraft.record import toml
from regraft.report.charts.curves import wise
from regraft.report.collect import answered, gather
from regraft.report.page import of_run
from regraft.training import Answers

PAGE = "report.html"
WISE = "wise.svg"


def beside(
    model: Model,
    report: dict[str, Any],
    settings: dict[str, Any],
    tried: list[dict[str, Any]],
    said: Answers | None,
) -> dict[str, bytes]:
    """The page of a run and its pictures, by file name.

    Pictures are explained only where torch is loaded already: a warm fit does without it.

    Args:
        model: what the run made.
        report: `report.json`.
        settings: what `run.toml` holds.
        tried: `tried.json`.
        said: what the model says of the test rows, None without any.
    """
    rows = answered(model, said) if said is not None else None
    made = {PAGE: of_run(gather(model, report, toml(settings), tried, rows)).data}
    curve = (report.get("training") or {}).get("wise")
    drawn = wise(curve) if curve else None
    return made | ({WISE: drawn.drawn} if drawn else {})
