"""From the features of one pass to the flows at every cut."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from regraft.cache import Rows
from regraft.data.views import View
from regraft.errors import DataError
from regraft.features import Features, Progress, TooLarge, compute, compute_views
from regraft.flows.choosing import LIVE, Keeping, choose, flow_name, widened
from regraft.flows.contract import Flows
from regraft.flows.kept import KeptFlows, RowFlows
from regraft.flows.live import LiveFlows
from regraft.pipeline import Pipeline

log = logging.getLogger("regraft")


@dataclass(frozen=True)
class Made:
    """Flows, and what was chosen on the way.

    Attributes:
        flows: for each cut.
        keep: 'full', 'half' or 'live'; with `views` it repeats the choice.
        views: how many augmented views are kept at cuts above 0.
        why: one sentence with the numbers, '' if nothing was left to choose.
    """

    flows: dict[int, Flows]
    keep: str
    views: int
    why: str


@dataclass(frozen=True)
class _Views:
    """Which views are wanted.

    Attributes:
        augment: what may happen to a picture; '' for no views.
        seed: of the views.
        progress: called with (pictures done, pictures in all) of a pass.
    """

    augment: str
    seed: int
    progress: Progress | None


def flows(
    found: Features,
    pipe: Pipeline,
    cuts: Sequence[int],
    *,
    augment: str = "",
    views: int = 0,
    seed: int = 0,
    keep: str = "auto",
    progress: Progress | None = None,
) -> Made:
    """The flows of examples at each cut. What the pass of `found` kept already is used again.

    Args:
        found: the examples, in the order in which they will be numbered.
        pipe: what computed them.
        cuts: stages that are trained first, as numbers; at 0 decoded rows are read.
        augment: what may happen to a picture, see `regraft.data.augment`; '' for no views.
        views: how many augmented views to keep at cuts above 0.
        seed: of the views.
        keep: 'full', 'half' (half precision), 'live' (nothing), or 'auto' to choose by the room
            that there is; see `regraft.flows.choosing`.
        progress: called with (pictures done, pictures in all) of a pass.

    Raises:
        OptionError: an unknown augmentation or way of keeping.
        EngineError: what flows at a cut is not one tensor.
        DataError: a file is gone, or another than in the pass of `found`.
    """
    cuts = sorted(set(cuts))
    pipe = replace(pipe, precision=pipe.precision or found.precision, view=None)
    seen = _Views(augment, seed, progress)
    count = len(found.examples)
    chosen = choose(pipe, cuts, count, augment=augment, views=views, keep=keep)
    try:
        return _made(found, pipe, cuts, seen, chosen)
    except TooLarge as problem:
        log.warning("%s: flows are kept in float32", problem)
    again = choose(pipe, cuts, count, augment=augment, views=views, halves=False)
    return _made(found, pipe, cuts, seen, again)


def _made(
    found: Features, pipe: Pipeline, cuts: Sequence[int], seen: _Views, chosen: Keeping
) -> Made:
    """Raises TooLarge if half precision was chosen and does not hold a flow."""
    plain = {cut: found.rows[flow_name(cut)] for cut in cuts if flow_name(cut) in found.rows}
    made: dict[int, Flows] = {}
    if chosen.keep == LIVE:
        for cut in cuts:
            kept = plain.get(cut)
            made[cut] = LiveFlows(found, pipe, cut, seen.augment, seen.seed, kept)
        return Made(made, chosen.keep, chosen.views, chosen.why)
    bare = replace(pipe, taps=(), keep_row=False)
    plain |= _plain(found, bare, [cut for cut in cuts if cut not in plain], seen, chosen)
    views = _views(found, bare, [cut for cut in cuts if cut > 0], seen, chosen)
    for cut in cuts:
        if cut == 0:
            made[cut] = RowFlows(plain[0], found.digests, seen.augment, seen.seed, pipe.threads)
        else:
            made[cut] = KeptFlows(plain[cut], [view.rows[flow_name(cut)] for view in views])
    return Made(made, chosen.keep, chosen.views, chosen.why)


def _plain(
    found: Features, bare: Pipeline, cuts: Sequence[int], seen: _Views, chosen: Keeping
) -> dict[int, Rows]:
    """The plain flows that the pass of `found` did not keep."""
    if not cuts:
        return {}
    pipe = widened(bare, cuts, chosen.keep)
    got = compute(found.examples, pipe, seen.progress)
    _same(found, got)
    return {cut: got.rows[flow_name(cut)] for cut in cuts}


def _views(
    found: Features, bare: Pipeline, cuts: Sequence[int], seen: _Views, chosen: Keeping
) -> list[Features]:
    if not (cuts and chosen.views):
        return []
    pipe = widened(bare, cuts, chosen.keep)
    each = [View(seen.augment, seen.seed, number) for number in range(chosen.views)]
    got = compute_views(found.examples, pipe, each, seen.progress)
    for one in got:
        _same(found, one)
    return got


def _same(found: Features, got: Features) -> None:
    """Refuse files that are gone or others than in the first pass."""
    if got.skipped:
        bad = got.skipped[0]
        raise DataError(f"{bad.file} cannot be read any more: {bad.reason}.")
    pairs = zip(found.examples, found.digests, got.digests, strict=True)
    for example, before, now in pairs:
        if before != now:
            raise DataError(f"{example.id} is another file than when training began; begin anew.")
