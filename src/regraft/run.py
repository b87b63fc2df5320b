"""fit: data in, an adapted model and the record of how it came about out.

find ─► features (engine, cache) ─► divide ─► choose stage and head ─► fit ─► test ─► Run
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regraft import choose
from regraft.backbones import Backbone
from regraft.backbones.info import Tap
from regraft.backbones.resolve import resolve
from regraft.data import Dataset
from regraft.data.sources import labelled
from regraft.errors import OptionError, did_you_mean
from regraft.features import Pipeline, Progress, compute, pipeline, refuse_nothing, tap_name
from regraft.files import visible
from regraft.heads import HEADS
from regraft.model import Model, Prediction
from regraft.outcome import Clock, Found, Outcome, metrics, report, settings
from regraft.parts import Parts, divide, numbers
from regraft.record import write_run

log = logging.getLogger("regraft")

DEPTHS = ("auto", "all", "at")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """What happened, and the model that came of it.

    Attributes:
        model: the adapted model.
        report: everything measured, as plain data: the JSON of `regraft fit`.
        settings: what repeats the run, as `run.toml` holds it.
        tried: every stage and head that was tried, with its scores.
        folder: where it was saved, None as long as it was not.
    """

    model: Model
    report: dict[str, Any]
    settings: dict[str, Any]
    tried: list[dict[str, Any]]
    folder: Path | None = None

    def predict(self, paths: Any, **how: Any) -> list[Prediction]:
        """See `Model.predict`."""
        return self.model.predict(paths, **how)

    def evaluate(self, data: Any, **how: Any) -> dict[str, Any]:
        """See `Model.evaluate`."""
        return self.model.evaluate(data, **how)

    def save(self, folder: str | Path, *, standalone: bool = False) -> Run:
        """Write the run folder, with `bundle/` in it, and return the run that knows its place.

        Raises:
            OptionError: the folder exists.
        """
        where = Path(folder)
        report = self.report | {"run": str(where), "bundle": str(where / "bundle")}
        write_run(where, self.model, report, self.settings, self.tried, standalone)
        return replace(self, report=report, folder=where)


def fit(
    data: str | Path | Dataset,
    backbone: str | Backbone | None = None,
    *,
    at: str = "end",
    head: str = "auto",
    test: str | Path | Dataset | None = None,
    size: int | tuple[int, int] | None = None,
    weights: str | None = None,
    revision: str | None = None,
    digest: str | None = None,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    depths: str = "auto",
    say: Say | None = None,
    progress: Progress | None = None,
) -> Run:
    """Adapt a backbone to labelled data.

    Args:
        data: a folder of class folders, a table, or a `Dataset`.
        backbone: a name, or a `Backbone`; the packaged EfficientNet-Lite0 if None.
        at: the stage whose pooled output the head reads: 'end', a stage's name, several names
            joined with '+', or 'auto' to choose by leave-one-out or cross-validation.
        head: 'ridge', 'logistic', 'mlp', 'prototypes', or 'auto' to choose likewise.
        test: labelled data to score on; wins over a test part of `data`. Without either, a fifth
            of the data is held out.
        size: side, or (height, width), of the network's input in pixels; as trained if None.
        weights: None, 'random' or the path of a local weight file.
        revision: the commit of the hub's repository that the weights are to come from.
        digest: refuse the backbone if its weights have another digest.
        device: 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'.
        engine: 'auto', 'openvino', 'torch' or 'reference'.
        precision: 'auto', 'f32' or 'bf16'.
        threads: for decoding and the engine; all processors if None.
        seed: decides splits, folds and random features.
        depths: 'all' computes every stage in the pass, 'at' only those that `at` names, 'auto'
            what `at` needs. It decides the last bits of the features, so run.toml keeps it.
        say: called with one line per finding.
        progress: called with (images done, images in all).

    Raises:
        RegraftError: in one sentence, if any of it cannot be used.
    """
    clock = Clock()
    tell = say or (lambda line: None)
    check_options(head, depths, seed)
    modality = backbone.input.modality if isinstance(backbone, Backbone) else "image"
    found = labelled(data, modality)
    other = None if test is None else labelled(test, modality, least_classes=1)
    tell(_found(found, other))
    net = resolve(backbone, size=size, weights=weights, revision=revision, digest=digest)
    names = stage_names(net, at)
    stages = every_stage(net) if names is None or depths == "all" else names
    taps = [Tap(net.index(name), True) for name in stages]
    pipe = pipeline(net, taps, device=device, engine=engine, precision=precision, threads=threads)
    tell(f"backbone {net.info.name} on {pipe.device} with {pipe.engine.name}")

    both = _features(found, other, pipe, progress)
    pipe = replace(pipe, precision=both.all.precision)
    for file in both.skipped:
        log.warning("left out %s: %s", visible(file.file), file.reason)
    parts = divide(both.all, both.own, seed, len(other.scored()) if other else 0)
    if parts.leaks:
        log.warning(
            "%d images to test or choose on are copies of training images and not scored (%s, …)",
            len(parts.leaks),
            visible(parts.leaks[0]),
        )
    clock.lap("features")
    counts = both.all.counts
    tell(f"features of {counts.misses} images computed, of {counts.hits} found in the cache")

    choice = _choose(
        parts, {name: tap_name(t) for name, t in zip(stages, taps, strict=True)}, names, head, seed
    )
    clock.lap("head")
    tell(choice.why)
    trained = frozenset((*parts.train.digests, *parts.val.digests))
    model = Model(
        net, choice.at, choice.fitted, parts.classes, {}, pipe.facts(), seed, trained=trained
    )
    model = replace(model, metrics=metrics(model, parts))
    every = "all" if len(stages) == len(net.info.stages) else "at"
    outcome = Outcome(found, other, both, parts, pipe, choice, model, weights, every)
    tried = [one.json() for one in choice.table]
    return Run(model, report(outcome, clock), settings(outcome), tried)


def check_options(head: str, depths: str, seed: int) -> None:
    """Refuse what can be refused before anything is read.

    Raises:
        OptionError: a value that the option cannot have.
    """
    known = ("auto", *HEADS)
    if head not in known:
        raise OptionError(
            f"--head must be one of {', '.join(known)}, got '{head}'." + did_you_mean(head, known)
        )
    if seed < 0:
        raise OptionError(f"--seed must be 0 or more, got {seed}.")
    if depths not in DEPTHS:
        raise OptionError(f"depths must be one of {', '.join(DEPTHS)}, got '{depths}'.")


def every_stage(net: Backbone) -> list[str]:
    """The names of all stages, in order."""
    return [stage.name for stage in net.info.stages]


def stage_names(net: Backbone, at: str) -> list[str] | None:
    """The stages that `at` names, in their order; None for 'auto'.

    Raises:
        CutError: there is no such stage.
    """
    if at == "auto":
        return None
    indices = sorted({net.index(name) for name in at.split("+")})
    return [net.info.stages[i].name for i in indices]


def _found(found: Dataset, other: Dataset | None) -> str:
    parts = {"": 0, "train": 0, "val": 0, "test": 0}
    for example in found.examples:
        parts[example.split or ""] += 1
    told = ", ".join(f"{count} {name}".strip() for name, count in parts.items() if count)
    more = f" and {len(other)} images in {other.root} to test on" if other else ""
    return (
        f"found {told} images of {len(found.classes)} classes in {found.root}{more}; "
        f"{found.ignored} other files ignored"
    )


def _features(
    found: Dataset, other: Dataset | None, pipe: Pipeline, progress: Progress | None
) -> Found:
    """One pass over both data sets. With `other`, the test part of `found` is not touched."""
    own = found.examples
    if other is not None:
        own = tuple(e for e in own if e.split != "test")
    more = () if other is None else tuple(replace(e, split="test") for e in other.scored())
    features = compute((*own, *more), pipe, progress)
    skipped = (*found.skipped, *(other.skipped if other else ()), *features.skipped)
    mine = {id(example) for example in own}
    count = sum(id(example) in mine for example in features.examples)
    refuse_nothing(features, skipped, found.root)
    return Found(features, count, skipped)


def _choose(
    parts: Parts, taps: dict[str, str], names: list[str] | None, head: str, seed: int
) -> choose.Choice:
    held = None
    if parts.val.examples:
        rows = {name: parts.val.rows[tap] for name, tap in taps.items()}
        held = (rows, numbers(parts.val, parts.classes))
    return choose.choose(
        {name: parts.train.rows[tap] for name, tap in taps.items()},
        numbers(parts.train, parts.classes),
        len(parts.classes),
        at="auto" if names is None else "+".join(names),
        head=head,
        seed=seed,
        validation=held,
        groups=parts.groups,
    )
