"""Settings of the process that eager torch on a CPU needs; measured, see docs/benchmarks.md."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_settled = False


def settle(threads: int) -> None:
    """Keep freed memory instead of faulting it in again, and let idle threads sleep.

    glibc hands large tensors back to the system at every free and pays for each page again;
    OpenMP's spinning threads collapse when another process wants a core. Done once a process.
    """
    global _settled
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    torch.set_num_threads(threads)
    if _settled or sys.platform != "linux":
        return
    _settled = True
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except OSError:  # another C library, e.g. musl: nothing to set
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
    mallopt(_M_TOP_PAD, 256 * 1024 * 1024)
