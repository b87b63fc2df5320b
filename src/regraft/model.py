"""An adapted model: a backbone up to a stage, and the head that was fitted on it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from regraft import __version__, bundle, heads, ledger, show
from regraft.backbones import Backbone
from regraft.backbones.info import BackboneInfo, Tap, Tuning
from regraft.backbones.resolve import from_info, save_weights
from regraft.backbones.tuned import from_file, save_changed
from regraft.bundle import Bundle
from regraft.card import card
from regraft.data import Dataset, Skipped
from regraft.data.labels import as_known, need_known
from regraft.data.requests import Requests
from regraft.data.sources import columns_of, labelled, requested
from regraft.errors import BundleError, DataError
from regraft.evaluate import evaluate
from regraft.features import Features, Progress, compute, refuse_nothing
from regraft.files import visible
from regraft.heads.fitted import FittedHead
from regraft.heads.rows import Joined
from regraft.inputs import ImageSpec
from regraft.pipeline import Pipeline, pipeline, tap_name
from regraft.progress import Verbose, shows_progress
from regraft.thumbnail import thumbnail

log = logging.getLogger("regraft")


@dataclass(frozen=True, repr=False)
class Prediction:
    """What the model says of one input.

    Attributes:
        file: its path, or 'input N' by its place if it is in memory.
        label: the most probable class, None if the file cannot be read.
        probabilities: of every class, most probable first; they add up to 1.
        error: why the file cannot be read, '' if it can.
    """

    file: str
    label: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    error: str = ""

    def __repr__(self) -> str:
        return f"<Prediction {self}>"

    def __str__(self) -> str:
        said = f"error: {self.error}" if self.error else show.ranked(self.probabilities)
        return f"{visible(self.file)}: {said}"

    def _repr_html_(self) -> str:
        """A bar for each of the most probable classes, with the picture if it is a file."""
        said = escape(self.error) if self.error else show.bars(self.probabilities)
        seen = "" if self.error else thumbnail(Path(self.file))
        return f"<div><code>{escape(visible(self.file))}</code><br>{seen}{said}</div>"


@dataclass(frozen=True, repr=False)
class Model:
    """An adapted model, ready to predict.

    Attributes:
        backbone: the stages, as they are after training.
        at: the stages whose pooled outputs, joined, the head reads.
        head: the fitted head.
        classes: names, in the order of the scores.
        metrics: scores from when it was made, as plain data.
        features: which decoder and engine made the features that the head was fitted on.
        seed: of the run that made it.
        trained: digests of the examples that it learned from, as far as they are known: a run
            folder keeps them, a bundle does not.
        plan: how the backbone's stages were trained, as plain data: `name`, `phases` (a list of
            tables) and `recipe` (a table); empty if they are as they came.
    """

    backbone: Backbone
    at: tuple[str, ...]
    head: FittedHead
    classes: tuple[str, ...]
    metrics: dict[str, Any]
    features: dict[str, Any]
    seed: int = 0
    trained: frozenset[str] = frozenset()
    plan: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"<Model: {self.head.name} head at {'+'.join(self.at)} of {self.backbone.info.name}, "
            f"{len(self.classes)} classes>"
        )

    def pipeline(self, device: str = "auto", threads: int | None = None) -> Pipeline:
        """What computes the features that the head reads."""
        return pipeline(
            self.backbone, taps(self.backbone.info, self.at), device=device, threads=threads
        )

    def probabilities(self, features: Features) -> np.ndarray:
        """(N, K) float32, one row per example of `features`; rows add up to 1."""
        rows = [features.rows[tap_name(tap)] for tap in taps(self.backbone.info, self.at)]
        return self.head.probabilities(rows[0] if len(rows) == 1 else Joined(rows))

    @shows_progress("images")
    def predict(
        self,
        inputs: Any,
        *,
        device: str = "auto",
        threads: int | None = None,
        progress: Progress | None = None,
        verbose: Verbose = None,
    ) -> list[Prediction]:
        """One prediction per input, in the order given; what cannot be read carries its error.

        Args:
            inputs: a path, the bytes of a file, an open file, a Pillow image, uint8 pixels (H, W),
                (H, W, 3) or (N, H, W, 3), a Hugging Face `Dataset`, a `Dataset`, or several of
                these: a list, an iterator. A folder stands for every picture below it, sorted.
            device: 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'.
            threads: for decoding and the engine; all processors if None.
            progress: called with (inputs done, inputs in all).
            verbose: as for `regraft.fit`.

        Raises:
            DataError: an input of another kind, or none at all.
        """
        pipe, said = self.pipeline(device, threads), list[Prediction]()
        for asked in requested(inputs, self.backbone.input.modality):
            said += self._answers(asked, pipe, _after(len(said), progress))
        return said

    def _answers(
        self, asked: Requests, pipe: Pipeline, progress: Progress | None
    ) -> list[Prediction]:
        """One for each entry, which is told from others by what it is and not by its name."""
        found = compute(asked.examples, pipe, progress)
        scores = self.probabilities(found) if found.examples else ()
        rows = {id(e): row for e, row in zip(found.examples, scores, strict=True)}
        why = {skip.file: skip.reason for skip in found.skipped}
        said = []
        for entry in asked.entries:
            if isinstance(entry, Skipped):
                said.append(Prediction(entry.file, error=entry.reason))
            elif id(entry) in rows:
                said.append(self._said(entry.id, rows[id(entry)]))
            else:
                said.append(Prediction(entry.id, error=why[entry.id]))
        return said

    def _said(self, name: str, row: np.ndarray) -> Prediction:
        """What the probabilities (K,) of the input `name` come to."""
        order = np.argsort(-row, kind="stable")
        ranked = {self.classes[i]: float(row[i]) for i in order}
        return Prediction(name, self.classes[order[0]], ranked)

    @shows_progress("images")
    def evaluate(
        self,
        data: str | Path | Dataset,
        *,
        path_column: str | None = None,
        label_column: str | None = None,
        answers: bool = False,
        device: str = "auto",
        threads: int | None = None,
        progress: Progress | None = None,
        verbose: Verbose = None,
    ) -> dict[str, Any]:
        """Scores on labelled data, see `regraft.evaluate`; with `skipped` and `cache`.

        A data set that has a test part is scored on it alone, else on all of it. Files that the
        model was trained on (`trained`) are counted in `trained_on` and not scored.

        Args:
            data: a folder of class folders, a table, or a `Dataset`.
            path_column, label_column: of a table, as for `regraft.fit`.
            answers: whether to add `answers`: for each file that is scored, and for each of a
                class that the model does not know, its `file`, `true` class, `predicted` class
                and the latter's `probability`; wrong ones first, the most probable foremost.
            device, threads, progress, verbose: as for `predict`.

        Raises:
            DataError: nothing is left to score on, or no class in common with the model.
        """
        columns = columns_of(path_column, label_column)
        modality = self.backbone.input.modality
        held = labelled(data, modality, least_classes=1, columns=columns)
        held = as_known(held, self.classes)
        need_known((example.label for example in held.scored()), self.classes, held.root)
        found = compute(held.scored(), self.pipeline(device, threads), progress)
        skipped = (*held.skipped, *found.skipped)
        refuse_nothing(found, skipped, held.root)
        unseen = self._unseen(found)
        told = {"answers": self._told(unseen)} if answers else {}
        return (
            score(self, unseen)
            | told
            | {
                "trained_on": len(found.examples) - len(unseen.examples),
                "skipped": [s.json() for s in skipped],
                "cache": found.counts.json(),
            }
        )

    def _told(self, found: Features) -> list[dict[str, Any]]:
        """What the model says of each labelled row, see `evaluate`."""
        told: list[dict[str, Any]] = []
        for example, row in zip(found.examples, self.probabilities(found), strict=True):
            best = int(np.argmax(row))
            told.append(
                {
                    "file": example.id,
                    "true": example.label,
                    "predicted": self.classes[best],
                    "probability": float(row[best]),
                }
            )
        told.sort(key=lambda one: (one["true"] == one["predicted"], -one["probability"]))
        return told

    def _unseen(self, found: Features) -> Features:
        """The rows that the model did not learn from: only on those a score means anything."""
        left = np.array([digest not in self.trained for digest in found.digests], bool)
        if not left.any():
            raise DataError(
                f"the model was trained on all of these {len(left)} files; name others to score on."
            )
        if not left.all():
            log.warning(
                "%d of %d files were trained on and are not scored", (~left).sum(), len(left)
            )
        return found.take(np.flatnonzero(left))

    def save(
        self, folder: str | Path, *, standalone: bool = False, weights: Path | None = None
    ) -> Path:
        """Write the bundle to `folder`, which must not exist.

        Args:
            folder: where to.
            standalone: with the backbone's weights, so that nothing has to be looked up.
            weights: a file of them that another bundle holds, to be copied into this one.

        Raises:
            BundleError: the folder exists, the disk does not take it, or `standalone` is asked for
                a network that only files of the hub describe.
        """
        if standalone and self.backbone.info.name.startswith("hf-hub:"):
            raise BundleError(
                f"--standalone is for networks that timm knows by name; "
                f"'{self.backbone.info.name}' is described by its repository on the hub: leave "
                "--standalone out."
            )
        config = self._config()
        contents = Bundle(config, self.head.arrays(), self.metrics, card(config, self.metrics))
        streamed: dict[str, Callable[[Path], None]] = {}
        if weights is not None:
            streamed[bundle.BACKBONE] = partial(_copy, weights)
        elif standalone:
            streamed[bundle.BACKBONE] = partial(save_weights, self.backbone)
        elif self.backbone.tuning:
            streamed[bundle.TUNED] = partial(save_changed, self.backbone)
        bundle.write(contents, Path(folder), streamed)
        return Path(folder)

    def _config(self) -> dict[str, Any]:
        """The bundle's `config.json`."""
        tuning = self.backbone.tuning
        config = {
            "format": bundle.FORMAT if tuning else bundle.PLAIN,
            "regraft": __version__,
            "task": "classification",
            "classes": list(self.classes),
            "backbone": plain(self.backbone.info.json()),
            "at": list(self.at),
            "features": self.features,
            "head": self.head.config(),
            "seed": self.seed,
        }
        if tuning:
            config["tuned"] = plain(tuning.json())
            config |= {"plan": plain(self.plan)} if self.plan else {}
        return config


