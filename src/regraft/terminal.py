"""What reaches a terminal: nothing that steers it, and as much as is wanted.

This is the one door: whatever a line holds, a class name or a column's title of a file from
anywhere, reaches the terminal without characters that steer it or turn the reading order.
"""

from __future__ import annotations

import sys
import time

from regraft.errors import OptionError
from regraft.files import visible

#: How much is printed beside the result, as --quiet and --verbose have it.
_volume = {"quiet": False, "verbose": False}
_start = time.monotonic()


def set_volume(*, quiet: bool = False, verbose: bool = False) -> None:
    """Decide what is printed beside the result.

    Args:
        quiet: nothing but warnings and errors.
        verbose: also when each step began, and regraft's own log.

    Raises:
        OptionError: both are asked for.
    """
    if quiet and verbose:
        raise OptionError("--quiet and --verbose are given; leave one of them out.")
    _volume.update(quiet=quiet, verbose=verbose)


def is_quiet() -> bool:
    """Whether progress and findings are not wanted."""
    return _volume["quiet"]


def is_verbose() -> bool:
    """Whether more than the usual is wanted."""
    return _volume["verbose"]


def clean(text: str) -> str:
    """Text as a terminal may have it: what steers one is spelled out, lines and tabs stay."""
    return "".join(c if c in "\n\t" else visible(c) for c in text)


def echo(line: str = "") -> None:
    """A line of the result, on stdout."""
    print(clean(line))


def say(line: str, *, always: bool = False) -> None:
    """One finding, on stderr; with --quiet only what must be said `always`."""
    if is_quiet() and not always:
        return
    since = f"[{time.monotonic() - _start:7.2f} s] " if is_verbose() else ""
    print(since + clean(line), file=sys.stderr, flush=True)
