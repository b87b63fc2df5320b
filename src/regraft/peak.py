"""The most memory that the process holds while something runs."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RUN, PROCESS = "run", "process"


def begin() -> bool:
    """Begin to count anew; False where the system does not let us.

    What is free already is given back first: an arm should not pay for what another one held.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    if sys.platform != "linux":
        return False
    try:
        CLEAR.write_text("5")  # sets VmHWM to what is resident now, see proc_pid_clear_refs(5)
    except OSError:
        return False
    return True


def resident() -> int:
    """The bytes that the process holds now; 0 where nobody counts them."""
    return _status("VmRSS:") or 0


def peak(counted: bool) -> tuple[int | None, str]:
    """The most bytes since `begin`, and of what: `RUN`, or `PROCESS` since it was started.

    Args:
        counted: what `begin` said.
    """
    if counted and (found := _status("VmHWM:")):
        return found, RUN
    return whole() or None, PROCESS


def whole() -> int:
    """The most memory that this process has held so far, in bytes; 0 where nobody counts it."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int | None:
    """A line of the process's status, in bytes."""
    with suppress(OSError, ValueError, IndexError):
        for line in STATUS.read_text().splitlines():
            if line.startswith(name):
                return 1024 * int(line.split()[1])
    return None
