"""What was done and why, in words: the plan, what advised it, and what that is worth."""

from __future__ import annotations

import tomllib
from typing import Any

from regraft import sizes
from regraft.plans.named import PLANS, told
from regraft.report.figures import between, count, percent
from regraft.report.markup import Html, bullets, details, join, paragraph, table, tag, text
from regraft.report.material import Material


def plan(material: Material) -> Html | None:
    """The plan in words and why it is this one."""
    report = material.report
    said = [paragraph(_frozen(report)), *_trained(report, settings_of(material))]
    why = [report.get("why"), (report.get("geometry") or {}).get("why")]
    reasons = [text(line) for line in why if line]
    if reasons:
        said += [tag("h3", "Why"), bullets(reasons)]
    return join([*said, *_changes(report)])


#: Heads by the field's names.
HEADS = {
    "ridge": "ridge-regression head",
    "logistic": "logistic-regression head",
    "mlp": "multilayer-perceptron head",
    "prototypes": "nearest-prototype head",
}


def head_name(head: str) -> str:
    """A head in words."""
    return HEADS.get(head, f"'{head}' head")


def settings_of(material: Material) -> dict[str, Any]:
    """The settings in `run.toml`; nothing if it is none."""
    try:
        return tomllib.loads(material.settings)
    except tomllib.TOMLDecodeError:
        return {}


def _frozen(report: dict[str, Any]) -> str:
    rows = (report.get("train") or {}).get("n")
    learned = f" on {count(rows, 'picture')}" if rows else ""
    at = str(report.get("at", "")).replace("+", "' and '")
    return (
        f"The network {report.get('backbone', '')} looked at every picture once, up to its stage "
        f"'{at}', and a {head_name(str(report.get('head', '')))} was fitted to what came out"
        f"{learned}."
    )


def _trained(report: dict[str, Any], settings: dict[str, Any]) -> list[Html]:
    training = report.get("training")
    if not training:
        return [paragraph("No stage of the network was changed: this is feature extraction.")]
    name = str(training.get("plan", ""))
    what = told(name) if name in PLANS else "Phases of one's own."
    said = [paragraph(tag("b", f"Plan {name}. "), what)]
    phases = settings.get("phases") or settings.get("phase") or []
    tables = training.get("rates") or []
    lines = [_phase(n, one, rates) for n, (one, rates) in enumerate(_zip(phases, tables), 1)]
    said += [bullets(lines)] if lines else []
    if training.get("stopped"):
        said.append(paragraph(f"It stopped early: {training['stopped']}", kind="warning"))
    numbers = training.get("parameters")
    return [*said, paragraph(f"{numbers:,} numbers were trained in all.")] if numbers else said


def _zip(phases: list[Any], tables: list[Any]) -> list[tuple[dict[str, Any], list[Any]]]:
    more = [*tables, *([[]] * len(phases))]
    return list(zip(phases, more, strict=False))


def _phase(number: int, phase: dict[str, Any], rates: list[dict[str, Any]]) -> str:
    if phase.get("solve"):
        return f"Phase {number}: the head is solved in closed form."
    stages = [one["stage"] for one in rates if one["stage"] != "head"]
    trained = f"stages '{stages[-1]}' to '{stages[0]}' and the head" if stages else "the head"
    also = f", {phase['adapter']} only" if phase.get("adapter") else ""
    fresh = ", from random weights" if phase.get("scratch") else ""
    return (
        f"Phase {number}: {trained} learn for up to {count(int(phase.get('epochs', 0)), 'epoch')} "
        f"at a rate of {phase.get('lr', 0):g}{also}{fresh}."
    )


def _changes(report: dict[str, Any]) -> list[Html]:
    """What came and went since the fit."""
    made = report.get("changes") or []
    lines = [
        f"{one['kind']}: {count(one['rows'], 'picture')} to learn from, "
        f"{one['test']} to test on. {' '.join(one.get('notes', ()))}"
        for one in made
    ]
    return [tag("h3", "Changed since"), bullets(lines)] if lines else []


