"""Threads and allocator of the process, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from regraft.engine.process import settle
import torch
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(40 * 1024 * 1024 // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for allocator in sys.argv[1:]:
    settle(1, allocator)
    for _ in range(4):  # until the heap has found its size
        found = faults()
print(found)
assert torch.get_num_threads() == 1
"""


def faults(*allocators: str) -> int:
    """Pages that five tensors of 40 MB fault in, in a process that was settled so."""
    ran = [sys.executable, "-c", FAULTS, *allocators]
    return int(subprocess.run(ran, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc has these settings")
def test_kept_memory_is_not_faulted_in_again() -> None:
    assert faults("keep") < 100
    assert faults("system", "keep") < 100
    assert faults("system") > 100, "51,200 pages, or 100 large ones"
