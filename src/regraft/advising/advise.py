"""advise: which strategy for these data, why, and at what cost; measured in seconds.

one frozen pass ─► depths, learning curve, likeness, rates of this machine ─► the decision
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from regraft import plans
from regraft.advising import rates as measuring
from regraft.advising.advice import Advice, Option
from regraft.advising.among import Limits, best_of
from regraft.advising.cell import cell
from regraft.advising.decide import LEAST_TRAINED, PROBE, WORTH, depth_of, options, pays
from regraft.advising.evidence import Evidence, gather, head_seconds
from regraft.advising.forecast import WATTS, Forecast, Rows, solved, trained
from regraft.advising.risks import risks
from regraft.asked import check_geometry, check_options, every_stage
from regraft.backbones import DEFAULT, Backbone
from regraft.backbones.info import Tap
from regraft.backbones.resolve import resolve
from regraft.data import Dataset, deep
from regraft.data.sources import columns_of, labelled, to_test
from regraft.duration import told
from regraft.errors import OptionError
from regraft.evidence.depths import Depth
from regraft.features import Progress
from regraft.findings import MOST_BAD
from regraft.outcome import Clock
from regraft.peak import resident
from regraft.pipeline import Pipeline, pipeline, tap_name
from regraft.plans.places import cut_of
from regraft.prepare import Ready, Wanted, prepare
from regraft.progress import Verbose, shows_progress

Say = Callable[[str], None]
#: Seconds for which what this machine was measured to do is believed by `advise`.
FRESH = 3600.0
#: Plans that are weighed, besides the head alone.
TRAINED = ("lpft",)


@shows_progress()
def advise(
    data: str | Path | Dataset,
    backbone: str | Backbone | None = None,
    *,
    backbones: Sequence[str] = (),
    within: Limits | None = None,
    test: str | Path | Dataset | None = None,
    size: int | tuple[int, int] | None = None,
    geometry: str = "auto",
    group: str | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
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
    budget: float | None = None,
    watts: float = WATTS,
    again: bool = True,
    say: Say | None = None,
    progress: Progress | None = None,
    verbose: Verbose = None,
) -> Advice:
    """Measure which strategy fits these data.

    Args:
        data: a folder of class folders, a table, or a `Dataset`.
        backbone: a name, or a `Backbone`; the packaged EfficientNet-Lite0 if None.
        backbones: names of several to choose from, in the place of `backbone`.
        within: what the backbone may be: its size, its time for a picture, its licence.
        test, size, geometry, group, path_column, label_column, near, strict, most_bad, weights,
            revision, digest, device, engine, precision, threads, seed: as for `regraft.fit`.
        budget: seconds that the fit may take; None for no limit.
        watts: of a busy processor, for the estimate of energy.
        again: whether to measure this machine's rates anew where training may be advised and the
            last measurement is an hour old; else what an earlier call found is taken.
        say: called with one line per finding.
        progress: called with (images done, images in all).
        verbose: as for `regraft.fit`.

    Raises:
        RegraftError: in one sentence, if any of it cannot be used.
    """
    if backbones and backbone is not None:
        raise OptionError("--backbones is given in the place of --backbone, not beside it.")
    check_options("auto", "all", seed, 0.0, most_bad)
    check_geometry(geometry)
    modality = backbone.input.modality if isinstance(backbone, Backbone) else "image"
    columns = columns_of(path_column, label_column)
    found = labelled(data, modality, group=group, columns=columns)
    other = to_test(test, found, group=group, columns=columns)
    white = deep.white_of(found.examples)
    pipe_of = every_stage_pipe(device, engine, precision, threads)
    wanted = Wanted(pipe_of, None, geometry, seed, True, strict, most_bad, near)
    tell = say or (lambda line: None)

    def load(name: str) -> Backbone:
        net = resolve(
            name if backbones else backbone,
            size=size,
            weights=weights,
            revision=revision,
            digest=digest,
        )
        net = net.scaled(white)
        return net if geometry in ("auto", "") else net.looking(geometry)

    def ask(net: Backbone) -> tuple[Advice, Ready]:
        return on(
            found, other, net, wanted, None,
            budget=budget, watts=watts, again=again, say=tell, progress=progress,
        )  # fmt: skip

    if not backbones and within is None:
        return ask(load(""))[0]
    own = backbone.info.name if isinstance(backbone, Backbone) else backbone or DEFAULT
    names = list(backbones) or [own]
    return best_of(names, load, ask, within or Limits(), tell)


def every_stage_pipe(
    device: str, engine: str, precision: str, threads: int | None
) -> Callable[[Backbone], Pipeline]:
    """Makes the pipeline of a backbone that gives every stage's pooled output."""

    def made(net: Backbone) -> Pipeline:
        taps = [Tap(net.index(name), True) for name in every_stage(net)]
        return pipeline(
            net, taps, device=device, engine=engine, precision=precision, threads=threads
        )

    return made


