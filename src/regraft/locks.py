"""Locks that end with the process that holds them: whoever holds one is alive.

Where the system can lock an open file or folder itself (Linux, macOS, other Unix), that is what is
locked. Elsewhere (Windows) the package filelock locks a file beside it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None  # type: ignore[assignment]

BESIDE = ".lock"
#: Not on every system; 0 changes nothing.
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
BINARY = getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Lock:
    """A lock that is held.

    Attributes:
        sure: whether another process would notice it: False on a disk that has no locks.
        close: gives it free.
    """

    sure: bool
    close: Callable[[], None]


def lock(path: Path, *, wait: bool = False, follow: bool = False) -> Lock | None:
    """Lock a file or folder; None if another process holds it.

    Args:
        path: what to lock; it must exist.
        wait: until whoever holds it gives it free.
        follow: a link to the folder it leads to.

    Raises:
        FileNotFoundError: it is not there, or another process took it away meanwhile.
        OSError: it cannot be opened.
    """
    return _itself(path, wait, follow) if fcntl else _beside(path, wait)


def is_lock(path: Path) -> bool:
    """Whether `path` is called like the file that is locked where nothing else can be."""
    return path.name.endswith(BESIDE)


def _itself(path: Path, wait: bool, follow: bool) -> Lock | None:
    handle = os.open(path, os.O_RDONLY | (0 if follow else NO_FOLLOW))
    try:
        sure = _flock(handle, wait)
        if sure is not None and not os.path.samestat(path.stat(), os.fstat(handle)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    except OSError:
        os.close(handle)
        raise
    if sure is None:
        os.close(handle)
        return None
    return Lock(sure, partial(os.close, handle))


def _flock(handle: int, wait: bool) -> bool | None:
    """Whether the handle is locked now; None if another holds it, False if nothing can be."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return None
    except OSError:
        return False
    return True


def _beside(path: Path, wait: bool) -> Lock | None:
    from filelock import FileLock, Timeout

    file = path.with_name(path.name + BESIDE)
    held = FileLock(file)
    try:
        held.acquire(timeout=-1 if wait else 0)
    except Timeout:
        return None

    def close() -> None:
        held.release()
        with suppress(OSError):
            file.unlink(missing_ok=True)

    if not path.exists():
        close()
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return Lock(True, close)
