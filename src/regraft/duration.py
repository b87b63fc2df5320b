"""Spans of time as people write them: '90s', '10m', '1h30m' to seconds and back."""

from __future__ import annotations

import math
import re

from regraft.errors import OptionError

SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
#: Longest first; a number without a unit is in seconds.
_SPELLED = re.compile(
    "".join(rf"(?:(?P<{unit}>\d+(?:\.\d+)?){unit})?" for unit in SECONDS), re.ASCII
)
_PLAIN = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


def seconds_of(text: str, option: str = "--budget") -> float:
    """The seconds of a span such as '90s', '10m', '1h', '1h30m' or '2.5h'; '90' is 90 seconds.

    Args:
        text: units from long to short, each once: d, h, m or min, s; spaces and capitals do not
            matter.
        option: what to call it in the error.

    Raises:
        OptionError: it is spelled otherwise, or is not above 0.
    """
    plain = "".join(text.split()).lower().replace("min", "m")
    found = _SPELLED.fullmatch(plain) if plain else None
    if _PLAIN.fullmatch(plain):
        total = float(plain)
    elif found:
        total = sum(float(n) * SECONDS[unit] for unit, n in found.groupdict().items() if n)
    else:
        total = 0.0
    if not 0 < total < math.inf:
        raise OptionError(
            f"{option} must be a span of time above 0 such as 90s, 10m or 1h30m, got '{text:.40}'."
        )
    return total


def told(seconds: float) -> str:
    """A span of time as a person reads it: '0.4 s', '12 s', '2 min 5 s', '1 h 30 min', '2 d 3 h'.

    Two units at most, rounded to the smaller of them.
    """
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 3570:
        return _two(seconds, 60, "min", 1, "s")
    if seconds < 86400 - 30:
        return _two(seconds, 3600, "h", 60, "min")
    return _two(seconds, 86400, "d", 3600, "h")


def _two(seconds: float, large: int, name: str, small: int, smaller: str) -> str:
    whole, rest = divmod(round(seconds / small), large // small)
    return f"{whole} {name} {rest} {smaller}" if rest else f"{whole} {name}"


def typed(seconds: float) -> str:
    """The next longer span that an option takes without quotes: '38s', '5m', '3h'."""
    if seconds <= 120:
        return f"{max(math.ceil(seconds), 1)}s"
    return f"{math.ceil(seconds / 60)}m" if seconds <= 7200 else f"{math.ceil(seconds / 3600)}h"