def on(
    found: Dataset,
    other: Dataset | None,
    net: Backbone,
    wanted: Wanted,
    at: str | None,
    *,
    budget: float | None = None,
    watts: float = WATTS,
    again: bool = False,
    say: Say,
    progress: Progress | None,
    clock: Clock | None = None,
) -> tuple[Advice, Ready]:
    """The advice for data that were found, and what was computed for it; see `advise`.

    Args:
        found: to learn from.
        other: to test on, if it was given apart.
        net: the backbone.
        wanted: how the data are to be looked at, every stage computed.
        at: the stage that the head must read; None to choose one.
        budget, watts, again, say, progress: see `advise`.
        clock: whose laps the parts of this become; one of its own if None.
    """
    clock = clock or Clock()
    ready = prepare(found, other, net, wanted, say, progress, clock.lap)
    made = advised(ready, wanted.seed, at, budget=budget, watts=watts, again=again, clock=clock)
    return replace(made, data=found.root, seconds=clock.seconds()), ready


def advised(
    ready: Ready,
    seed: int,
    at: str | None,
    *,
    budget: float | None,
    watts: float,
    again: bool,
    clock: Clock,
) -> Advice:
    """The advice for data whose features are there; see `on`."""
    net = ready.pipe.backbone
    seen = gather(ready, net, seed, clock.lap)
    depth, why_depth = depth_of(seen) if at is None else asked_depth(seen, net, at)
    place = net.index(depth.stage)
    again = again and pays(seen, depth)
    costs = forecasts(ready, seen, place, seed=seed, watts=watts, again=again)
    clock.lap("rates")
    weighed = options(seen, depth, costs, budget)
    picked = next(one for one in weighed if one.chosen)
    early = picked.at != seen.last.stage
    return Advice(
        learnable=None if not seen.learnable.enough else seen.learnable.learnable,
        plan=picked.plan,
        at=picked.at,
        cut=picked.cut,
        backbone=net.info.name,
        reasons=reasons(seen, why_depth, weighed, budget),
        similarity=seen.similarity,
        accuracy=picked.accuracy,
        accuracy_ci95=picked.accuracy_ci95,
        predicted=costs[picked.plan],
        depths=seen.depths,
        growth=seen.growth,
        risks=risks(seen, ready.audit, net.info.licence),
        cell=cell(seen.per_class, seen.similarity.verdict, picked.plan, early),
        options=tuple(weighed),
        rows=seen.rows,
    )


def asked_depth(seen: Evidence, net: Backbone, at: str) -> tuple[Depth, str]:
    """The stage that was asked for."""
    stage = net.info.stages[net.index(at)].name
    return next(one for one in seen.depths if one.stage == stage), f"{stage}, as asked"


def forecasts(
    ready: Ready, seen: Evidence, at: int, *, seed: int, watts: float, again: bool
) -> dict[str, Forecast]:
    """What each plan that is worth weighing would cost, by its name."""
    tap = tap_name(Tap(at, True))
    head = head_seconds(ready.parts, tap, seed)
    given = len(ready.parts.val.examples)
    every = Rows(seen.rows, given, seen.test)
    found = {PROBE: solved(every, head, resident(), watts)}
    if seen.rows < LEAST_TRAINED or seen.hopeless:
        return found
    cuts = [cut_of("auto", seen.info.stages, at, None)]
    recent = measuring.known(ready.pipe, at, cuts, FRESH if again else math.inf)
    held = recent or measuring.measure(ready.pipe, ready.parts.train, at, cuts)
    # What was kept by an earlier process knows nothing of what this one holds already.
    held = replace(held, resident=max(held.resident, resident()))
    held_out = 0 if given else round(plans.Recipe().val * seen.rows)
    rows = replace(every, learn=seen.rows - held_out, val=given or held_out)
    for name in TRAINED:
        planned = plans.planned(name)
        phases = planned.resolved(ready.pipe.backbone, at)
        found[name] = trained(phases, planned.recipe, seen.info, rows, held, head, watts)
    return found


def reasons(
    seen: Evidence, depth: str, weighed: list[Option], budget: float | None
) -> tuple[str, ...]:
    """Why, the weightiest first."""
    if seen.hopeless:
        return (f"Nothing can be learned here: {seen.learnable.why}",)
    told_all = [f"The head reads {depth}."]
    picked = next(one for one in weighed if one.chosen)
    if not picked.fits and budget is not None:
        told_all.append(
            f"No plan fits a budget of {told(budget)}: the cheapest, {picked.plan}, takes about "
            f"{told(picked.seconds or 0.0)}."
        )
    for one in weighed:
        if one is picked:
            continue
        told_all.append(_against(one, picked, budget))
    if len(weighed) == 1:
        told_all.append(
            f"Only a head is solved: {seen.rows} pictures to learn from are too few to train "
            f"stages on (at least {LEAST_TRAINED})."
        )
    told_all.append(seen.similarity.why)
    told_all.append(seen.growth.why)
    return tuple(text for text in told_all if text)


def _against(one: Option, picked: Option, budget: float | None) -> str:
    """Why `picked` was taken and not the other."""
    if not one.fits and budget is not None:
        return (
            f"{one.plan} would take about {told(one.seconds or 0.0)}, more than the budget of "
            f"{told(budget)}."
        )
    ahead = 100 * ((picked.accuracy or 0.0) - (one.accuracy or 0.0))
    more = (one.seconds or 0.0) - (picked.seconds or 0.0)
    cost = f"{told(abs(more))} {'longer' if more > 0 else 'less'}"
    gained = round(-ahead, 1) + 0.0  # no minus before a zero
    below = f", below the {100 * WORTH:g}-point threshold" if 0 < gained < 100 * WORTH else ""
    return (
        f"Chose {picked.plan} over {one.plan}: {one.plan} is expected to gain {gained:+.1f} "
        f"points{below}, and to take {cost}."
    )
