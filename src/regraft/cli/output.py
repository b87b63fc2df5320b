"""What the verbs print: results on stdout, findings and progress on stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from regraft.live import advance, bar, percent, say

if TYPE_CHECKING:
    from rich.console import Console

    from regraft.features import Progress

__all__ = ["console", "percent", "print_json", "progress_bar", "say", "show_warnings"]

#: Columns of a table that no terminal shows.
WIDE = 160


def print_json(value: Any) -> None:
    """`value` as one line on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n")


def console() -> Console:
    """Where tables go: as wide as the terminal; into a file or a pipe wide enough not to wrap."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDE)


def show_warnings() -> None:
    """Send regraft's own warnings to stderr, one line each."""
    log = logging.getLogger("regraft")
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("warning: %(message)s"))
        log.addHandler(handler)


@contextmanager
def progress_bar(what: str) -> Iterator[Progress | None]:
    """A bar with the time left while the block runs, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with bar(what, Console(stderr=True), transient=True) as shown:
        yield advance(shown)
