"""Numbers of bytes as people read them."""

from __future__ import annotations

UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def told(count: float) -> str:
    """Bytes in the largest unit of which there is one: '2.3 GB', '543.2 MB', '17.5 kB', '12 B'."""
    for unit, size in UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