def load(path: str | Path, *, backbone: Backbone | None = None) -> Model:
    """The model in a bundle folder, or in the run folder around one. Runs no code from it.

    Args:
        path: a bundle or a run.
        backbone: needed only for a model made on your own network, which a bundle cannot name.

    Raises:
        BundleError: it is no bundle, was changed, or does not fit `backbone`.
    """
    folder = Path(path)
    trained: frozenset[str] = frozenset()
    run = _run_of(folder)
    if run is not None:
        kept = ledger.read(run / ledger.FILE)
        trained = kept.digests(ledger.TRAIN, ledger.VAL) if kept else trained
        folder = run / "bundle"
    held = bundle.read(folder)
    info = BackboneInfo.from_json(held.config["backbone"])
    if backbone is not None and backbone.info.digest not in (info.digest, info.base):
        raise BundleError(
            f"{folder} was made on the weights {(info.base or info.digest)[:12]}…, the backbone "
            f"given has {backbone.info.digest[:12]}…."
        )
    if backbone is not None and backbone.info.network != info.network:
        raise BundleError(
            f"{folder} was made on the network {info.network[:12]}…, the backbone given has the "
            f"same weights and computes something else with them ({backbone.info.network[:12]}…): "
            "pass the network as it was."
        )
    if backbone is None and info.source == "module":
        raise BundleError(
            f"{folder} was made on your own network '{info.name}'; pass it as "
            "regraft.load(path, backbone=…)."
        )
    head = heads.restore(held.config["head"], held.arrays)
    classes = tuple(held.config["classes"])
    if head.n_classes != len(classes):
        raise BundleError(
            f"{folder}: the head has {head.n_classes} classes and config.json names {len(classes)}."
        )
    width = sum(features_of(info, name) for name in held.config["at"])
    if head.dim != width:
        raise BundleError(
            f"{folder}: the head reads {head.dim} features and the stages in 'at' give {width}."
        )
    made = _backbone(held, info, backbone)
    if isinstance(info.input, ImageSpec):
        # A network of one's own comes without them.
        made = made.looking(info.input.geometry).scaled(info.input.white)
    return Model(
        made,
        tuple(held.config["at"]),
        head,
        classes,
        held.metrics,
        held.config["features"],
        held.config["seed"],
        trained,
        held.config.get("plan", {}),
    )


