"""A batch that does not fit is computed in parts."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from regraft.errors import TrainingError
from regraft.train.memory import fit_in_memory, is_out_of_memory
from tests.train.nets import batch, convolutions

ROWS = 16
TOO_MUCH = 2**62 // 8  # float64 numbers that no machine has room for


def gradients(net: nn.Module, parts: int) -> list[torch.Tensor]:
    """Of a batch's mean loss, computed in so many parts."""
    net.zero_grad()
    x, labels = batch(rows=ROWS)
    for piece, own in zip(x.chunk(parts), labels.chunk(parts), strict=True):
        loss = nn.functional.cross_entropy(net(piece), own)
        torch.autograd.backward(loss * (len(own) / ROWS))
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


def hungry(net: nn.Module, most: int, asked: list[int]) -> list[torch.Tensor]:
    """The same, but parts of more rows than `most` ask torch for memory that is not there."""

    def attempt(parts: int) -> list[torch.Tensor]:
        asked.append(parts)
        if ROWS / parts > most:
            torch.empty(TOO_MUCH, dtype=torch.float64)
        return gradients(net, parts)

    found, parts = fit_in_memory(attempt, 1, ROWS)
    assert parts == asked[-1]
    return found


def test_a_batch_in_parts_has_the_gradient_of_the_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    net, asked = convolutions().eval(), list[int]()
    whole = gradients(net, 1)
    for a, b in zip(whole, hungry(net, 3, asked), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert asked == [1, 2, 4, 8]
    assert "batches of 16 rows are now computed in 8 parts of at most 2 rows" in caplog.text


def test_what_fits_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert fit_in_memory(lambda parts: f"in {parts}", 4, ROWS) == ("in 4", 4)
    assert not caplog.records


def test_more_parts_than_rows_are_not_tried() -> None:
    asked: list[int] = []
    with pytest.raises(TrainingError, match=r"one row at a time .*allocate memory.*checkpoint"):
        hungry(convolutions().eval(), 0, asked)
    assert asked == [1, 2, 4, 8, 16]
    told: list[str] = []

    def attempt(parts: int) -> int:
        if parts < 6:
            raise MemoryError
        return parts

    assert fit_in_memory(attempt, 4, 6, told.append) == (6, 6)
    assert len(told) == 1


def test_other_errors_pass() -> None:
    def attempt(parts: int) -> None:
        torch.ones(2, 3) @ torch.ones(2, 3)

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fit_in_memory(attempt, 1, ROWS)


def test_what_means_that_memory_ran_out() -> None:
    with pytest.raises(RuntimeError) as found:
        torch.empty(TOO_MUCH, dtype=torch.float64)
    assert is_out_of_memory(found.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA"))
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


STEP = """
import resource, sys
import torch
from torch import nn
from regraft.train.memory import fit_in_memory

torch.set_num_threads(1)
torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 4),
)
x, labels = torch.randn(32, 3, 64, 64), torch.arange(32) % 4

def attempt(parts):
    net.zero_grad()
    for piece, own in zip(x.chunk(parts), labels.chunk(parts)):
        loss = nn.functional.cross_entropy(net(piece), own)
        (loss * (len(own) / 32)).backward()
    return [p.grad.clone() for p in net.parameters()]

warm = attempt(32)  # threads and kernels are there before the limit
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
everything = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (size + 80 * 2**20, everything[1]))
found, parts = fit_in_memory(attempt, 1, 32, lambda text: print(text, file=sys.stderr))
resource.setrlimit(resource.RLIMIT_AS, everything)  # what compares loads modules of its own
for a, b in zip(warm, found):
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
print(parts)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is of Linux")
def test_a_process_that_is_short_of_memory_goes_on_in_parts() -> None:
    """32 rows need more than 130 MB for the way back, and 80 MB is all there is."""
    done = subprocess.run(
        [sys.executable, "-c", STEP], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) in (4, 8, 16)
    assert "memory ran out: batches of 32 rows are now computed in" in done.stderr
