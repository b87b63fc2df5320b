"""A batch that does not fit is computed in parts; what is learned from it stays the same."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from regraft.errors import TrainingError

log = logging.getLogger("regraft")

T = TypeVar("T")
#: What torch's allocators and oneDNN say in a RuntimeError that stands for too little memory.
PHRASES = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc")


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(problem, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(problem, RuntimeError) and any(p in str(problem) for p in PHRASES)


def fit_in_memory(
    attempt: Callable[[int], T],
    parts: int,
    rows: int,
    tell: Callable[[str], None] | None = None,
) -> tuple[T, int]:
    """What `attempt(parts)` gives, in twice as many parts each time that memory runs out.

    The batch itself stays as large as it was asked for: its gradient is added up from the parts.

    Args:
        attempt: forward and backward of a batch in so many parts. It is called afresh after a
            failure, so it begins by clearing the gradients and seeding torch.
        parts: to begin with.
        rows: of the batch.
        tell: gets one sentence when the number of parts changes; a warning is logged if None.

    Returns:
        The result, and in how many parts it came about: to begin with next time.

    Raises:
        TrainingError: not even one row at a time fits.
    """
    while True:
        try:
            return attempt(parts), parts
        except (MemoryError, RuntimeError) as problem:
            if not is_out_of_memory(problem):
                raise
            wanted = str(problem).split("\n")[0]
        # Outside the handler: the error holds the frames, and these hold the tensors.
        _let_go()
        if parts >= rows:
            raise TrainingError(
                f"memory ran out with one row at a time ({wanted}): train from a higher cut, set "
                "checkpoint = true, or use smaller pictures."
            )
        parts = min(2 * parts, rows)
        (tell or _warn)(
            f"memory ran out: batches of {rows} rows are now computed in {parts} parts of at most "
            f"{-(-rows // parts)} rows; what is learned from a batch stays the same."
        )


def _let_go() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _warn(sentence: str) -> None:
    log.warning(sentence)
