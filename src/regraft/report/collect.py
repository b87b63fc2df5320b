"""From the pieces of a run to the material of its page: which rows are shown, and as what."""

from __future__ import annotations

import sys
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.choose import rows_at
from regraft.data import decoder
from regraft.errors import BadFile
from regraft.files import digest
from regraft.model import Model, taps
from regraft.pipeline import tap_name
from regraft.report.material import Material, Rows, Shown
from regraft.training import Answers

#: Wrong pictures, and those that could hardly be decided.
MOST_WRONG, MOST_CLOSE = 24, 8

GONE = "The pictures are no longer where they were, or are others by now, so none are shown here."


def answered(model: Model, said: Answers) -> Rows:
    """The test rows of a fit, with what the model said of them.

    What the head reads of them is what training left beside the answers, else what the pass gave.
    """
    rows, info = said.rows, model.backbone.info
    names = [tap_name(tap) for tap in taps(info, model.at)]
    held = said.reads if said.reads is not None else rows_at(rows.rows, names)[:]
    return Rows(
        tuple(example.id for example in rows.examples),
        tuple(said.labels),
        said.classes,
        said.probabilities,
        np.asarray(held, np.float32),
        rows.examples,
        rows.digests,
    )


def gather(
    model: Model,
    report: dict[str, Any],
    settings: str,
    tried: list[dict[str, Any]],
    rows: Rows | None,
    explain: bool | None = None,
) -> Material:
    """The material of a run's page.

    Args:
        model: what the run made.
        report: `report.json`.
        settings: `run.toml`, as text.
        tried: `tried.json`.
        rows: the test rows, None without any.
        explain: whether to show what spoke for each answer; None to do so if torch, which it
            takes, is loaded anyway.
    """
    info, missing = model.backbone.info, []
    hard: tuple[Shown, ...] = ()
    unsure: tuple[Shown, ...] = ()
    if rows is not None and info.input.modality == "image":
        wrong = hardest(rows)
        close = undecided(rows, {*wrong})
        picked = sorted({*wrong, *close})
        seen = decoded(model, rows, picked)
        if picked and not seen:
            missing.append(GONE)
        wanted = "torch" in sys.modules if explain is None else explain
        heat, why = explained(model, rows, seen) if wanted and seen else ({}, "")
        missing += [why] if why else []
        cards = {row: _card(rows, row, pixels, heat.get(row)) for row, pixels in seen.items()}
        hard = tuple(cards[row] for row in wrong if row in cards)
        unsure = tuple(cards[row] for row in close if row in cards)
    return Material(
        report,
        settings,
        tried,
        info.licence,
        info.digest,
        tuple(stage.name for stage in info.stages),
        model.features,
        rows,
        hard,
        unsure,
        tuple(missing),
    )


def hardest(rows: Rows, most: int = MOST_WRONG) -> list[int]:
    """The wrong rows that the model was surest of, surest first."""
    wrong = np.flatnonzero(rows.truth != rows.answer)
    sure = rows.probabilities[wrong].max(axis=1)
    return [int(row) for row in wrong[np.argsort(-sure, kind="stable")][:most]]


def undecided(rows: Rows, but: Container[int] = (), most: int = MOST_CLOSE) -> list[int]:
    """The rows whose two best answers are nearest, nearest first, without those in `but`."""
    if rows.probabilities.shape[1] < 2:
        return []
    best = np.sort(rows.probabilities, axis=1)[:, -2:]
    apart = best[:, 1] - best[:, 0]
    near = np.flatnonzero(apart < 0.5)
    order = near[np.argsort(apart[near], kind="stable")]
    return [int(row) for row in order if int(row) not in but][:most]


def decoded(model: Model, rows: Rows, picked: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """What the network sees of some rows, (H, W, 3) uint8; those that changed or went are left."""
    spec = model.backbone.info.input
    read = decoder(spec.modality)
    found = {}
    for row in picked:
        example = rows.examples[row] if rows.examples else None
        if example is None:
            continue
        try:
            raw = example.read()
            if digest(raw) == rows.digests[row]:
                found[row] = read.decode(raw, spec)[0]
        except (OSError, BadFile):
            continue
    return found


def explained(
    model: Model, rows: Rows, seen: Mapping[int, NDArray[np.uint8]]
) -> tuple[dict[int, NDArray[Any]], str]:
    """Which places spoke for each answer, by row, and why there are none, '' if there are."""
    from regraft.report.cam import heats

    order = list(seen)
    answers = [int(rows.answer[row]) for row in order]
    maps = heats(model, [seen[row] for row in order], answers)
    if maps is None:
        return {}, "No stage of this network has places, so what spoke for an answer is not shown."
    return {row: one for row, one in zip(order, maps, strict=True) if one is not None}, ""


def _card(rows: Rows, row: int, pixels: NDArray[np.uint8], heat: NDArray[Any] | None) -> Shown:
    from regraft.report.pictures import overlay, thumbnail

    truth, p = int(rows.truth[row]), rows.probabilities[row]
    answer, second = (int(k) for k in np.argsort(-p, kind="stable")[:2])
    return Shown(
        rows.names[row],
        rows.labels[row],
        rows.classes[answer],
        float(p[answer]),
        float(p[truth]) if truth >= 0 else None,
        (rows.classes[second], float(p[second])),
        thumbnail(pixels),
        None if heat is None else overlay(pixels, heat),
    )