def advice(material: Material) -> Html | None:
    """What was advised before the plan was run, and how like the source the pictures are."""
    told_ = material.report.get("advice")
    if not told_:
        return None
    said: list[Html] = []
    if told_.get("learnable") is False:
        said.append(paragraph("Nothing can be learned here: see the reasons.", kind="warning"))
    where = f" at stage '{told_['at']}'" if told_.get("at") else ""
    cut = f", cut at '{told_['cut']}'" if told_.get("cut") not in (None, "") else ""
    if told_.get("plan"):
        said.append(paragraph("Advised: ", tag("b", told_["plan"]), f"{where}{cut}."))
    said.append(bullets(map(text, told_.get("reasons") or [])))
    rows = [
        *_expected(told_, material.report),
        *_similar(told_.get("similarity"), told_.get("reasons") or []),
    ]
    if told_.get("table_cell"):
        rows.append(("tutorials' table", _cell(told_["table_cell"])))
    said += [_facts(rows)] if rows else []
    said += _weighed(told_.get("options") or [])
    if told_.get("risks"):
        said += [tag("h3", "What could go wrong"), bullets(map(text, told_["risks"]))]
    return join(said)


def _weighed(options: list[dict[str, Any]]) -> list[Html]:
    """What else was thought of, and what was expected of it."""
    rows = []
    for one in options:
        cost, size = one.get("seconds"), one.get("peak_memory_bytes")
        rows.append((
            one["plan"], one["at"], one.get("cut") or "–", percent(one.get("accuracy")),
            between(one.get("accuracy_ci95")), "–" if cost is None else f"{cost:.1f} s",
            "–" if size is None else sizes.told(size),
            "advised" if one.get("chosen") else "" if one.get("fits", True) else "too dear",
        ))  # fmt: skip
    head = ("plan", "head at", "cut", "accuracy", "95 % interval", "time", "memory", "")
    return [details("What was weighed", table(head, rows, "What was weighed"))] if rows else []


def _facts(rows: list[tuple[Any, Any]]) -> Html:
    return tag("dl", *(part for k, v in rows for part in (tag("dt", k), tag("dd", v))))


def _cell(cell: dict[str, Any]) -> str:
    agrees = "agrees" if cell.get("followed") else "differs, for the reasons above"
    return (
        f"{cell.get('data')} data, {cell.get('domain')} domain: tutorials say to "
        f"{cell.get('rule')}; the advice {agrees}"
    )


def _expected(told_: dict[str, Any], report: dict[str, Any]) -> list[tuple[Any, Any]]:
    rows: list[tuple[Any, Any]] = []
    expected = told_.get("expected") or {}
    if expected.get("accuracy") is not None:
        ends = f" ({between(expected['ci95'])})" if expected.get("ci95") else ""
        rows.append(("expected accuracy", f"{percent(expected['accuracy'])}{ends}"))
    predicted, came = told_.get("predicted") or {}, report.get("forecast") or {}
    if predicted.get("seconds") is not None:
        took = (came.get("seconds") or {}).get("came")
        also = f"; it took {took:.1f} s" if took is not None else ""
        rows.append(("predicted time", f"{predicted['seconds']:.1f} s{also}"))
    if predicted.get("peak_memory_bytes"):
        peak = (came.get("peak_memory_bytes") or {}).get("came")
        also = f"; it was {sizes.told(peak)}" if peak else ""
        rows.append(("predicted memory", sizes.told(predicted["peak_memory_bytes"]) + also))
    if predicted.get("energy_wh") is not None:
        watts = predicted.get("watts")
        rows.append(
            ("estimated energy", f"about {predicted['energy_wh']:.2g} Wh, if a busy processor "
                                 f"takes {watts:g} W")
        )  # fmt: skip
    return rows


def _similar(likeness: dict[str, Any] | None, said: list[str]) -> list[tuple[Any, Any]]:
    if not likeness or not likeness.get("verdict"):
        return []
    score = likeness.get("score")
    told_ = str(likeness["verdict"]) + (f" ({score:.2f} of 1)" if score is not None else "")
    why = f": {likeness['why']}" if likeness.get("why") and likeness["why"] not in said else ""
    rows: list[tuple[Any, Any]] = [("similarity to the source data", told_ + why)]
    stages = [one for one in likeness.get("per_stage") or [] if isinstance(one, dict)]
    if stages:
        cells = [(s.get("stage"), _two(s.get("distance")), _two(s.get("score"))) for s in stages]
        made = table(("stage", "distance", "similarity"), cells, "Similarity, stage by stage")
        rows.append(("stage by stage", tag("details", tag("summary", "The numbers"), made)))
    return rows


def _two(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}"
