"""What lies beside the bundle for people, made when a fit is saved."""

from __future__ import annotations

import logging
from typing import Any

from regraft.model import Model
from regraft.record import toml
from regraft.report.charts.curves import wise
from regraft.report.collect import answered, gather
from regraft.report.page import of_run
from regraft.training import Answers

log = logging.getLogger("regraft")

PAGE = "report.html"
WISE = "wise.svg"


def beside(
    model: Model,
    report: dict[str, Any],
    settings: dict[str, Any],
    tried: list[dict[str, Any]],
    said: Answers | None,
) -> dict[str, bytes]:
    """The page of a run and its pictures, by file name; none if they cannot be drawn.

    A run that was computed is never lost for its page: what ends the drawing is a warning.
    Pictures are explained only where torch is loaded already: a warm fit does without it.

    Args:
        model: what the run made.
        report: `report.json`.
        settings: what `run.toml` holds.
        tried: `tried.json`.
        said: what the model says of the test rows, None without any.
    """
    try:
        return _drawn(model, report, settings, tried, said)
    except Exception as problem:
        log.warning(
            "the page could not be drawn (%s: %s); 'regraft report' on the run makes it again",
            type(problem).__name__,
            " ".join(str(problem).split())[:200],
        )
        return {}


def _drawn(
    model: Model,
    report: dict[str, Any],
    settings: dict[str, Any],
    tried: list[dict[str, Any]],
    said: Answers | None,
) -> dict[str, bytes]:
    rows = answered(model, said) if said is not None else None
    made = {PAGE: of_run(gather(model, report, toml(settings), tried, rows)).data}
    curve = (report.get("training") or {}).get("wise")
    drawn = wise(curve) if curve else None
    return made | ({WISE: drawn.drawn} if drawn else {})
