"""What the verbs print: results on stdout, findings and progress on stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from regraft.live import advance, bar, percent
from regraft.terminal import clean, echo, is_quiet, is_verbose, say

if TYPE_CHECKING:
    from rich.console import Console

    from regraft.features import Progress


__all__ = ["console", "echo", "percent", "print_json", "progress_bar", "say", "show_warnings"]

#: Columns of a table that no terminal shows.
WIDE = 160


def print_json(value: Any) -> None:
    """`value` as one line on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n")


def console() -> Console:
    """Where tables go: as wide as the terminal; into a file or a pipe wide enough not to wrap."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDE)


class _Stderr:
    """stderr as it is at the moment: a bar that is shown puts a stream of its own in its place."""

    def write(self, text: str) -> int:
        return sys.stderr.write(clean(text))

    def flush(self) -> None:
        sys.stderr.flush()


def show_warnings() -> None:
    """Send regraft's own warnings to stderr, one line each; with --verbose its whole log."""
    log = logging.getLogger("regraft")
    if not log.handlers:
        handler = logging.StreamHandler(_Stderr())
        handler.setFormatter(logging.Formatter("%(called)s: %(message)s"))
        handler.addFilter(_called)
        log.addHandler(handler)
    log.setLevel(logging.DEBUG if is_verbose() else logging.NOTSET)
    if is_verbose():
        say(_versions())


def _called(record: logging.LogRecord) -> bool:
    record.called = record.levelname.lower()
    return True


def _versions() -> str:
    """What runs here, in one line."""
    import platform

    from regraft import __version__
    from regraft.cachedir import cache_dir

    return f"regraft {__version__}, Python {platform.python_version()}, cache {cache_dir()}"


@contextmanager
def progress_bar(what: str) -> Iterator[Progress | None]:
    """A bar with the time left while the block runs, on a terminal only."""
    if is_quiet():
        yield lambda done, total: None
        return
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with bar(what, Console(stderr=True), transient=True) as shown:
        yield advance(shown)
