"""Which part of a picture the network should see: measured where the pictures' shapes matter.

A centre crop loses what lies at the margins: 23 % of a square picture in the usual recipe, most of
an elongated one. Squashing shows all of it distorted, padding all of it small. What is best depends
on where the thing to be told lies, so all are tried on some training rows, by the same head.

Of four sets of photos the least log-loss on unseen training rows names the better geometry of the
test part in three (small pictures 0.74 against 0.72 in favour of the whole picture, ants and bees
0.96 against 0.95 and flowers 0.85 against 0.84 in favour of the crop); on steel, whose test part is
shifted, it takes the whole picture, which has one of 120 fewer right. 500 rows are enough: on the
small pictures the gain was 1.6 to 4.5 standard errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from regraft import heads
from regraft.choose import better, losses
from regraft.data.geometry import lost
from regraft.data.look import stored_sizes
from regraft.features import LOOK, Counts, Features, Progress, compute
from regraft.heads.fitted import FittedHead
from regraft.heads.folds import fair, split_out
from regraft.heads.rows import Joined
from regraft.inputs import ImageSpec
from regraft.parts import Parts, numbers
from regraft.pipeline import Pipeline, tap_name

MOST_COMPARED = 512  # training rows that are looked at in every geometry
LEAST_COMPARED = 40  # rows below which a difference means nothing
LOSS = 0.1  # share of the area that a crop may lose at the median before others are tried
ELONGATED = 1.1  # longer side over shorter at the median, above which pad and squash differ
NOISE = 1.0  # standard errors by which another geometry must beat the backbone's own
LEAST_GAIN = 0.005  # of log-loss, since heads that learned nothing all answer alike


@dataclass(frozen=True)
class Geometry:
    """What was chosen.

    Attributes:
        name: 'crop', 'squash' or 'pad'; '' for a backbone that does not take images.
        why: one sentence.
        tried: for each geometry that was compared its accuracy and log-loss on unseen rows.
        counts: what looking at some rows in the other geometries cost.
    """

    name: str
    why: str
    tried: tuple[dict[str, Any], ...] = ()
    counts: Counts = field(default_factory=Counts)

    def json(self) -> dict[str, Any]:
        """Plain data."""
        return {"name": self.name, "why": self.why, "tried": list(self.tried)}


def choose_geometry(
    parts: Parts,
    pipe: Pipeline,
    at: list[str] | None,
    seed: int,
    progress: Progress | None = None,
) -> Geometry:
    """The geometry for these training rows; nothing of the test part is looked at.

    Args:
        parts: from a pass in the backbone's own geometry.
        pipe: of that pass.
        at: the stages that the head reads, None if they are still to be chosen: then the last.
        seed: of the choice of rows, where there are more than `MOST_COMPARED`.
        progress: called with (images done, images in all) of each geometry.
    """
    spec = pipe.info.input
    if not isinstance(spec, ImageSpec):
        return Geometry("", "Geometry is for images.")
    own = spec.geometry
    labels = numbers(parts.train, parts.classes)
    index = _some(labels, parts, seed)
    groups = None if parts.groups is None else parts.groups[index]
    _, truth = np.unique(labels[index], return_inverse=True)
    classes = int(truth.max()) + 1  # large groups may leave only one among some of the rows
    if classes < 2 or int(fair(truth, groups).sum()) < LEAST_COMPARED:
        return Geometry(
            own, f"resizing: {own}, the backbone's own: too few images to compare others."
        )
    names = candidates(parts.train, spec)
    if len(names) == 1:
        return Geometry(
            own, f"resizing: {own}, which shows nearly all of these pictures undistorted."
        )
    some = parts.train.take(index)
    stages = at or [pipe.info.stages[-1].name]
    fitted, counts = {}, Counts()
    for name in names:
        seen = some
        if name != own:
            pooled = tuple(tap for tap in pipe.taps if tap.pooled)  # a flow is not compared
            other = replace(pipe, backbone=pipe.backbone.looking(name), taps=pooled)
            seen = compute(some.examples, other, progress)
            counts = counts.plus(seen.counts)
        rows = _rows(seen, pipe, stages)
        fitted[name] = heads.fit("ridge", rows, truth, classes, seed=seed, groups=groups)
    return replace(_decide(fitted, own, groups), counts=counts)


def candidates(features: Features, spec: ImageSpec) -> list[str]:
    """The geometries that show these pictures in different ways, the backbone's own first."""
    stored = stored_sizes(features.rows[LOOK])
    shapes, counts = np.unique(stored, axis=0, return_counts=True)
    cropped = replace(spec, geometry="crop")
    loss = [lost(height, width, cropped) for height, width in shapes.tolist()]
    ratio = shapes[:, 1] / shapes[:, 0] * spec.size[0] / spec.size[1]
    names = ["crop", "squash"] if _median(loss, counts) > LOSS else [spec.geometry]
    if _median(np.maximum(ratio, 1 / ratio), counts) > ELONGATED:
        names = ["crop", "squash", "pad"]
    return [spec.geometry, *(name for name in names if name != spec.geometry)]


def _median(values: Any, counts: np.ndarray) -> float:
    """The median of `values`, each as often as `counts` says."""
    return float(np.median(np.repeat(np.asarray(values), counts)))


def _some(labels: np.ndarray, parts: Parts, seed: int) -> np.ndarray:
    """At most about `MOST_COMPARED` rows, spread over the classes, groups whole."""
    count = -(-len(labels) // MOST_COMPARED)
    if count < 2:
        return np.arange(len(labels))
    fold = split_out(labels, count, seed=seed, groups=parts.groups)
    return np.flatnonzero(fold == int(np.argmax(np.bincount(fold) <= MOST_COMPARED)))


def _rows(seen: Features, pipe: Pipeline, stages: list[str]) -> Any:
    """The features that the head reads."""
    index = {stage.name: tap_name(tap) for tap, stage in _taps(pipe)}
    rows = [seen.rows[index[stage]] for stage in stages]
    return rows[0] if len(rows) == 1 else Joined(rows)


def _taps(pipe: Pipeline) -> list[Any]:
    return [(tap, pipe.info.stages[tap.stage]) for tap in pipe.taps if tap.pooled]


def _decide(fitted: dict[str, FittedHead], own: str, groups: Any) -> Geometry:
    best = own
    for name, head in fitted.items():
        gain = losses(fitted[best]).mean() - losses(head).mean()
        clearly = best != own or gain > LEAST_GAIN
        if clearly and better(head, fitted[best], NOISE if best == own else 0.0, groups):
            best = name
    tried = tuple(_told(name, head, name == best) for name, head in fitted.items())
    told = ", ".join(f"{t['geometry']} {t['accuracy']:.3f} ({t['log_loss']:.3f})" for t in tried)
    reason = f"better than {own}" if best != own else "the backbone's own; no other is better"
    where = f"in cross-validation on {tried[0]['n']} training images"
    why = f"resizing: {best} ({reason} {where}; accuracy and log-loss: {told})"
    return Geometry(best, why, tried)


def _told(name: str, head: FittedHead, chosen: bool) -> dict[str, Any]:
    seen = head.validation
    return {
        "geometry": name,
        "accuracy": seen and seen.accuracy,
        "log_loss": seen and seen.log_loss,
        "n": seen and seen.n,
        "chosen": chosen,
    }
