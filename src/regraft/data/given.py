"""Pictures that a program hands over one by one, as examples: paths, or pixels in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.dataset import Example, Skipped
from regraft.data.listing import unusable
from regraft.data.memory import in_memory, is_picture
from regraft.data.walk import readable
from regraft.errors import DataError
from regraft.files import visible

MOST_NAMED = 3  # files that an error names


def given(pictures: Any) -> tuple[Example, ...]:
    """One example per picture, in the order given; the same one may come twice.

    Args:
        pictures: N paths, bytes, Pillow images or (H, W, 3) uint8 arrays, mixed as you like: a
            list, an array (N,), (N, 1) or (N, H, W, 3), a column of a table.

    Raises:
        DataError: one path for a list of them, no picture at all, an entry that is none of these,
            or a path that is missing or no plain file.
    """
    if isinstance(pictures, str | os.PathLike):
        raise DataError(f"pictures must be a list, got one path {os.fspath(pictures)!r:.80}.")
    items = pictures if isinstance(pictures, list | tuple) else np.atleast_1d(np.asarray(pictures))
    if not len(items):
        raise DataError("pictures must name at least one file, found 0 sample(s).")
    examples = tuple(_example(item, number) for number, item in enumerate(items))
    paths = ((e.id, e.source) for e in examples if isinstance(e.source, Path))
    refuse_any((Skipped(name, why) for name, path in paths if (why := unusable(path))), len(items))
    return examples


def refuse_any(skipped: Iterable[Skipped], n: int) -> None:
    """Refuse files that cannot be read where every one of `n` must have its answer.

    Raises:
        DataError: there is one; the first few are named with their reasons.
    """
    bad = list(skipped)
    if bad:
        told = ", ".join(f"'{visible(one.file)}' ({one.reason})" for one in bad[:MOST_NAMED])
        more = ", …" if len(bad) > MOST_NAMED else ""
        raise DataError(
            f"{len(bad)} of {n} pictures cannot be read: {told}{more}; leave them out, and their "
            "labels with them, for every row must have its answer."
        )


def _example(item: Any, number: int) -> Example:
    if isinstance(item, np.ndarray) and item.shape == (1,):  # a column of a table
        item = item[0]
    if isinstance(item, str | os.PathLike):
        path = Path(os.fsdecode(item)).expanduser()
        return Example(readable(path.as_posix()), path)
    if is_picture(item) and (not isinstance(item, np.ndarray) or _is_one(item)):
        sources = in_memory(item, f"row {number}") or ()
        if len(sources) == 1:
            return Example(f"picture {number}", sources[0])
    shape = f" of shape {item.shape} and type {item.dtype}" if isinstance(item, np.ndarray) else ""
    raise DataError(
        f"pictures must be paths, bytes, Pillow images or (H, W, 3) uint8 pixels, row {number} is "
        f"{type(item).__name__}{shape}; rows of features need backbone=None."
    )


def _is_one(pixels: NDArray[Any]) -> bool:
    """Whether these may be the pixels of one picture, and no row of features."""
    return pixels.dtype == np.uint8 and pixels.shape[2:] in ((1,), (3,), (4,))
