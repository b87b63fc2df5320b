"""fit: data in, an adapted model and the record of how it came about out.

find ─► advice? ─► prepare (features, audit, parts, geometry) ─► learn ─► report ─► Run
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from regraft import plans, show
from regraft.advising.advise import every_stage_pipe
from regraft.advising.decide import PROBE
from regraft.advising.follow import came_true, follow, may_advise
from regraft.asked import check_geometry, check_options, every_stage, stage_names
from regraft.backbones import Backbone
from regraft.backbones.info import Tap
from regraft.backbones.resolve import resolve
from regraft.cross import parse
from regraft.data import Dataset, deep
from regraft.data.sources import columns_of, labelled, to_test
from regraft.features import Progress
from regraft.findings import MOST_BAD
from regraft.flows import widened
from regraft.heads.sums import Sums
from regraft.learning import Asked, learn
from regraft.ledger import Ledger
from regraft.model import Model, Prediction
from regraft.outcome import Clock, Outcome, repeated, report
from regraft.parts import with_validation
from regraft.pipeline import Pipeline, pipeline, tap_name
from regraft.plans import AUTO, Phase, Recipe
from regraft.prepare import Ready, Wanted, prepare
from regraft.progress import Verbose, shows_progress
from regraft.record import Contents, kept_sums, ledger_of, write_run
from regraft.report.fitted import beside
from regraft.training import Answers, Watch, begun

Say = Callable[[str], None]
LAST = "end"


@dataclass(frozen=True, repr=False)
class Run:
    """What happened, and the model that came of it.

    Attributes:
        model: the adapted model.
        report: everything measured, as plain data: the JSON of `regraft fit`.
        settings: what repeats the run, as `run.toml` holds it.
        tried: every stage and head that was tried, with its scores.
        ledger: every row, and what became of it.
        sums: makes what a ridge head needs to know of its rows, None for other heads.
        answers: what the model said of the test rows, None without any.
        folder: where it was saved, None as long as it was not.
    """

    model: Model
    report: dict[str, Any]
    settings: dict[str, Any]
    tried: list[dict[str, Any]]
    ledger: Ledger = field(default_factory=Ledger, repr=False)
    sums: Callable[[], Sums | None] = field(default=lambda: None, repr=False)
    answers: Answers | None = field(default=None, repr=False)
    folder: Path | None = None

    def __repr__(self) -> str:
        return show.text("Run", show.run_rows(self.report, self.folder))

    def _repr_html_(self) -> str:
        rows, link = show.run_rows(self.report, self.folder), show.page_link(self.folder)
        return show.card("Run", rows, link)

    def __getstate__(self) -> dict[str, Any]:
        """For a pickle: with its sums, and without test rows that lie in memory alone."""
        said = self.answers
        if said and not all(isinstance(e.source, Path) for e in said.rows.examples):
            said = None
        return vars(self) | {"sums": partial(_held, self.sums()), "answers": said}

    def predict(self, inputs: Any, **how: Any) -> list[Prediction]:
        """See `Model.predict`."""
        return self.model.predict(inputs, **how)

    def evaluate(self, data: Any, **how: Any) -> dict[str, Any]:
        """See `Model.evaluate`."""
        return self.model.evaluate(data, **how)

    def save(self, folder: str | Path, *, standalone: bool = False) -> Run:
        """Write the run folder, with `bundle/` in it, and return the run that knows its place.

        Raises:
            OptionError: the folder exists.
        """
        where = Path(folder)
        date = datetime.now(UTC).isoformat(timespec="seconds")
        place = {"run": str(where), "bundle": str(where / "bundle"), "date": date}
        report = self.report | place
        held = Contents(
            self.model,
            report,
            self.settings,
            self.tried,
            self.ledger,
            self.sums(),
            beside=beside(self.model, report, self.settings, self.tried, self.answers),
        )
        write_run(where, held, standalone=standalone)
        return replace(self, report=report, folder=where)


def _held(sums: Sums | None) -> Sums | None:
    return sums


@shows_progress()
def fit(
    data: str | Path | Dataset,
    backbone: str | Backbone | None = None,
    *,
    at: str | None = None,
    head: str = "auto",
    test: str | Path | Dataset | None = None,
    size: int | tuple[int, int] | None = None,
    geometry: str = "auto",
    group: str | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    folds: str | None = None,
    balance: float = 0.0,
    near: bool = True,
    strict: bool = False,
    most_bad: float = MOST_BAD,
    weights: str | None = None,
    revision: str | None = None,
    digest: str | None = None,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    depths: str = "auto",
    plan: str | Sequence[Phase] | plans.Planned = AUTO,
    budget: float | None = None,
    recipe: Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    unfinished: Path | None = None,
    log: str = "",
    finish: bool = False,
    say: Say | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    verbose: Verbose = None,
) -> Run:
    """Adapt a backbone to labelled data.

    Args:
        data: a folder of class folders, a table, or a `Dataset`.
        backbone: a name, or a `Backbone`; the packaged EfficientNet-Lite0 if None.
        at: the stage whose pooled output the head reads: 'end', a stage's name, several names
            joined with '+', or 'auto' to choose by leave-one-out or cross-validation. None is the
            one that is advised, or 'end' with a plan that is named.
        head: 'ridge', 'logistic', 'mlp', 'prototypes', or 'auto' to choose likewise.
        test: labelled data to score on; wins over a test part of `data`. Without either, a fifth
            of the data is held out.
        size: side, or (height, width), of the network's input in pixels; as trained if None.
        geometry: what becomes of a picture's proportions: 'crop' (the centre), 'squash' or 'pad'
            (all of it), or 'auto' to choose by cross-validation where it matters.
        group: a column of the table, or a pattern that finds in each path what must never be on
            both sides of a split: a patient, a tile, a camera.
        path_column: the column of a table (`data`, `test`) that holds the images' paths, and
        label_column: the one that holds their classes, where they have no usual name.
        folds: '5' or '5x3' for 5-fold cross-validation, 3 times, of the whole choice; then nothing
            is held out.
        balance: 0..1, how much to make up for rare classes: 0 keeps their shares in the data, 1
            takes all classes for equally common.
        near: whether near duplicates are kept on one side of every split, and not scored where
            training knows their like; False if what looks alike is known to differ.
        strict: refuse bad files, leaks and contradicting labels instead of leaving them out.
        most_bad: share of unusable files above which the data are refused anyway, 0..1.
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
        plan: the name of a plan (`regraft.plans.PLANS`), the path of a plan file ('my.toml'),
            phases of one's own, or 'auto' for what `regraft.advise` advises.
        budget: seconds that an advised plan may take; None for no limit.
        recipe: what holds for all phases that train; its defaults if None.
        settings: fields of the phases, of the recipe or of the named plan by name, as
            `regraft fit DATA lr=1e-4` has them; they win over `recipe`.
        unfinished: a folder for checkpoints while stages are trained: a training that was stopped
            goes on from there. It is the caller's to remove. Nothing is kept if None.
        finish: train no further than the earlier attempt in `unfinished` did: the best so far.
        log: 'tensorboard:DIR' or 'mlflow:URI' to write each epoch's numbers there too.
        say: called with one line per finding.
        progress: called with (images done, images in all).
        watch: called after each epoch with plain data, see `regraft.train.loop`.
        verbose: None shows a bar in terminals and notebooks, True shows how it goes in any case, 2
            its findings too, False nothing; nothing is shown where a callback is given.

    Raises:
        RegraftError: in one sentence, if any of it cannot be used.
    """
    clock = Clock()
    tell = say or (lambda line: None)
    check_options(head, depths, seed, balance, most_bad)
    check_geometry(geometry)
    dealt = None if folds is None else parse(folds)
    plans.check_auto(plan, recipe, settings, budget)
    planned = plans.planned(PROBE if plan == AUTO else plan, recipe, settings)
    if log and (planned.trains or plan == AUTO):
        check_log(log)
    modality = backbone.input.modality if isinstance(backbone, Backbone) else "image"
    columns = columns_of(path_column, label_column)
    found = labelled(data, modality, group=group, columns=columns)
    other = to_test(test, found, group=group, columns=columns)
    tell(_found(found, other))
    net = resolve(backbone, size=size, weights=weights, revision=revision, digest=digest)
    if geometry not in ("auto", ""):
        net = net.looking(geometry)
    if at is not None:
        stage_names(net, at)  # refuses an unknown name, before any picture is read
    white = deep.white_of(found.examples)
    if white:
        tell(deep.note(white, found))
        net = net.scaled(white)
    where: dict[str, Any] = {
        "device": device, "engine": engine, "precision": precision, "threads": threads
    }  # fmt: skip
    wanted = Wanted(
        every_stage_pipe(**where), None, geometry, seed, dealt is None, strict, most_bad, near
    )
    followed = None
    if plan == AUTO and dealt is None and may_advise(at):
        followed = follow(
            found, other, net, wanted, at, unfinished,
            budget=budget, clock=clock, say=tell, progress=progress,
        )  # fmt: skip
        planned, at, depths = plans.planned(followed.plan), followed.at, "all"
        net = net.looking(followed.geometry) if followed.geometry else net
    at = planned.at(at or LAST)
    names = stage_names(net, at)
    place = at if names is None else "+".join(names)
    stages = every_stage(net) if names is None or depths == "all" else names
    taps = [Tap(net.index(name), True) for name in stages]
    training = None
    if planned.trains:
        training = begun(planned, net, names, dealt is not None, unfinished, log, finish, watch)
        every = len(found) + (len(other) if other else 0)
        training, why = training.kept(pipeline(net, taps, **where), every, len(found))
        if why:
            tell(why)

    def pipe_of(net: Backbone) -> Pipeline:
        made = pipeline(net, taps, **where)
        return widened(made, training.cuts, training.recipe.keep) if training else made

    ready = followed.ready if followed else None
    if ready is None or training:
        quiet, asked_geometry = ready is not None, followed.geometry if followed else geometry
        again = replace(wanted, pipe=pipe_of, at=names, geometry=asked_geometry, quiet=quiet)
        looked = prepare(found, other, net, again, tell, progress, clock.lap)
        # Which geometry won, and against which others, the advice has found out.
        ready = replace(looked, geometry=ready.geometry) if ready else looked
    if training:
        ready = replace(ready, parts=with_validation(ready.parts, planned.recipe.val, seed))
    tell(_computed(ready))
    if dealt:
        dealt = replace(dealt, at=dealt.at or place, head=dealt.head or head)
    kept = {
        "weights": weights or "",
        "depths": "all" if len(stages) == len(net.info.stages) else "at",
        "group": group or "",
        "folds": str(dealt or ""),
        "balance": float(balance),
        "most_bad": float(most_bad),
        "near": near,
        "columns": columns,
    }
    tap_of = {name: tap_name(tap) for name, tap in zip(stages, taps, strict=True)}
    asked = Asked(place, head, seed, balance, tap_of, dealt, training, kept)
    learned = learn(ready, asked, tell, progress, clock.lap)
    outcome = Outcome(
        found, other, ready, learned.choice, learned.model, kept, learned.training, learned.made
    )
    record = report(outcome, clock)
    if followed:
        record |= {"advice": followed.advice, "forecast": came_true(followed, record)}
    roots = [one.root for one in (found, other) if one]
    rows = ledger_of(ready.found.all, ready.found.own, ready.parts, roots)
    return Run(
        learned.model,
        record,
        repeated(outcome),
        [one.json() for one in learned.choice.table],
        rows,
        partial(kept_sums, learned.model, ready.parts),
        learned.answers,
    )


def check_log(log: str) -> None:
    """Refuse a log that cannot be written, before anything costly begins.

    Raises:
        OptionError, MissingExtra: see `regraft.train.logs.check`.
    """
    from regraft.train.logs import check

    check(log)


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


def _computed(ready: Ready) -> str:
    """What the pass over the pictures cost."""
    counts, ways = ready.found.all.counts, len(ready.geometry.tried)
    told = f", in {ways} geometries" if ways else ""
    return f"computed {counts.misses:,} feature vectors, {counts.hits:,} from cache{told}"
