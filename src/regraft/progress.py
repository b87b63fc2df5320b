"""How calls from Python show that they are at work: a bar, unless somebody else listens.

    terminal ─► a bar on stderr      notebook ─► a bar in the cell      neither ─► nothing, or lines

The callbacks that a caller gives are never taken away: where there is one, nothing is shown here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar
from functools import wraps
from html import escape
from typing import Any, ParamSpec, Protocol, TypeVar

from regraft.errors import OptionError
from regraft.live import Curve, Event, best, line, moving
from regraft.terminal import say

P = ParamSpec("P")
R = TypeVar("R")
Verbose = bool | int | None

CALLBACKS = ("say", "progress", "watch")
DELAY = 0.5  # seconds that a call may take without a bar
PAUSE = 0.2  # seconds between two changes of a bar in a notebook
LINES = 10.0  # seconds between two lines that tell how far a pass is
FINDINGS = 2  # the least `verbose` that shows findings above a bar

_inside: ContextVar[bool] = ContextVar("regraft_inside", default=False)


class Display(Protocol):
    """What shows how a call goes."""

    def say(self, line: str) -> None:
        """Take one finding."""

    def progress(self, done: int, total: int) -> None:
        """Take how many pictures are done."""

    def watch(self, event: Event) -> None:
        """Take one epoch."""

    def close(self) -> None:
        """Show no more."""


def shows_progress(what: str = "features") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function with `verbose` and some of `say`, `progress`, `watch` as keywords.

    `verbose` None shows a bar in terminals and notebooks, True shows how it goes in any case, 2 its
    findings too, False nothing. Nothing is shown where one of the callbacks is given, nor by a call
    that another decorated call makes.

    Args:
        what: is counted.
    """

    def decorate(call: Callable[P, R]) -> Callable[P, R]:
        takes = [name for name in CALLBACKS if name in (call.__kwdefaults__ or {})]

        @wraps(call)
        def shown(*args: P.args, **kwargs: P.kwargs) -> R:
            level = _level(kwargs.get("verbose"))
            mark = _inside.get()
            token = _inside.set(True)
            try:
                if mark or not level or any(kwargs.get(name) is not None for name in takes):
                    return call(*args, **kwargs)
                screen = _display(what, level)
                try:
                    kwargs.update({name: getattr(screen, name) for name in takes})
                    return call(*args, **kwargs)
                finally:
                    screen.close()
            finally:
                _inside.reset(token)

        return shown

    return decorate


def _level(verbose: Any) -> int:
    """0 for nothing, 1 for a bar, 2 for findings too.

    Raises:
        OptionError: `verbose` is none of these.
    """
    if verbose is None:
        return int(on_terminal() or in_notebook())
    if not isinstance(verbose, int) or verbose < 0:
        raise OptionError(
            f"verbose must be None, True, False or a number from 0 to 2, got {verbose!r:.40}."
        )
    return int(verbose)


def on_terminal() -> bool:
    """Whether stderr is a terminal; there is none at all in windowed programs."""
    return sys.stderr is not None and sys.stderr.isatty()


def in_notebook() -> bool:
    """Whether a kernel runs this: Jupyter, Colab, an editor's notebook. Nothing is imported."""
    asked = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = asked() if asked else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


def _display(what: str, level: int) -> Display:
    if in_notebook():
        return _Notebook(what, level)
    return _Terminal(what, level) if on_terminal() else _Lines(what)


class _Terminal:
    """A bar on stderr that goes away at the end; below it how training goes."""

    def __init__(self, what: str, level: int) -> None:
        self._what, self._findings = what, level >= FINDINGS
        self._start = time.perf_counter()
        self._open = ExitStack()
        self._shown: tuple[Callable[[int, int], None], Callable[[Event], None]] | None = None

    def _both(self) -> tuple[Callable[[int, int], None], Callable[[Event], None]]:
        if self._shown is None:
            self._shown = self._open.enter_context(moving(self._what))
        return self._shown

    def say(self, line: str) -> None:
        if self._findings:
            say(line)

    def progress(self, done: int, total: int) -> None:
        if self._shown or time.perf_counter() - self._start > DELAY:
            self._both()[0](done, total)

    def watch(self, event: Event) -> None:
        self._both()[1](event)

    def close(self) -> None:
        self._open.close()


class _Notebook:
    """A bar in the output of the cell, which stays as it was last."""

    def __init__(self, what: str, level: int) -> None:
        self._what, self._findings = what, level >= FINDINGS
        self._start = self._last = time.perf_counter()
        self._counts: tuple[int, int] = (0, 0)
        self._curve = Curve()
        self._lines: list[str] = []
        self._handle: Any = None

    def say(self, line: str) -> None:
        if self._findings:
            print(line)

    def progress(self, done: int, total: int) -> None:
        self._counts = (done, total)
        if time.perf_counter() - self._last > (PAUSE if self._handle else DELAY):
            self._draw()

    def watch(self, event: Event) -> None:
        self._curve.add(event)
        held = f"validation loss {self._curve.spark()} {best(self._curve)}"
        self._lines = [line(event), held]
        self._draw()

    def close(self) -> None:
        if self._handle:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import HTML, display

        self._last = time.perf_counter()
        drawn = HTML(self._html())
        if self._handle is None:
            self._handle = display(drawn, display_id=True)
        else:
            self._handle.update(drawn)

    def _html(self) -> str:
        done, total = self._counts
        seconds = self._last - self._start
        bar = f"<progress value='{done}' max='{max(total, 1)}'></progress> {escape(self._what)}"
        rows = [f"{bar} {done:,} of {total:,}, {seconds:.0f} s", *map(escape, self._lines)]
        return "<div>" + "<br>".join(rows) + "</div>"


class _Lines:
    """Plain lines on stderr, for logs: findings, epochs, and now and then how far a pass is."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = time.perf_counter()

    def say(self, line: str) -> None:
        say(line)

    def progress(self, done: int, total: int) -> None:
        now = time.perf_counter()
        if done == total or now - self._last > LINES:
            self._last = now
            say(f"{self._what}: {done:,} of {total:,}")

    def watch(self, event: Event) -> None:
        say(line(event))

    def close(self) -> None:
        return
