"""The page of a comparison: which arm is best, how sure that is, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regraft import sizes
from regraft.report.charts import clouds
from regraft.report.figures import below, between, count, number, percent
from regraft.report.markup import Html, bullets, details, join, paragraph, table, tag
from regraft.report.page import Page, page

Arm = Mapping[str, Any]


def comparison_html(held: Mapping[str, Any]) -> bytes:
    """The file `report.html` of what `comparison.json` holds."""
    return of_comparison(held).data


def of_comparison(held: Mapping[str, Any]) -> Page:
    """The page of a comparison.

    Args:
        held: `comparison.json`.
    """
    arms = [arm for arm in held.get("arms", ()) if arm.get("accuracy") is not None]
    sections = [
        ("cost", "Cost against accuracy", _cost(arms)),
        ("arms", "Every plan in numbers", _arms(arms)),
        ("overfitting", "Learned by heart, and forgotten", _harm(arms)),
        ("left", "What could not be compared", _left(held)),
        ("notes", "Good to know", _notes(held)),
    ]
    there = [(key, title, body) for key, title, body in sections if body is not None]
    name = str(held.get("folder") or held.get("data") or "")
    told = {
        "sections": ["accuracy", *(key for key, _, _ in there)],
        "pictures": 0,
        "explained": 0,
        "missing": [],
    }
    return Page(page(f"regraft comparison: {name}", _headline(held, arms), there), told)


def _headline(held: Mapping[str, Any], arms: list[Arm]) -> Html:
    if not arms:
        return paragraph("No plan could be run.", kind="warning")
    best = arms[0]
    said = [
        tag("p", tag("b", percent(best["accuracy"])),
            tag("span", f"95 % interval {between(best.get('accuracy_ci95'))}"), class_="score"),
        paragraph(
            f"Best of {count(len(arms), 'plan')} on {held.get('data', '')} is ",
            tag("b", clouds.named(best)), f", over {count(held.get('seeds', 1), 'split')}.",
            kind="lead",
        ),
    ]  # fmt: skip
    alike = [arm for arm in arms[1:] if not _worse(arm)]
    if alike:
        cheap = min((best, *alike), key=lambda arm: arm.get("seconds") or 0.0)
        names = ", ".join(clouds.named(arm) for arm in alike)
        also = (
            f" {clouds.named(cheap)} is the cheapest of them ({cheap['seconds']:.1f} s)."
            if cheap is not best and cheap.get("seconds") is not None
            else ""
        )
        told = f"Not significantly different from the best: {names}.{also}"
        said.append(paragraph(told, kind="hint"))
    elif len(arms) > 1:
        said.append(paragraph("Every other plan is significantly worse.", kind="fine"))
    return join(said)


def _worse(arm: Arm) -> bool:
    """Whether an arm is worse than the best by more than chance."""
    if arm.get("p_value") is not None:
        return bool(arm["p_value"] < 0.05)
    ends = arm.get("difference_ci95")
    return bool(ends and ends[1] < 0)


def _cost(arms: list[Arm]) -> Html | None:
    made = clouds.cost(arms)
    return below(made, paragraph(made.said)) if made else None


def _arms(arms: list[Arm]) -> Html | None:
    if not arms:
        return None
    columns: list[tuple[str, Any]] = [
        ("accuracy", lambda a: percent(a["accuracy"])),
        ("95 % interval", lambda a: between(a.get("accuracy_ci95"))),
        ("to the best", lambda a: _points(a.get("difference"))),
        ("95 % interval", lambda a: _span(a.get("difference_ci95"))),
        ("p", lambda a: _p(a.get("p_value"))),
        ("log-loss", lambda a: number(a.get("log_loss"))),
        ("seconds", lambda a: number(a.get("seconds"), 1)),
        ("memory", lambda a: _size(a.get("peak_memory_bytes"))),
        ("trained", lambda a: _whole(a.get("parameters"))),
        ("on disk", lambda a: _size(a.get("bundle_bytes"))),
    ]
    there = [(n, of) for n, of in columns if any(of(arm) not in ("–", "") for arm in arms)]
    rows = [(clouds.named(arm), *(of(arm) for _, of in there)) for arm in arms]
    runs = [
        (clouds.named(arm), one.get("seed"), one.get("n"), percent(one.get("accuracy")),
         number(one.get("log_loss")), number(one.get("seconds"), 1))
        for arm in arms for one in arm.get("runs", ())
    ]  # fmt: skip
    head = ("plan", "seed", "test pictures", "accuracy", "log-loss", "seconds")
    return join([
        table(("plan", *(name for name, _ in there)), rows),
        paragraph(
            "Differences are paired: with one seed all plans have the same pictures to learn from "
            "and to be scored on. Seconds leave out what was computed once for all.", kind="note",
        ),
        details("Every run", table(head, runs)) if runs else None,
    ])  # fmt: skip


def _harm(arms: list[Arm]) -> Html | None:
    """How much better each is on what it learned from, and how far old answers moved."""
    rows = []
    for arm in arms:
        lost = arm.get("forgetting") or {}
        gap, changed = arm.get("gap"), lost.get("changed")
        if gap is not None or changed is not None:
            why = lost.get("why") or ""
            rows.append(
                (clouds.named(arm), _points(gap), percent(changed), number(lost.get("kl")), why)
            )
    if not rows:
        return None
    head = ("plan", "overfitting gap", "old answers changed", "divergence, nats", "")
    return join([
        table(head, rows),
        paragraph(
            "The gap is the accuracy on rows that were learned from less that on rows kept from "
            "them. Old answers are those of the network's own classifier on the test pictures.",
            kind="note",
        ),
    ])  # fmt: skip


def _left(held: Mapping[str, Any]) -> Html | None:
    lines = [f"{clouds.named(arm)}: {arm['error']}" for arm in held["arms"] if arm.get("error")]
    for one in held.get("left_out") or ():
        need = one.get("seconds")
        took = f", which would take about {need:.0f} s each" if need is not None else ""
        seeds = ", ".join(map(str, one.get("seeds", ())))
        lines.append(f"{clouds.named(one)}: the budget left out seeds {seeds}{took}.")
    return bullets(lines) if lines else None


def _notes(held: Mapping[str, Any]) -> Html | None:
    lines = list(held.get("notes") or ())
    if held.get("budget") is not None:
        lines.append(f"Budget {held['budget']:.0f} s, spent {held.get('spent', 0.0):.0f} s.")
    if held.get("shared_seconds"):
        lines.append(f"What all share took {held['shared_seconds']:.1f} s, once.")
    return bullets(lines) if lines else None


def _points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f} points"


def _span(ends: Any) -> str:
    return "–" if not ends else f"{100 * ends[0]:+.1f} to {100 * ends[1]:+.1f}"


def _p(value: float | None) -> str:
    return "–" if value is None else ("< 0.001" if value < 0.001 else f"{value:.3f}")


def _size(value: float | None) -> str:
    return "–" if value is None else sizes.told(value)


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
