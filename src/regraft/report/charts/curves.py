"""Pictures of lines: what each stage is worth, more rows, sure and right, training, WiSE-FT."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.evaluate import wilson
from regraft.report.figures import Chart, between, number, percent, short
from regraft.report.style import ACCENT, BAD, GOOD, INK, LINE, SOFT, drawing, svg

Point = Mapping[str, Any]
#: Stages that are named below the axis.
MOST_NAMED = 10


def depths(points: Sequence[Point], at: Sequence[str], how: str) -> Chart | None:
    """The accuracy of a head at every stage, lowest first.

    Args:
        points: stage, accuracy and ci95 of each.
        at: the stages that the head reads.
        how: what was measured, in words.
    """
    if len(points) < 2:
        return None
    names = [str(one["stage"]) for one in points]
    share = np.array([one["accuracy"] for one in points], float) * 100
    best = int(share.argmax())
    with drawing(2.9) as figure:
        panel: Any = figure.subplots()
        place = np.arange(len(points))
        ends = [(n, *one["ci95"]) for n, one in enumerate(points) if one.get("ci95")]
        if ends:
            x, low, high = np.array(ends, float).T
            panel.vlines(x, 100 * low, 100 * high, color=ACCENT, alpha=0.4, linewidth=3)
        panel.plot(place, share, color=ACCENT, marker="o", markersize=4, linewidth=1.2)
        used = [n for n, name in enumerate(names) if name in at]
        if used:
            panel.plot(used, share[used], "o", color=BAD, markersize=8, label="read by the head")
            figure.legend(loc="outside upper left")
        step = max(1, math.ceil(len(names) / MOST_NAMED))
        named = sorted({*range(len(names) - 1, -1, -step)})
        panel.set_xticks(named, [short(names[n], 14) for n in named], rotation=40, ha="right",
                         rotation_mode="anchor")  # fmt: skip
        panel.set(ylabel="accuracy, %", xlim=(-0.6, len(names) - 0.4))
        panel.margins(y=0.12)
        panel.grid(axis="x", visible=False)
        said = (
            f"Best alone is stage '{names[best]}' with {percent(share[best] / 100)}; the first, "
            f"'{names[0]}', has {percent(share[0] / 100)} and the last, '{names[-1]}', "
            f"{percent(share[-1] / 100)}."
        )
        drawn = svg(figure, said)
    rows = [
        (name, percent(one["accuracy"]), between(one.get("ci95")), "read" if name in at else "")
        for name, one in zip(names, points, strict=True)
    ]
    head = ("stage", "accuracy", "95 % interval", "")
    return Chart("depths", "Accuracy by stage", said, drawn, head, rows, how)


def growth(points: Sequence[Point]) -> Chart | None:
    """Accuracy over how many rows were learned from; what is only expected is dashed.

    Args:
        points: rows, accuracy and ci95 of each, and `extrapolated` where nothing was measured.
    """
    known = sorted((p for p in points if p.get("accuracy") is not None), key=lambda p: p["rows"])
    if len(known) < 2:
        return None
    real = [p for p in known if not p.get("extrapolated")]
    guessed = [p for p in known if p.get("extrapolated")]
    with drawing(2.6) as figure:
        panel: Any = figure.subplots()
        for group, colour in ((real, ACCENT), (guessed, BAD)):
            for one in group:
                if one.get("ci95"):
                    ends = [100 * end for end in one["ci95"]]
                    panel.vlines(one["rows"], *ends, color=colour, alpha=0.4, linewidth=3)
        panel.plot([p["rows"] for p in real], [100 * p["accuracy"] for p in real],
                   color=ACCENT, marker="o", markersize=5, label="measured")  # fmt: skip
        if guessed:
            line = [*real[-1:], *guessed]
            panel.plot([p["rows"] for p in line], [100 * p["accuracy"] for p in line], color=BAD,
                       marker="o", markerfacecolor="none", linestyle="--",
                       label="expected with more")  # fmt: skip
            figure.legend(loc="outside upper left", ncols=2)
        panel.set_xscale("log")
        panel.set_xticks([p["rows"] for p in known], [f"{p['rows']:,}" for p in known])
        panel.set_xticks([], minor=True)
        panel.set(xlabel="training pictures", ylabel="accuracy, %")
        panel.margins(y=0.12)
        first, last = known[0], real[-1] if real else known[-1]
        said = (
            f"From {first['rows']:,} to {last['rows']:,} pictures the accuracy goes from "
            f"{percent(first['accuracy'])} to {percent(last['accuracy'])}."
        )
        if guessed:
            said += (
                f" With {guessed[-1]['rows']:,} about {percent(guessed[-1]['accuracy'])} is "
                "expected."
            )
        drawn = svg(figure, said)
    rows = [
        (f"{p['rows']:,}", percent(p["accuracy"]), between(p.get("ci95")),
         "expected" if p.get("extrapolated") else "measured")
        for p in known
    ]  # fmt: skip
    head = ("pictures", "accuracy", "95 % interval", "")
    return Chart("growth", "Learning curve", said, drawn, head, rows)


@dataclass(frozen=True)
class Calibrated:
    """How well being sure and being right agree.

    Attributes:
        bins: (from, to, rows, mean probability, share right) of those that have rows.
        error: the expected calibration error, 0..1.
        chance: what 95 of 100 models that are exactly as sure as they are right stay below on so
            many rows: less cannot be told from none.
        lean: mean probability less accuracy.
    """

    bins: tuple[tuple[float, float, int, float, float], ...]
    error: float
    chance: float
    lean: float


def calibrated(sure: NDArray[Any], right: NDArray[np.bool_], bins: int = 10) -> Calibrated:
    """Bin answers by their probability (Guo et al. 2017, arXiv:1706.04599).

    Args:
        sure: (N,) probability of the answer.
        right: (N,) whether it was the true class.
        bins: of equal width.
    """
    values = np.asarray(sure, np.float64)
    number = np.minimum((values * bins).astype(int), bins - 1)
    rows = np.bincount(number, minlength=bins)
    mass = np.bincount(number, values, minlength=bins)
    hits = np.bincount(number, right, minlength=bins)
    drawn = np.random.default_rng(0).random((400, len(values))) < values
    chance = np.stack([drawn[:, number == b].sum(axis=1) for b in range(bins)], axis=1)
    error = np.abs(chance - mass).sum(axis=1) / len(values)
    made = tuple(
        (b / bins, (b + 1) / bins, int(rows[b]), mass[b] / rows[b], hits[b] / rows[b])
        for b in np.flatnonzero(rows)
    )
    return Calibrated(
        made,
        float(np.abs(hits - mass).sum() / len(values)),
        float(np.quantile(error, 0.95)),
        float(values.mean() - right.mean()),
    )


def reliability(found: Calibrated) -> Chart:
    """How often answers of so much probability are right, against the diagonal."""
    x = [100 * one[3] for one in found.bins]
    y = [100 * one[4] for one in found.bins]
    ends = [wilson(round(one[4] * one[2]), one[2]) for one in found.bins]
    with drawing(3.6) as figure:
        panel, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        panel.plot(
            [0, 100],
            [0, 100],
            color=SOFT,
            linewidth=1,
            linestyle="--",
            label="calibrated",
        )
        low, high = 100 * np.array(ends).T
        panel.vlines(x, low, high, color=ACCENT, alpha=0.4, linewidth=3)
        panel.plot(x, y, color=ACCENT, marker="o", linewidth=1.2, label="this model")
        panel.set(ylabel="accuracy, %", ylim=(-3, 103), xlim=(0, 101))
        panel.legend(loc="upper left")
        left = [100 * one[0] for one in found.bins]
        width = [100 * (one[1] - one[0]) * 0.9 for one in found.bins]
        below.bar(left, [one[2] for one in found.bins], width=width, align="edge", color=ACCENT,
                  alpha=0.45)  # fmt: skip
        below.set(xlabel="probability of the answer, %", ylabel="pictures")
        below.yaxis.get_major_locator().set_params(integer=True, nbins=2)
        below.grid(axis="x", visible=False)
        said = (
            f"Expected calibration error {percent(found.error)}; answers are on average "
            f"{percent(abs(found.lean))} {'more' if found.lean > 0 else 'less'} sure than right."
        )
        drawn = svg(figure, said)
    rows = [
        (f"{percent(one[0])} to {percent(one[1])}", one[2], percent(one[3]), percent(one[4]),
         between(end))
        for one, end in zip(found.bins, ends, strict=True)
    ]  # fmt: skip
    head = ("probability", "pictures", "on average", "right", "95 % interval")
    return Chart("calibration", "Reliability diagram", said, drawn, head, rows)


def training(curve: Sequence[Point], before: float | None, onset: int | None) -> Chart | None:
    """Losses and accuracy over the epochs of all phases.

    Args:
        curve: train_loss, raw_loss, log_loss and accuracy of each epoch.
        before: validation loss before the first; None where nobody knows.
        onset: the number of the epoch in which over-fitting began, None if it did not.
    """
    if not curve:
        return None
    epochs = list(range(1, len(curve) + 1))
    raw = [validation_loss(one) for one in curve]
    held = [math.nan if one is None else one for one in raw]
    own = [math.nan if one["train_loss"] is None else one["train_loss"] for one in curve]
    with drawing(3.6) as figure:
        losses, shares = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        losses.plot(epochs, own, color=SOFT, marker="o", markersize=4, label="training")
        zero = [] if before is None else [0]
        first = [] if before is None else [before]
        losses.plot([*zero, *epochs], [*first, *held], color=ACCENT, marker="o", markersize=4,
                    label="validation")  # fmt: skip
        right = [math.nan if one["accuracy"] is None else 100 * one["accuracy"] for one in curve]
        shares.plot(epochs, right, color=ACCENT, marker="o", markersize=4)
        shares.set(xlabel="epoch", ylabel="validation\naccuracy, %")
        losses.set_ylabel("loss")
        for panel in (losses, shares):
            for n, (one, after) in enumerate(pairwise(curve), 1):
                if one["phase"] != after["phase"]:
                    panel.axvline(n + 0.5, color=LINE, linewidth=1)
            if onset is not None:
                panel.axvspan(onset - 0.5, len(curve) + 0.5, color=BAD, alpha=0.08, lw=0)
            panel.margins(y=0.12)
        shares.xaxis.get_major_locator().set_params(integer=True)
        shares.set_xlim((0 if before is None else -0.3) + (before is None) * 0.5, len(curve) + 0.5)
        figure.legend(loc="outside upper left", ncols=2)
        best = int(np.nanargmin(held)) if not np.isnan(held).all() else 0
        start, least, end = curve[0], curve[best], curve[-1]
        said = (
            f"Over {len(curve)} epochs the training loss goes from {number(start['train_loss'])} "
            f"to {number(end['train_loss'])}; the validation loss is least in epoch {best + 1} "
            f"({number(validation_loss(least))}) and ends at {number(validation_loss(end))}."
        )
        drawn = svg(figure, said)
    rows = [
        (n, one["phase"], number(one["train_loss"], 4), number(validation_loss(one), 4),
         number(gap_of(one), 4), number(one["log_loss"], 4), percent(one["accuracy"]))
        for n, one in enumerate(curve, 1)
    ]  # fmt: skip
    head = ("epoch", "phase", "training loss", "validation loss", "gap", "calibrated", "accuracy")
    note = "Shaded: over-fitting, training gets better and validation worse." if onset else ""
    return Chart("training", "Training, epoch by epoch", said, drawn, head, rows, note)


def gap_of(one: Point) -> float | None:
    """Validation loss less training loss of an epoch, None where one of them is no number."""
    held = validation_loss(one)
    if held is None or one.get("train_loss") is None:
        return None
    return held - float(one["train_loss"])


def validation_loss(one: Point) -> float | None:
    """That of an epoch on the scale of its training loss: before calibration, where it is known.

    None where it is no number.
    """
    value = one["raw_loss"] if "raw_loss" in one else one["log_loss"]
    return None if value is None else float(value)


def wise(curve: Mapping[str, Any]) -> Chart | None:
    """Validation between the weights before training and those after, and what was taken.

    Args:
        curve: alpha that was taken, and `curve`: alpha, accuracy and log_loss of each point.
    """
    points = [p for p in curve["curve"] if None not in p.values()]
    if len(points) < 2:
        return None
    picked = min(points, key=lambda point: abs(point["alpha"] - curve["alpha"]))
    first, last = points[0], points[-1]
    said = (
        f"WiSE-FT: validation between the weights before training (alpha {first['alpha']:g}: "
        f"accuracy {first['accuracy']:.3f}, log-loss {first['log_loss']:.3f}) and after (alpha "
        f"{last['alpha']:g}: accuracy {last['accuracy']:.3f}, log-loss {last['log_loss']:.3f}). "
        f"Chosen is alpha {picked['alpha']:g}: accuracy {picked['accuracy']:.3f}, log-loss "
        f"{picked['log_loss']:.3f}."
    )
    with drawing(3.4) as figure:
        panels = figure.subplots(2, 1, sharex=True)
        x = [point["alpha"] for point in points]
        for panel, name, scale in zip(panels, ("log_loss", "accuracy"), (1, 100), strict=True):
            panel.plot(x, [scale * p[name] for p in points], color=ACCENT, marker="o", markersize=4)
            panel.axvline(picked["alpha"], color=GOOD, linewidth=1.0, linestyle="--")
            panel.plot([picked["alpha"]], [scale * picked[name]], "o", color=GOOD, markersize=8)
            panel.margins(y=0.18)
        panels[0].set_ylabel("log-loss")
        panels[1].set_ylabel("accuracy, %")
        panels[0].set_title(
            f"chosen: alpha {picked['alpha']:g}", loc="right", color=INK, fontsize=9
        )
        panels[1].set_xlabel("alpha (0: before training, 1: after)")
        panels[1].set_xticks(x[:: max(1, len(x) // 6)])
        drawn = svg(figure, said)
    rows = [(f"{p['alpha']:g}", percent(p["accuracy"]), number(p["log_loss"], 4)) for p in points]
    head = ("alpha", "accuracy", "log-loss")
    title = "WiSE-FT: between before and after, on validation rows"
    return Chart("wise", title, said, drawn, head, rows)
