"""Pictures of a test: its accuracy, the confusion matrix, and each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.report.figures import Chart, between, distinct, number, percent
from regraft.report.markup import Html, table
from regraft.report.style import ACCENT, BAD, INK, LINE, PAPER, SOFT, drawing, svg

#: Classes of which the whole confusion matrix can be read.
MOST_CELLS = 16
#: Classes that a heat map names one by one, and cells of it that are drawn.
MOST_NAMED, MOST_DRAWN = 40, 4000
#: Steps of a heat map's colours.
STEPS = 5
#: Pairs that are listed, and classes from either end of a long list.
MOST_PAIRS, ENDS = 500, 20
TOP = "Top confusions"
LINE_HEIGHT = 0.25  # inches of a bar with its label


def guess(test: dict[str, Any]) -> float | None:
    """The accuracy of always saying the test's most common class; None without classes."""
    counts = [sum(row) for row in test.get("confusion", ())]
    return max(counts) / test["n"] if counts and test["n"] else None


def accuracy(test: dict[str, Any]) -> Chart:
    """The accuracy on a line from 0 to 100 %, with its interval and what guessing has."""
    share, (low, high) = test["accuracy"], test["accuracy_ci95"]
    base = guess(test)
    with drawing(1.15) as figure:
        panel: Any = figure.subplots()
        panel.barh([0], [100], color=LINE, height=0.16)
        panel.barh(
            [0], [100 * (high - low)], left=[100 * low], color=ACCENT, alpha=0.35, height=0.4
        )
        panel.plot([100 * share], [0], marker="o", color=ACCENT, markersize=9)
        panel.annotate(percent(share), (100 * share, 0.38), ha="center", color=INK, weight="bold")
        if base is not None:
            panel.plot([100 * base] * 2, [-0.3, 0.3], color=SOFT, linewidth=1.6)
            panel.annotate("guessing", (100 * base, -0.4), ha="center", va="top", color=SOFT)
        panel.set(xlim=(-2, 102), ylim=(-0.95, 0.95), yticks=[], xticks=range(0, 101, 20))
        panel.set_xticklabels([f"{value} %" for value in range(0, 101, 20)])
        panel.spines[:].set_visible(False)
        panel.grid(False)
        told = f"; always saying the most common class has {percent(base)}" if base else ""
        said = f"Accuracy {percent(share)}, 95 % interval {between((low, high))}{told}."
        drawn = svg(figure, said)
    rows = [("accuracy", percent(share), between((low, high)))]
    if test.get("balanced_accuracy") is not None:
        ends = between(test.get("balanced_accuracy_ci95"))
        rows.append(("balanced accuracy", percent(test["balanced_accuracy"]), ends))
    rows += [("most common class", percent(base), "–")] if base is not None else []
    rows += [("log-loss", number(test.get("log_loss")), "–")]
    head = ("score", "value", "95 % interval")
    return Chart("accuracy", "Accuracy and its 95 % interval", said, drawn, head, rows)


def confusion(test: dict[str, Any], classes: list[str]) -> Chart | None:
    """The confusion matrix; of many classes a heat map, with the top confusions as its numbers."""
    counts = np.asarray(test["confusion"], np.int64)
    if not counts.sum():
        return None
    if len(classes) <= MOST_CELLS:
        return _matrix(counts, classes)
    return _heat(counts, classes, _pairs(counts, classes))


HEAD = ("true class", "predicted class", "pictures", "of its class")


def top(test: dict[str, Any], classes: list[str], most: int = 5) -> Html | None:
    """The pairs of classes that are confused most, as a table; None without any."""
    rows = _pairs(np.asarray(test["confusion"], np.int64), classes)[:most]
    return table(HEAD, rows, TOP) if rows else None


def _pairs(counts: NDArray[np.int64], classes: list[str]) -> list[tuple[Any, ...]]:
    return [
        (classes[i], classes[j], n, percent(n / counts[i].sum()))
        for n, i, j in mixed(counts)[:MOST_PAIRS]
    ]