def _run_of(folder: Path) -> Path | None:
    """The run that a folder is, or whose bundle it is; None for a bundle that lies alone.

    Both ways to name a model know alike what it learned from.
    """
    if (folder / "bundle").is_dir() and not (folder / bundle.CONFIG).exists():
        return folder
    place = folder.absolute()
    run = place.parent
    own = place.name == "bundle" and (run / ledger.FILE).is_file()
    return run if own and (run / "report.json").is_file() else None


def _backbone(held: Bundle, info: BackboneInfo, given: Backbone | None) -> Backbone:
    """The backbone of a bundle, on the one `given` or on what its facts name."""
    if "tuned" not in held.config:
        return given or from_info(info, weights=held.weights)
    tuning = Tuning.from_json(held.config["tuned"])
    if given is not None and given.info.digest == info.digest:
        return given
    if given is None and held.weights is not None:
        return from_info(info, weights=held.weights, tuning=tuning)
    base = given or from_info(replace(info, digest=info.base, base=""))
    path = held.weights or held.tuned
    assert path is not None  # a bundle of a trained backbone has one of them
    return from_file(base, path, info, tuning, whole=path == held.weights)


def taps(info: BackboneInfo, at: Sequence[str]) -> tuple[Tap, ...]:
    """The pooled taps of the stages named `at`, in the order of the stages."""
    index = {stage.name: stage.index for stage in info.stages}
    return tuple(Tap(i, True) for i in sorted(index[name] for name in at))


def features_of(info: BackboneInfo, name: str) -> int:
    """How many numbers the pooled output of stage `name` has."""
    stage = next(s for s in info.stages if s.name == name)
    return stage.shape[0] if stage.layout == "NCHW" else stage.shape[-1]


def score(model: Model, found: Features) -> dict[str, Any]:
    """Scores of `model` on labelled features, as plain data."""
    labels = [example.label or "" for example in found.examples]
    return evaluate(model.probabilities(found), labels, model.classes).json()


def plain(value: Any) -> Any:
    """Tuples as lists, all the way down, as JSON would give them back."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def _after(count: int, progress: Progress | None) -> Progress | None:
    """Tells `progress` of inputs that come after `count` others."""
    if progress is None or not count:
        return progress
    return lambda done, total: progress(count + done, count + total)


def _copy(weights: Path, to: Path) -> None:
    shutil.copyfile(weights, to)
