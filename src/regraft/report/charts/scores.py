"""Pictures of a test: its accuracy, which classes are taken for which, and each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.report.figures import Chart, between, number, percent, short
from regraft.report.style import ACCENT, BAD, INK, LINE, PAPER, SOFT, drawing, svg

#: Classes of which the whole confusion matrix can be read.
MOST_CELLS = 16
#: Pairs that are shown of a larger one, and classes from either end of a long list.
MOST_PAIRS, ENDS = 20, 20
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
    """The confusion matrix, or for many classes the pairs that are mixed up most."""
    counts = np.asarray(test["confusion"], np.int64)
    pairs = mixed(counts)
    rows = [(classes[i], classes[j], n, percent(n / counts[i].sum())) for n, i, j in pairs]
    head = ("truly", "taken for", "pictures", "of its class")
    if not counts.sum():
        return None
    if len(classes) <= MOST_CELLS:
        return _matrix(counts, classes, head, rows)
    return _pairs(counts, classes, pairs, head, rows) if pairs else None


def mixed(counts: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(pictures, truth, answer) of every pair that was mixed up, most first, then rarest."""
    off = counts - np.diag(np.diagonal(counts))
    found = [(int(off[i, j]), int(i), int(j)) for i, j in np.argwhere(off)]
    rows = counts.sum(axis=1)
    return sorted(found, key=lambda pair: (-pair[0], rows[pair[1]], pair[1:]))


def _most(counts: NDArray[np.int64], classes: list[str]) -> str:
    pairs = mixed(counts)
    if not pairs:
        return "No picture was taken for another class."
    n, i, j = pairs[0]
    return (
        f"Most often mixed up: '{classes[i]}' taken for '{classes[j]}', {n} of "
        f"{int(counts[i].sum()):,} pictures; {sum(pair[0] for pair in pairs):,} of "
        f"{int(counts.sum()):,} pictures are wrong."
    )


def _matrix(
    counts: NDArray[np.int64], classes: list[str], head: Any, pairs: list[tuple[Any, ...]]
) -> Chart:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    k = len(classes)
    names = [short(name, 16 if k < 10 else 12) for name in classes]
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
        panel.set(xlim=(0, k), ylim=(k, 0), xlabel="the model says", ylabel="truly")
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
    note = "Rows are the truth, columns the answer; stronger colour, larger share of the row."
    return Chart(
        "confusion", "Which class is taken for which", said, drawn, ("truly ↓ says →", *classes),
        whole, note,
    )  # fmt: skip


def _pairs(
    counts: NDArray[np.int64],
    classes: list[str],
    pairs: list[tuple[int, int, int]],
    head: Any,
    rows: list[tuple[Any, ...]],
) -> Chart:
    top = pairs[:MOST_PAIRS]
    with drawing(0.5 + LINE_HEIGHT * len(top)) as figure:
        panel: Any = figure.subplots()
        place = np.arange(len(top))
        panel.barh(place, [n for n, _, _ in top], color=BAD, height=0.62)
        names = [f"{short(classes[i], 16)} → {short(classes[j], 16)}" for _, i, j in top]
        panel.set_yticks(place, names)
        panel.set(ylim=(len(top) - 0.4, -0.6), xlabel="pictures")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(axis="y", visible=False)
        said = _most(counts, classes)
        drawn = svg(figure, said)
    left = f" of {len(pairs)}; the others are in the table" if len(pairs) > len(top) else ""
    note = f"The {len(top)} pairs that are mixed up most{left}."
    title = "Which classes are taken for which"
    return Chart("confusion", title, said, drawn, head, rows[:500], note)


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
        names = [f"{short(one['label'])}  ({one['n']})" for one in shown]
        panel.set_yticks(place, names)
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
    return Chart("classes", "Each class, the worst first", said, drawn, head, rows, note)
