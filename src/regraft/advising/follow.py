"""What `fit --plan auto` does with the advice: takes it, keeps it, and holds it to account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regraft.advising.advise import on
from regraft.advising.decide import PROBE
from regraft.backbones import Backbone
from regraft.choose import EARLY
from regraft.data import Dataset
from regraft.features import Progress
from regraft.files import sealed, unsealed, write_whole
from regraft.outcome import Clock
from regraft.prepare import Ready, Wanted
from regraft.train.started import ADVICE

#: As the stage to read: one is searched, so that there is nothing to advise.
SEARCH = "auto"


@dataclass(frozen=True)
class Followed:
    """Advice that a fit takes.

    Attributes:
        plan: its name.
        at: the stage that the head reads.
        geometry: of the pictures, '' where there is none.
        advice: as plain data.
        ready: what was computed for it; None if it was read back.
        seconds: that it took.
    """

    plan: str
    at: str
    geometry: str
    advice: dict[str, Any]
    ready: Ready | None
    seconds: float = 0.0


def may_advise(at: str | None) -> bool:
    """Whether there is anything left to advise: not where stages are searched or joined."""
    return at is None or not (at in (SEARCH, EARLY) or "+" in at)


def follow(
    found: Dataset,
    other: Dataset | None,
    net: Backbone,
    wanted: Wanted,
    at: str | None,
    unfinished: Path | None,
    *,
    budget: float | None,
    clock: Clock,
    say: Callable[[str], None],
    progress: Progress | None,
) -> Followed:
    """The advice for a fit, or what an earlier attempt at the same fit was advised.

    Args:
        found: to learn from.
        other: to test on, if it was given apart.
        net: the backbone.
        wanted: how the data are to be looked at, every stage computed.
        at: the stage that the head must read; None to choose one.
        unfinished: where a training's state is kept; None keeps none.
        budget: seconds; None for no limit.
        clock: of the fit.
        say: called with one line per finding.
        progress: called with (images done, images in all).
    """
    if unfinished is not None and (held := _read(unfinished / ADVICE)) is not None:
        say(f"advised before: plan {held['plan']}, head at {held['at']}")
        return Followed(held["plan"], held["at"], held["geometry"], held["advice"], None)
    advice, ready = on(
        found, other, net, wanted, at, budget=budget, say=say, progress=progress, clock=clock
    )
    told = advice.json()
    for reason in (f"advised: plan {advice.plan}, head at {advice.at}", *advice.reasons):
        say(reason)
    if advice.learnable is False:
        say("nothing can be learned here, by this measure; the run is made all the same")
    if unfinished is not None and advice.plan != PROBE:
        kept = {"plan": advice.plan, "at": advice.at, "geometry": ready.geometry.name}
        write_whole(unfinished / ADVICE, sealed(kept | {"advice": told}))
    spent = clock.seconds()["total"]
    return Followed(advice.plan, advice.at, ready.geometry.name, told, ready, spent)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        held = unsealed(path.read_bytes())
    except (OSError, ValueError):
        return None
    return held if isinstance(held, dict) and "plan" in held else None


def came_true(followed: Followed, report: Mapping[str, Any]) -> dict[str, Any]:
    """What was forecast, what came, and whether it held.

    Args:
        followed: the advice.
        report: of the fit that followed it.
    """
    expected, predicted = followed.advice["expected"], followed.advice["predicted"]
    test = report["test"] or {}
    came, ci95 = test.get("accuracy"), expected["ci95"]
    held = None if came is None or ci95 is None else bool(ci95[0] <= came <= ci95[1])
    return {
        "accuracy": {"expected": expected["accuracy"], "ci95": ci95, "came": came, "held": held},
        "seconds": {
            "predicted": predicted["seconds"],
            "came": round(report["seconds"]["total"] - followed.seconds, 4),
        },
        "peak_memory_bytes": {
            "predicted": predicted["peak_memory_bytes"],
            "came": report["peak_memory_bytes"],
        },
    }
