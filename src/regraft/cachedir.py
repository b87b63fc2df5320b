"""The cache folder, and a temporary one where nothing may be written."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from regraft.errors import CacheError

log = logging.getLogger("regraft")

#: All that regraft keeps in the cache folder; nothing else in there is ever touched.
FOLDERS = ("activations", "backbones", "precision", "rates", "similarity", "trunks")

_temporary: dict[Path, Path] = {}


def cache_dir() -> Path:
    """The cache folder: `REGRAFT_CACHE`, else `regraft` in the user's cache folder.

    Where it cannot be written (a read-only container, a home that does not exist), a temporary one
    that ends with the process; a warning says so once. What the other one holds is used from there.

    Raises:
        CacheError: there is no place for temporary files either.
    """
    named = named_dir()
    if is_writable(named):
        return named
    if named not in _temporary:
        _temporary[named] = _replacement(named)
    return _temporary[named]


def named_dir() -> Path:
    """The cache folder that was asked for, whether or not it can be written."""
    named = os.environ.get("REGRAFT_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with suppress(RuntimeError):  # a user without a home
        return Path(base).expanduser() / "regraft"
    return Path(os.sep) / "regraft"


def is_writable(folder: Path) -> bool:
    """Whether files can be made in `folder`, or the folder itself where it is not there yet."""
    for place in (folder, *folder.absolute().parents):
        if os.path.lexists(place):
            return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    return False


def _replacement(named: Path) -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix="regraft-cache-"))
    except OSError as problem:
        raise CacheError(
            f"the cache {named} cannot be written, nor can any folder for temporary files; name "
            "one where you may write: REGRAFT_CACHE for the cache, or TMPDIR."
        ) from problem
    log.warning(
        "the cache %s cannot be written: what is computed is kept only while this process lasts; "
        "set REGRAFT_CACHE to a folder where you may write",
        named,
    )
    atexit.register(_remove, folder, os.getpid())
    for name in FOLDERS:
        with suppress(OSError, shutil.Error):
            shutil.copytree(named / name, folder / name, copy_function=_link)
    return folder


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(Path(source).absolute())


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # and not in a process that was forked from it
        shutil.rmtree(folder, ignore_errors=True)
