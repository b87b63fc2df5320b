"""How good the model is: the first thing that a page says, and which classes that comes from."""

from __future__ import annotations

from typing import Any

from regraft.report.charts import scores
from regraft.report.figures import below, beside, between, count, percent
from regraft.report.markup import Html, bullets, join, paragraph, tag, text
from regraft.report.material import Material


def headline(material: Material) -> Html:
    """The accuracy with its interval, on how many rows of what: it comes before everything."""
    report = material.report
    test, crossed = report.get("test"), report.get("cross_validation")
    if test:
        return join([
            _score(test["accuracy"], test["accuracy_ci95"]),
            beside(scores.accuracy(test), _tested(report, test), *_others(report)),
        ])  # fmt: skip
    if crossed:
        rows = count(crossed["n"], "picture")
        return join([
            _score(crossed["accuracy"], crossed["accuracy_ci95"]),
            paragraph(
                f"Mean over {crossed['k']} folds, {count(crossed['repeats'], 'time')}, of {rows}: "
                "each was answered by a head that had not learned from it.", kind="lead",
            ),
        ])  # fmt: skip
    return join([
        paragraph("No accuracy is known", kind="lead"),
        paragraph(
            "No picture was left that may be scored. Test the model on pictures that it has not "
            "learned from: regraft evaluate RUN DATA.", kind="warning",
        ),
        *_others(report),
    ])  # fmt: skip


def _score(share: float, ends: Any) -> Html:
    told = tag("span", f"95 % interval {between(ends)}")
    return tag("p", tag("b", percent(share)), told, class_="score")


def _tested(report: dict[str, Any], test: dict[str, Any]) -> Html:
    part = report.get("test_part")
    where = f" ({part})" if part else ""
    right = round(test["accuracy"] * test["n"])
    told = (
        f"{right:,} of {count(test['n'], 'picture')} that the model had not learned from{where} "
        f"are classified correctly; there are {len(report['classes'])} classes. An interval "
        "made like this one holds the true accuracy 19 times out of 20, for pictures of this kind."
    )
    said = [paragraph(told, kind="lead")]
    if test.get("unknown"):
        names = ", ".join(f"'{name}' ({n})" for name, n in sorted(test["unknown"].items())[:5])
        said.append(
            paragraph(
                f"Not scored are pictures whose class the model never saw: {names}.",
                kind="warning",
            )
        )
    base = scores.guess(test)
    if base is not None and test["accuracy_ci95"][0] <= base:
        said.append(
            paragraph(
                f"That is not surely better than always saying the most common class, which has "
                f"{percent(base)}: do not rely on this model.",
                kind="warning",
            )
        )
    return join(said)


def _others(report: dict[str, Any]) -> list[Html]:
    """What other rows say of the same model."""
    said = []
    held = report.get("validation")
    if held and held.get("n") and held.get("accuracy") is not None:
        said.append(
            f"On {held['n']:,} rows that it was chosen with ({held['kind']}) it had "
            f"{percent(held['accuracy'])}."
        )
    crossed = report.get("cross_validation")
    if crossed and report.get("test"):
        said.append(
            f"{crossed['k']} folds: {percent(crossed['accuracy'])} "
            f"({between(crossed['accuracy_ci95'])})."
        )
    came = forecast(report)
    return [bullets(map(text, [*said, *came]))] if said or came else []


def forecast(report: dict[str, Any]) -> list[str]:
    """Whether the accuracy that was expected before came true."""
    told = (report.get("forecast") or {}).get("accuracy") or {}
    if told.get("held") is None:
        return []
    right = "the forecast held" if told["held"] else "the forecast did not hold"
    return [
        f"Expected before it was run: {percent(told['expected'])}, {between(told['ci95'])} on so "
        f"many test pictures; it came to {percent(told['came'])}: {right}."
    ]


def confusion(material: Material) -> Html | None:
    """How often which class is predicted for which true class."""
    test = material.report.get("test")
    made = scores.confusion(test, material.report["classes"]) if test else None
    if test is None or made is None:
        return None
    top = scores.top(test, material.report["classes"]) if made.numbers != scores.TOP else None
    return below(made, paragraph(made.said), top)


def classes(material: Material) -> Html | None:
    """Every class by itself."""
    test = material.report.get("test")
    made = scores.per_class(test) if test else None
    return below(made, paragraph(made.said)) if made else None
