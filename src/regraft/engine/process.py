"""Settings of the process that eager torch on a CPU needs; measured, see docs/benchmarks.md."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4
_MIB = 1024 * 1024
#: What glibc is told. 'system' is where its own rules end up after some large tensors were freed.
ALLOCATORS = {
    "keep": {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1, _M_TOP_PAD: 256 * _MIB},
    "system": {
        _M_MMAP_MAX: 65536,
        _M_MMAP_THRESHOLD: 32 * _MIB,
        _M_TRIM_THRESHOLD: 64 * _MIB,
        _M_TOP_PAD: 128 * 1024,
    },
}
_settled = ""


def settle(threads: int, allocator: str = "keep") -> None:
    """Keep freed memory instead of faulting it in again, and let idle threads sleep.

    glibc hands large tensors back to the system at every free and pays for each page again;
    OpenMP's spinning threads collapse when another process wants a core. Both hold for the process.

    Args:
        threads: of torch.
        allocator: 'keep' what is freed; 'system' gives it back, as glibc does of itself.
    """
    global _settled
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    torch.set_num_threads(threads)
    if _settled == allocator or sys.platform != "linux":
        return
    try:
        library = ctypes.CDLL("libc.so.6")
        for parameter, value in ALLOCATORS[allocator].items():
            library.mallopt(parameter, value)
        if _settled:
            library.malloc_trim(0)  # what was kept so far
    except (OSError, AttributeError):  # another C library, e.g. musl: nothing to set
        return
    _settled = allocator


@contextmanager
def settling(threads: int) -> Iterator[None]:
    """`settle` before the block, and after it whatever it settled meanwhile."""
    settle(threads)
    try:
        yield
    finally:
        settle(threads)
