"""Disks that fail: the k-th call that writes raises, and a log of what reached the disk in order.

The calls are patched where Python makes them (`os`, `io.open`); the code and the files are real.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

#: Functions of `os` that change something on disk, or open to do so.
CALLS = ("open", "fsync", "rename", "replace", "mkdir", "link", "symlink")


class Disk:
    """What was asked of the disk below one folder, and the call that fails.

    Attributes:
        log: (call, path) of every call that got through, in order.
        count: of the calls so far, failed ones too.
        fail_at: the number of the call that fails, from 1; 0 for none.
        error: what it fails with.
    """

    def __init__(self, below: Path, fail_at: int = 0, error: int = errno.ENOSPC) -> None:
        self.below = str(below)
        self.fail_at, self.error = fail_at, error
        self.count = 0
        self.log: list[tuple[str, str]] = []
        self.names: dict[int, str] = {}

    def call(self, kind: str, path: Any) -> None:
        """Note a call, or fail it."""
        name = self.names.get(path, "") if isinstance(path, int) else os.fsdecode(path)
        if not name.startswith(self.below):
            return
        self.count += 1
        if self.count == self.fail_at:
            raise OSError(self.error, os.strerror(self.error), name)
        self.log.append((kind, name))


class Watched(io.FileIO):
    """A file whose every write is a call."""

    disk: Disk

    def write(self, data: Any) -> int:
        self.disk.call("write", self.name)
        return super().write(data)


@contextmanager
def failing(disk: Disk) -> Iterator[Disk]:
    """Let every call below the folder of `disk` go through it while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, _through(disk, name, getattr(os, name)))
        opened = _opened(disk, io.open)
        for module in (io, builtins):
            patch.setattr(module, "open", opened)
        yield disk


def _through(disk: Disk, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, *rest: Any, **how: Any) -> Any:
        flags = rest[0] if kind == "open" and rest else os.O_WRONLY
        writes = kind != "open" or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes:
            target = rest[0] if kind in ("rename", "replace", "link", "symlink") else path
            disk.call("create" if kind == "open" else kind, target)
        made = real(path, *rest, **how)
        if kind == "open":
            disk.names[made] = os.fsdecode(path)
        return made

    return call


def _opened(disk: Disk, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(file: Any, mode: str = "r", *rest: Any, **how: Any) -> Any:
        below = not isinstance(file, int) and os.fsdecode(file).startswith(disk.below)
        if not below or not set(mode) & set("wax+"):
            return real(file, mode, *rest, **how)
        disk.call("create", file)
        raw = Watched(os.fsdecode(file), mode.replace("t", "").replace("b", ""))
        raw.disk = disk
        out: Any = io.BufferedWriter(raw)
        if "b" not in mode:
            how.pop("buffering", None)
            out = io.TextIOWrapper(out, encoding=how.get("encoding"), newline=how.get("newline"))
        return out

    return call
