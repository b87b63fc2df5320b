"""Pictures of points: the test rows as the head sees them, and plans by cost and accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.report.figures import Chart, between, count, distinct, number, percent, short
from regraft.report.material import Rows
from regraft.report.style import ACCENT, BAD, INK, MARKERS, SERIES, SOFT, drawing, svg

#: Points that are drawn, and rows whose directions are looked for.
MOST_POINTS, MOST_ROWS = 600, 512


def flattened(features: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two directions in which rows differ most: (N, 2) places and the (2,) shares of variance.

    Principal components of the centred rows, from the products of at most `MOST_ROWS` of them. The
    sign of each is fixed by its largest entry, so that the same rows give the same map.
    """
    rows = np.asarray(features, np.float64)
    centred = rows - rows.mean(axis=0)
    some = centred[:: -(-len(centred) // MOST_ROWS)]
    spread, mixed = np.linalg.eigh(some @ some.T)
    total = float(spread.clip(min=0.0).sum())
    places, share = np.zeros((len(rows), 2)), np.zeros(2)
    for k in range(min(2, len(some), rows.shape[1])):
        size = float(spread[-1 - k])
        if size <= 1e-12 * total or total <= 0:
            break
        axis = some.T @ mixed[:, -1 - k] / np.sqrt(size)
        axis *= np.sign(axis[np.abs(axis).argmax()])
        places[:, k], share[k] = centred @ axis, size / total
    return places, share


def feature_map(rows: Rows) -> Chart | None:
    """The test rows in two dimensions, coloured by class, wrong ones marked."""
    if rows.features is None or len(rows.labels) < 3:
        return None
    places, share = flattened(rows.features)
    truth, wrong = rows.truth, rows.truth != rows.answer
    shown = _spread(wrong, MOST_POINTS)
    coloured = _coloured(truth, wrong, len(rows.classes))
    with drawing(4.6) as figure:
        panel: Any = figure.subplots()
        rest = [n for n in shown if truth[n] not in coloured]
        if rest:
            panel.scatter(
                *places[rest].T, s=10, color=SOFT, alpha=0.45, lw=0, label="other classes"
            )
        names = distinct(rows.classes, 14)
        for n, label in enumerate(coloured):
            own = [row for row in shown if truth[row] == label]
            panel.scatter(*places[own].T, s=26, color=SERIES[n], marker=MARKERS[n],
                          alpha=0.8, lw=0, label=names[label])  # fmt: skip
        missed = [n for n in shown if wrong[n]]
        if missed:
            panel.scatter(*places[missed].T, s=80, facecolors="none", edgecolors=INK, linewidths=1,
                          label="wrong")  # fmt: skip
        across, up = (percent(one) for one in share)
        panel.set(xlabel=f"first direction ({across} of the variance)",
                  ylabel=f"second ({up})", xticks=[], yticks=[])  # fmt: skip
        figure.legend(
            loc="outside upper left", ncols=3, handletextpad=0.3, columnspacing=1.0, markerscale=1.3
        )
        said = (
            f"{count(len(truth), 'test picture')} by what the head reads, flattened to the two "
            f"directions in which they differ most; {int(wrong.sum())} are wrong and ringed."
        )
        drawn = svg(figure, said)
    head = ("class", "pictures", "wrong", "middle, first", "middle, second")
    table = []
    for k, name in enumerate(rows.classes):
        own = truth == k
        if own.any():
            middle = (number(float(place), 2) for place in places[own].mean(axis=0))
            table.append((name, int(own.sum()), int((own & wrong).sum()), *middle))
    left = (
        f" {len(shown):,} of {len(truth):,} are drawn, all wrong ones first."
        if len(shown) < len(truth)
        else ""
    )
    note = (
        "Neighbours look alike to the network. Two directions of many: classes that overlap here "
        f"may still be apart.{left}"
    )
    return Chart("map", "Embedding map (PCA)", said, drawn, head, table, note, "broad")


def _coloured(truth: NDArray[np.int64], wrong: NDArray[np.bool_], classes: int) -> list[int]:
    """The classes that get a colour: all if there are enough, else those with most errors."""
    if classes <= len(SERIES):
        return list(range(classes))
    errors = np.bincount(truth[wrong & (truth >= 0)], minlength=classes)
    return sorted(int(k) for k in np.argsort(-errors, kind="stable")[: len(SERIES) - 1])


def _spread(wrong: NDArray[np.bool_], most: int) -> list[int]:
    """Rows to draw: the wrong ones and others evenly, at most `most`."""
    bad, good = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    bad = bad[np.linspace(0, len(bad) - 1, min(len(bad), most)).astype(int)] if len(bad) else bad
    room = most - len(bad)
    if len(good) > room:
        good = good[np.linspace(0, len(good) - 1, room).astype(int)] if room else good[:0]
    return sorted([*map(int, bad), *map(int, good)])


def cost(arms: Sequence[Mapping[str, Any]], unit: str = "seconds") -> Chart | None:
    """Plans by what they cost and how good they are; both with what is known of the interval.

    Args:
        arms: plan, accuracy, accuracy_ci95 and seconds of each that could be run.
        unit: of the cost.
    """
    known = [a for a in arms if a.get("accuracy") is not None and (a.get("seconds") or 0) > 0]
    if len(known) < 2:
        return None
    front = _front(known)
    with drawing(3.5) as figure:
        panel: Any = figure.subplots()
        line = sorted(front, key=lambda arm: arm["seconds"])
        panel.plot([a["seconds"] for a in line], [100 * a["accuracy"] for a in line], color=SOFT,
                   linewidth=1, linestyle="--", label="nothing cheaper is as good")  # fmt: skip
        for arm in known:
            colour = BAD if arm is known[0] else ACCENT
            if arm.get("accuracy_ci95"):
                ends = [100 * end for end in arm["accuracy_ci95"]]
                panel.vlines(arm["seconds"], *ends, color=colour, alpha=0.35, linewidth=3)
            panel.plot([arm["seconds"]], [100 * arm["accuracy"]], "o", color=colour, markersize=7)
        panel.set_xscale("log")
        ticks = _ticks([a["seconds"] for a in known])
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.set_xticks([], minor=True)
        panel.set(xlabel=f"{unit}, logarithmic, without what all share", ylabel="accuracy, %")
        panel.margins(x=0.22, y=0.12)
        figure.legend(loc="outside upper left")
        figure.draw_without_rendering()  # only then is it known what lies near what
        at = panel.transData.transform([(a["seconds"], 100 * a["accuracy"]) for a in known])
        names = [short(named(arm), 22) for arm in known]
        for arm, name, apart in zip(known, names, _apart(at * 72 / figure.dpi, names), strict=True):
            where = (arm["seconds"], 100 * arm["accuracy"])
            leader = {"arrowstyle": "-", "color": SOFT, "linewidth": 0.6, "shrinkB": 4}
            panel.annotate(name, where, apart, textcoords="offset points", color=INK, fontsize=10,
                           arrowprops=leader if abs(apart[1]) > 10 else None)  # fmt: skip
        best, cheap = known[0], min(known, key=lambda arm: arm["seconds"])
        said = (
            f"Best is {named(best)} with {percent(best['accuracy'])} in {best['seconds']:.1f} "
            f"{unit}; cheapest is {named(cheap)} with {percent(cheap['accuracy'])} in "
            f"{cheap['seconds']:.1f}."
        )
        drawn = svg(figure, said)
    rows = [
        (named(a), f"{a['seconds']:.1f}", percent(a["accuracy"]), between(a.get("accuracy_ci95")))
        for a in known
    ]
    head = ("plan", unit, "accuracy", "95 % interval")
    return Chart("cost", "Cost against accuracy", said, drawn, head, rows, "", "broad")


def named(arm: Mapping[str, Any]) -> str:
    """What an arm is called."""
    return str(arm.get("name") or arm["plan"])


def _apart(at: NDArray[Any], names: Sequence[str]) -> list[tuple[float, float]]:
    """How far each name is put from its point so that no two cover each other, in points.

    Args:
        at: (N, 2) the points, in points.
        names: theirs, of about 5.5 x 11 points a letter.
    """
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in at]
    chosen: list[tuple[float, float]] = []
    for (x, y), name in zip(at, names, strict=True):
        wide = 5.5 * len(name)
        ways = [(side, up) for up in (6, -15, 18, -27, 30, -39, 42) for side in (7, -wide - 5)]
        boxes = [((dx, dy), (x + dx, y + dy, x + dx + wide, y + dy + 11)) for dx, dy in ways]
        free = [(apart, box) for apart, box in boxes if not any(_meet(box, t) for t in taken)]
        apart, box = (free or boxes)[0]
        taken.append(box)
        chosen.append(apart)
    return chosen


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _front(arms: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that nothing cheaper is as good as."""
    return [
        a for a in arms
        if not any(
            b["seconds"] <= a["seconds"] and b["accuracy"] >= a["accuracy"]
            and (b["seconds"], b["accuracy"]) != (a["seconds"], a["accuracy"])
            for b in arms
        )
    ]  # fmt: skip


def _ticks(values: Sequence[float]) -> list[float]:
    """1, 2, 5, 10, … around the values, with one beyond either end."""
    steps = [m * 10.0**e for e in range(-3, 7) for m in (1, 2, 5)]
    inside = [s for s in steps if min(values) / 2 <= s <= max(values) * 2]
    return inside[:: -(-len(inside) // 6)]
