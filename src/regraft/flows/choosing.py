"""What is kept of flows: predicted in bytes, bounded by the cache's limit and the disk, and said.

As asked, else in half precision, else with fewer views, else nothing: then every epoch computes
them anew. Half precision rounds each activation by at most 1 part in 2048.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from regraft.backbones.info import Tap
from regraft.cache import room_bytes
from regraft.errors import OptionError, did_you_mean
from regraft.pipeline import ROW, Pipeline, tap_name

AUTO, FULL, HALF, LIVE = KEEP = ("auto", "full", "half", "live")
#: Fewer kept views than these are no augmentation worth the name.
FEWEST_VIEWS = 2


@dataclass(frozen=True)
class Keeping:
    """What is kept of flows.

    Attributes:
        keep: 'full' (float32), 'half' or 'live'; with `views` it repeats the choice.
        views: how many augmented views are kept at cuts above 0.
        why: one sentence with the numbers, '' if nothing was left to choose.
    """

    keep: str
    views: int
    why: str = ""


def flow_name(cut: int) -> str:
    """Under which name a pass keeps what flows into stage `cut`."""
    return ROW if cut == 0 else tap_name(Tap(cut - 1, False))


def widened(pipe: Pipeline, cuts: Sequence[int], keep: str) -> Pipeline:
    """A pipeline that keeps the flows at some cuts beside what it keeps already.

    Raises:
        EngineError: what flows at a cut is not one tensor.
    """
    if keep == LIVE:
        return pipe
    raw = [Tap(cut - 1, False) for cut in sorted(set(cuts)) if cut > 0]
    taps = (*pipe.taps, *(tap for tap in raw if tap not in pipe.taps))
    return replace(pipe, taps=taps, keep_row=pipe.keep_row or 0 in cuts, half=keep == HALF)


def choose(
    pipe: Pipeline,
    cuts: Sequence[int],
    rows: int,
    *,
    viewed: int | None = None,
    augment: str = "",
    views: int = 0,
    keep: str = AUTO,
    halves: bool = True,
) -> Keeping:
    """What to keep of the flows at `cuts`.

    Args:
        pipe: for the backbone and its input.
        cuts: stages that are trained first, as numbers.
        rows: how many examples there are.
        viewed: of how many of them there are to be augmented views; None for all.
        augment: what may happen to a picture; '' for no views.
        views: how many augmented views of each to keep.
        keep: one of `KEEP`; all but 'auto' is left as it is.
        halves: whether half precision may be used.

    Raises:
        OptionError: an unknown way of keeping, or views below 0.
        EngineError: what flows at a cut is not one tensor.
    """
    if keep not in KEEP:
        raise OptionError(
            f"--keep must be one of {', '.join(KEEP)}, got '{keep}'.{did_you_mean(keep, KEEP)}"
        )
    if views < 0:
        raise OptionError(f"--views must be 0 or more, got {views}.")
    above = any(cut > 0 for cut in cuts)
    views = views if augment and above else 0
    if augment and above and not views and keep in (FULL, HALF):
        raise OptionError(f"--augment with --keep {keep} needs --views of 1 or more; or keep live.")
    size = _Size(pipe, cuts, rows, rows if viewed is None else viewed)
    if keep != AUTO:
        return Keeping(keep, 0 if keep == LIVE else views)
    if augment and above and not views:
        return Keeping(LIVE, 0, "Views are made live, as asked.")
    return _fitting(size, views, room_bytes(), halves and above)


@dataclass(frozen=True)
class _Size:
    """How many bytes flows take."""

    pipe: Pipeline
    cuts: Sequence[int]
    rows: int
    viewed: int

    def bytes(self, keep: str, views: int) -> int:
        """Of the plain pictures, and of `views` views at the cuts above 0."""
        bare = replace(self.pipe, taps=(), keep_row=False)
        plain = widened(bare, self.cuts, keep).row_bytes
        seen = widened(bare, [cut for cut in self.cuts if cut > 0], keep).row_bytes
        return self.rows * plain + self.viewed * views * seen

    def told(self, views: int) -> str:
        """What it is the size of."""
        each = f" and {views} views of {'each' if self.viewed == self.rows else self.viewed}"
        return f"the activations of {self.rows} rows" + (each if views else "")


def _fitting(size: _Size, views: int, room: int, halves: bool) -> Keeping:
    """The first way that fits into `room` bytes."""
    full, half = size.bytes(FULL, views), size.bytes(HALF, views)
    about = f"{size.told(views)} take {_gb(full)}"
    space = f"there is room for {_gb(room)} (REGRAFT_CACHE_LIMIT, and the disk)"
    if full <= room:
        return Keeping(FULL, views, f"Kept in full: {about}; {space}.")
    if halves and half <= room:
        why = f"Kept in half precision, {_gb(half)}: {about}, and {space}."
        return Keeping(HALF, views, why)
    kind = HALF if halves else FULL
    least = size.bytes(kind, views)
    even = f"{about}, {_gb(half)} in half precision" if halves else about
    for fewer in range(views - 1, FEWEST_VIEWS - 1, -1):
        least = size.bytes(kind, fewer)
        if least <= room:
            how = "in half precision " if halves else ""
            why = f"Kept {how}with {fewer} views instead of {views}, {_gb(least)}: "
            return Keeping(kind, fewer, why + f"{even}, and {space}.")
    return Keeping(LIVE, 0, f"Nothing is kept, every epoch computes anew: {even}, and {space}.")


def _gb(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