def mixed(counts: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(pictures, truth, answer) of every pair that was mixed up, most first, then rarest."""
    off = counts - np.diag(np.diagonal(counts))
    found = [(int(off[i, j]), int(i), int(j)) for i, j in np.argwhere(off)]
    rows = counts.sum(axis=1)
    return sorted(found, key=lambda pair: (-pair[0], rows[pair[1]], pair[1:]))


def _most(counts: NDArray[np.int64], classes: list[str]) -> str:
    pairs = mixed(counts)
    if not pairs:
        return "No class was confused with another."
    n, i, j = pairs[0]
    return (
        f"Most often confused: '{classes[i]}' predicted as '{classes[j]}', {n} of "
        f"{int(counts[i].sum()):,} pictures; {sum(pair[0] for pair in pairs):,} of "
        f"{int(counts.sum()):,} pictures are wrong."
    )


def _matrix(counts: NDArray[np.int64], classes: list[str]) -> Chart:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    k = len(classes)
    names = distinct(classes, 16 if k < 10 else 12)
    with drawing(1.3 + 0.3 * max(k, 4)) as figure:
        panel: Any = figure.subplots()
        for i, j in np.ndindex(k, k):
            colour, n = (ACCENT if i == j else BAD), int(counts[i, j])
            strong = 0.06 + 0.9 * float(share[i, j]) if n else 0.0
            panel.fill([j, j + 1, j + 1, j], [i, i, i + 1, i + 1], color=colour, alpha=strong, lw=0)
            if n:
                ink = PAPER if strong > 0.62 else INK
                size = 11 if k <= 10 else 8.5
                where = (j + 0.5, i + 0.5)
                panel.annotate(str(n), where, ha="center", va="center", color=ink, fontsize=size)
        panel.set(xlim=(0, k), ylim=(k, 0), xlabel="predicted class", ylabel="true class")
        middle = np.arange(k) + 0.5
        slant = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if k > 2 else {}
        panel.set_xticks(middle, names, color=INK, **slant)
        panel.set_yticks(middle, names)
        panel.grid(False)
        panel.hlines(np.arange(k + 1), 0, k, color=LINE, linewidth=0.6)
        panel.vlines(np.arange(k + 1), 0, k, color=LINE, linewidth=0.6)
        panel.spines[:].set_visible(False)
        said = _most(counts, classes)
        drawn = svg(figure, said)
    whole = [(classes[i], *map(int, counts[i])) for i in range(k)]
    note = "Rows are true classes, columns predicted ones. Stronger colour, larger share."
    head = ("true ↓ predicted →", *classes)
    return Chart("confusion", "Confusion matrix", said, drawn, head, whole, note)


def _heat(counts: NDArray[np.int64], classes: list[str], pairs: list[tuple[Any, ...]]) -> Chart:
    """Every cell that is not empty as a square; its numbers are the top confusions."""
    k = len(classes)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = np.argwhere(counts)
    strongest = np.argsort(-share[tuple(cells.T)], kind="stable")[:MOST_DRAWN]
    step = -(-k // MOST_NAMED)
    with drawing(1.0 + 0.145 * min(k, MOST_NAMED)) as figure:
        panel: Any = figure.subplots()
        _squares(panel, cells[strongest], share)
        panel.set(xlim=(0, k), ylim=(k, 0), xlabel="predicted class, in the same order",
                  ylabel="true class")  # fmt: skip
        named = np.arange(0, k, step)
        names = distinct(classes, 16)
        panel.set_yticks(named + 0.5, [names[n] for n in named], fontsize=8.5)
        panel.set_xticks([])
        panel.grid(False)
        panel.spines[:].set(visible=True, color=LINE)
        said = _most(counts, classes)
        drawn = svg(figure, said)
    note = (
        "Rows are true classes, columns predicted ones; what lies off the diagonal is wrong. "
        "Stronger colour, larger share of the row."
    )
    if step > 1:
        note += f" Every {step}th class is named." if step > 3 else " Not every class is named."
    if len(cells) > MOST_DRAWN:
        note += f" The {MOST_DRAWN:,} strongest of {len(cells):,} cells are drawn."
    none = [("–", "–", 0, "–")]
    return Chart("confusion", "Confusion matrix", said, drawn, HEAD, pairs or none, note,
                 numbers=TOP)  # fmt: skip


def _squares(panel: Any, cells: NDArray[np.int64], share: NDArray[Any]) -> None:
    """Cells in a few strengths: one outline for all of a strength, so that a page stays small."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    level = np.ceil(share[tuple(cells.T)] * STEPS).astype(int)
    right = cells[:, 0] == cells[:, 1]
    for n in range(1, STEPS + 1):
        for mine, colour in ((right, ACCENT), (~right, BAD)):
            some = cells[mine & (level == n)]
            if len(some):
                boxes = [Path.unit_rectangle().transformed(_at(j, i)) for i, j in some]
                outline = Path.make_compound_path(*boxes)
                panel.add_patch(PathPatch(outline, color=colour, alpha=0.2 + 0.8 * n / STEPS, lw=0))


def _at(x: int, y: int) -> Any:
    from matplotlib.transforms import Affine2D

    return Affine2D().translate(float(x), float(y))


def per_class(test: dict[str, Any]) -> Chart | None:
    """Recall of each class with its interval and its precision, the worst first."""
    known = [one for one in test["per_class"] if one["n"]]
    if not known:
        return None
    order = sorted(known, key=lambda one: (one["recall"], one["label"]))
    cut = len(order) > 2 * ENDS
    shown = [*order[:ENDS], *order[-ENDS:]] if cut else order
    place = np.arange(len(shown)) + np.array([0.9 * (cut and n >= ENDS) for n in range(len(shown))])
    with drawing(0.85 + LINE_HEIGHT * (len(shown) + cut)) as figure:
        panel: Any = figure.subplots()
        recall = np.array([one["recall"] for one in shown]) * 100
        ends = np.array([one["recall_ci95"] for one in shown]) * 100
        keys = [
            panel.barh(place, recall, color=ACCENT, alpha=0.45, height=0.62, label="recall"),
            panel.hlines(place, ends[:, 0], ends[:, 1], color=ACCENT, label="95 % interval"),
        ]
        precise = [(100 * o["precision"], y) for o, y in zip(shown, place, strict=True)
                   if o["precision"] is not None]  # fmt: skip
        if precise:
            x, y = zip(*precise, strict=True)
            keys += panel.plot(x, y, "D", color=BAD, ms=4.5, label="precision")
        if cut:
            panel.annotate(f"… {len(order) - len(shown)} more", (2, ENDS - 0.08), color=SOFT,
                           va="center")  # fmt: skip
        names = distinct([one["label"] for one in shown])
        told = [f"{name}  ({one['n']})" for name, one in zip(names, shown, strict=True)]
        panel.set_yticks(place, told)
        panel.set(xlim=(0, 101), ylim=(place[-1] + 0.6, -0.6), xlabel="%")
        panel.grid(axis="y", visible=False)
        figure.legend(handles=keys, loc="outside upper left", ncols=3, handlelength=1.4)
        worst = order[0]
        said = (
            f"Worst is '{worst['label']}': recall {percent(worst['recall'])} of {worst['n']} "
            f"pictures; best is '{order[-1]['label']}' with {percent(order[-1]['recall'])}."
        )
        drawn = svg(figure, said)
    rows = [
        (one["label"], one["n"], percent(one["recall"]), between(one["recall_ci95"]),
         percent(one["precision"]), number(one["f1"]))
        for one in order
    ]  # fmt: skip
    head = ("class", "pictures", "recall", "95 % interval", "precision", "F1")
    note = (
        "Recall: how many of a class are found. Precision: how many called so are. In brackets the "
        "pictures that were tested."
    )
    return Chart("classes", "Scores per class, lowest recall first", said, drawn, head, rows, note)
