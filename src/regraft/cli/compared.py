"""A comparison for people: who is right how often, and at what cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft import sizes
from regraft.cli.output import percent
from regraft.duration import told
from regraft.terminal import clean

if TYPE_CHECKING:
    from rich.console import Console

NONE = "-"


def show(found: dict[str, Any], console: Console) -> None:
    """Two tables that fit 80 columns, and what one has to know to read them."""
    _table(console, SCORES, [_scores(arm, found["best"]) for arm in _done(found)])
    console.print()
    _table(console, COSTS, [_costs(arm) for arm in _done(found)])
    console.print()
    for line in _lines(found):
        console.print(clean(line), markup=False, highlight=False)


SCORES = ("plan", "accuracy", "95 % interval", "behind the best", "p", "gap")
COSTS = ("plan", "seconds", "memory", "trained", "on disk", "changed", "log-loss")


def _table(console: Console, titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column(titles[0], overflow="fold")
    for title in titles[1:]:
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    console.print(table)


def _done(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [arm for arm in found["arms"] if not arm["error"]]


def _scores(arm: dict[str, Any], best: str) -> tuple[str, ...]:
    low, high = arm["accuracy_ci95"]
    return (
        arm["name"],
        percent(arm["accuracy"]),
        f"{100 * low:.1f} to {100 * high:.1f}",
        _behind(arm, best),
        _p(arm["p_value"]),
        _points(arm["gap"]),
    )


def _costs(arm: dict[str, Any]) -> tuple[str, ...]:
    memory, disk, forgot = arm["peak_memory_bytes"], arm["bundle_bytes"], arm["forgetting"]
    return (
        arm["name"],
        f"{arm['seconds']:.1f}",
        NONE if memory is None else sizes.told(memory),
        f"{arm['parameters']:,.0f}",
        NONE if disk is None else sizes.told(disk),
        NONE if forgot["changed"] is None else percent(forgot["changed"]),
        f"{arm['log_loss']:.3f}",
    )


def _behind(arm: dict[str, Any], best: str) -> str:
    if arm["name"] == best:
        return "best"
    if arm["difference"] is None:
        return NONE
    apart = arm["difference_ci95"]
    between = "" if apart is None else f" ({_points(apart[0])} to {_points(apart[1])})"
    return _points(arm["difference"]) + between


def _points(value: float | None) -> str:
    """A share as signed points of a hundred."""
    return NONE if value is None else f"{100 * value:+.1f}"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _lines(found: dict[str, Any]) -> list[str]:
    """What the tables leave to be said."""
    done = _done(found)
    lines = [f"{arm['name']}: {arm['error']}" for arm in found["arms"] if arm["error"]]
    lines += _unknown(done)
    lines += [_left(one) for one in found["left_out"]]
    tests = sorted({arm["test"] for arm in done if arm["p_value"] is not None})
    if tests:
        count = sum(arm["p_value"] is not None for arm in done)
        corrected = f", corrected for {count} tests (Holm)" if count > 1 else ""
        lines.append(f"p: p-value for no difference from the best; {', '.join(tests)}{corrected}.")
    lines.append(
        "gap: right on rows that were learned from minus rows that were not, in points. changed: "
        "of the test images, those that the network's own classifier calls something else now."
    )
    if any(run["memory_of"] != "run" for arm in done for run in arm["runs"]):
        lines.append("memory: the peak of the whole process, since nothing tells that of one run.")
    lines += found["notes"]
    return [*lines, _last(found, done)]


def _unknown(done: list[dict[str, Any]]) -> list[str]:
    """Why it is not known what some arms changed, each reason once."""
    reasons: dict[str, list[str]] = {}
    for arm in done:
        if why := arm["forgetting"]["why"]:
            reasons.setdefault(why, []).append(arm["name"])
    return [f"changed by {', '.join(names)}: not known, {why}" for why, names in reasons.items()]


def _left(one: dict[str, Any]) -> str:
    seconds, seeds = one["seconds"], ", ".join(map(str, one["seeds"]))
    would = "" if seconds is None else f"; one run would take up to {told(seconds)}"
    return f"left out by the budget: {one['name']}, seed {seeds}{would}"


def _last(found: dict[str, Any], done: list[dict[str, Any]]) -> str:
    tests = sorted({run["n"] for arm in done for run in arm["runs"]})
    count = f"{tests[0]}" if len(tests) == 1 else f"{tests[0]} to {tests[-1]}"
    seeds = "1 seed" if found["seeds"] == 1 else f"{found['seeds']} seeds"
    shared = found["shared_seconds"]
    once = f"; what lies below the cuts, computed once, took {shared:.1f} s more" if shared else ""
    where = f"; {found['folder']}" if found["folder"] else ""
    each = " each" if found["seeds"] > 1 else ""
    return f"{seeds} with {count} test images{each}{once}{where}"
