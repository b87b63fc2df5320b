"""How training goes, while it goes: a line that moves on a terminal, plain lines in a pipe."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from regraft.terminal import is_quiet, say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar

Progress = Callable[[int, int], None]
Event = dict[str, Any]
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 24  # characters of a curve


@dataclass
class Curve:
    """What was told of a training so far.

    Attributes:
        losses: validation log-loss of each epoch, all phases.
        best: the event of the best epoch, None before the first.
    """

    losses: list[float] = field(default_factory=list)
    best: Event | None = None

    def add(self, event: Event) -> None:
        """Take one epoch in; see `regraft.train.loop` for what it holds."""
        self.losses.append(event["log_loss"])
        if self.best is None or event["log_loss"] < self.best["log_loss"]:
            self.best = event

    def spark(self) -> str:
        """The last losses as a row of bars."""
        return spark(self.losses[-WIDTH:])


def spark(values: list[float]) -> str:
    """Numbers as a row of bars; the least is the lowest bar, what is not finite the highest."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(
        BARS[round((value - low) * scale)] if math.isfinite(value) else BARS[-1] for value in values
    )


def line(event: Event) -> str:
    """One epoch in words."""
    return (
        f"phase {event['phase']} of {event['phases']}, epoch {event['epoch']} of "
        f"{event['epochs']}: training loss {event['train_loss']:.4f}, validation loss "
        f"{event.get('raw_loss', event['log_loss']):.4f}{calibrated(event)}, "
        f"{percent(event['accuracy'])} right; {left(event)}"
    )


def calibrated(event: Event) -> str:
    """The validation loss after calibration, by which epochs are compared, beside the raw one."""
    return f" ({event['log_loss']:.4f} calibrated)" if "raw_loss" in event else ""


def left(event: Event) -> str:
    """How long the phase still takes, if no early stop ends it."""
    seconds = event["left_seconds"]
    if seconds >= 90:
        return f"at most {seconds / 60:.0f} min left in this phase"
    return f"at most {seconds:.0f} s left in this phase"


def percent(value: float) -> str:
    """0.9477 as 94.8 %."""
    return f"{100 * value:.1f} %"


def bar(what: str, console: Console, **how: Any) -> Bar:
    """A bar with the time left, not shown yet."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, **how)


def advance(shown: Bar) -> Progress:
    """What to call with (done, in all) to move a bar."""
    task = shown.add_task("", total=None)
    return lambda done, total: shown.update(task, completed=done, total=total)


@contextmanager
def watching() -> Iterator[tuple[Progress | None, Callable[[Event], None]]]:
    """While the block runs: what to call with (pictures done, in all), and what per epoch."""
    if is_quiet() or not sys.stderr.isatty():
        yield None, lambda event: say(line(event))
        return
    with moving() as both:
        yield both


@contextmanager
def moving(what: str = "features") -> Iterator[tuple[Progress, Callable[[Event], None]]]:
    """What `watching` yields where the lines can move: a bar, and below it how training goes."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console, curve, status = Console(stderr=True), Curve(), Text()
    shown = bar(what, console)

    def watch(event: Event) -> None:
        curve.add(event)
        say(line(event))  # it stays, above the lines that move
        status.plain = f"calibrated validation loss {curve.spark()} {best(curve)}"

    with Live(Group(shown, status), console=console, transient=True):
        yield advance(shown), watch


def best(curve: Curve) -> str:
    """The best epoch so far, in words."""
    held = curve.best
    if held is None:
        return ""
    return f"best {held['log_loss']:.4f} in phase {held['phase']}, epoch {held['epoch']}"
