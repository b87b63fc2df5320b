"""Before anything is learned: one pass over the data, the audit, the parts, the geometry.

one pass ─► audit ─► parts ─► which geometry? ─► (another pass, audit and parts in that one)
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from regraft.auditing import Audit, examine, to_read
from regraft.backbones import Backbone
from regraft.data import Dataset, Skipped
from regraft.features import Features, Progress, compute, refuse_nothing
from regraft.geometry import Geometry, choose_geometry
from regraft.parts import HELD_OUT, Parts, divide
from regraft.pipeline import Pipeline

log = logging.getLogger("regraft")


@dataclass(frozen=True)
class Wanted:
    """How the data are to be looked at.

    Attributes:
        pipe: makes a backbone's pipeline.
        at: the stages that the head reads, None if they are to be chosen.
        geometry: 'auto', or one that the backbone has already.
        seed: of the split.
        hold_out: whether to hold a fifth out where no test part is given.
        strict: refuse what otherwise is left out and said.
        most_bad: the share of unusable files above which the data are refused.
        near: whether near duplicates are kept on one side of every split.
        quiet: whether to keep silent of what an earlier look at the same data said already.
    """

    pipe: Callable[[Backbone], Pipeline]
    at: list[str] | None
    geometry: str
    seed: int
    hold_out: bool
    strict: bool
    most_bad: float
    near: bool
    quiet: bool = False


@dataclass(frozen=True)
class Found:
    """The features of a data set and of the data to test on, from one pass.

    Attributes:
        all: of both, the data set's own first.
        own: how many are the data set's own; the rest are to test on.
        skipped: what could not be used of either.
    """

    all: Features
    own: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Ready:
    """Data that a head can be chosen and fitted on.

    Attributes:
        pipe: what computed the features, its precision decided.
        found: the features.
        audit: what is wrong with the data.
        parts: train, validation and test rows.
        geometry: which one, and why.
    """

    pipe: Pipeline
    found: Found
    audit: Audit
    parts: Parts
    geometry: Geometry


def prepare(
    data: Dataset,
    other: Dataset | None,
    net: Backbone,
    wanted: Wanted,
    say: Callable[[str], None],
    progress: Progress | None,
    lap: Callable[[str], None],
) -> Ready:
    """Look at the data, and look again if another geometry suits them better.

    Args:
        data: to learn from.
        other: to test on, if it was given apart.
        net: the backbone.
        wanted: how.
        say: called with one line per finding.
        progress: called with (images done, images in all).
        lap: called with what the time since its last call was spent on.

    Raises:
        DataError: nothing readable, too many bad files, or fewer than two classes.
    """
    pipe = wanted.pipe(net)
    if not wanted.quiet:
        say(f"backbone {net.info.name} on {pipe.device} with {pipe.engine.name}")
    ready = _look(data, other, pipe, wanted, progress)
    for line in () if wanted.quiet else ready.audit.lines():
        log.warning("%s", line)
    if not wanted.quiet and ready.parts.kind == HELD_OUT and data.part("test"):
        log.warning("the score comes from a fifth held out, not from the test part")
    lap("features")
    if wanted.geometry != "auto":
        return ready
    geometry = choose_geometry(ready.parts, ready.pipe, wanted.at, wanted.seed, progress)
    lap("geometry")
    if geometry.name and not wanted.quiet:
        say(geometry.why)
    counts = ready.found.all.counts.plus(geometry.counts)
    if geometry.name not in ("", ready.geometry.name):
        pipe = wanted.pipe(net.looking(geometry.name))
        ready = _look(data, other, pipe, wanted, progress)
        counts = counts.plus(ready.found.all.counts)
        lap("features")
    found = replace(ready.found, all=replace(ready.found.all, counts=counts))
    return replace(ready, found=found, geometry=geometry)


def _look(
    data: Dataset,
    other: Dataset | None,
    pipe: Pipeline,
    wanted: Wanted,
    progress: Progress | None,
) -> Ready:
    """One pass over both data sets, and what it shows."""
    found = _features(data, other, pipe, progress)
    pipe = replace(pipe, precision=found.all.precision)
    audit = examine(data, other, found.all, found.own, near=wanted.near)
    refuse_nothing(found.all, found.skipped, data.root)
    audit.refuse(wanted.strict, wanted.most_bad)
    parts = divide(
        found.all,
        found.own,
        wanted.seed,
        len(other.scored()) if other else 0,
        groups=audit.groups,
        leaked=audit.leaked,
        hold_out=wanted.hold_out,
    )
    own = str(pipe.info.input.json().get("geometry", ""))
    return Ready(pipe, found, audit, parts, Geometry(own, "As asked." if own else ""))


def _features(
    data: Dataset, other: Dataset | None, pipe: Pipeline, progress: Progress | None
) -> Found:
    """One pass over both data sets. With `other`, the test part of `data` is not touched."""
    own, more = to_read(data, other)
    features = compute((*own, *more), pipe, progress)
    skipped = (*data.skipped, *(other.skipped if other else ()), *features.skipped)
    mine = {id(example) for example in own}
    count = sum(id(example) in mine for example in features.examples)
    return Found(features, count, skipped)
