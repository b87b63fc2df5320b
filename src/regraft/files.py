"""Digests, and writing that happens whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from regraft.errors import CacheError
from regraft.locks import BESIDE, Lock, lock

DIGEST_BYTES = 32
SEAL = "seal.json"
#: Every unfinished file and folder of ours is called so, wherever it lies.
PART, ENDING = ".regraft-", ".part"


def digest(data: bytes | memoryview) -> str:
    """blake2b-256 of `data` in hex: the identity of content everywhere in regraft.

    blake2b and not sha256, because it is the faster one on processors without SHA instructions.
    """
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def digest_file(file: BufferedReader) -> str:
    """The digest of what is left in an open file, read piece by piece."""
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def digest_of(value: Any) -> str:
    """The digest of a JSON-able value, independent of key order."""
    return digest(canonical_json(value))


def canonical_json(value: Any) -> bytes:
    """One spelling for one value: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that becomes `path` when the block ends well.

    Order on disk: write, fsync the file, rename, fsync the folder. On an error nothing is left.
    """
    part, alive = _unfinished(path.parent, folder=False)
    try:
        part.chmod(0o666 & ~umask())
        yield part
        sync(part)
        part.replace(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)
        alive.close()


@contextmanager
def whole_folder(parent: Path) -> Iterator[Path]:
    """A new hidden folder in `parent`, to be filled and given to `put_folder` within the block.

    Whatever the block leaves of it is removed.
    """
    part, alive = _unfinished(parent, folder=True)
    try:
        part.chmod(0o777 & ~umask())
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        alive.close()


def put_folder(part: Path, folder: Path) -> None:
    """Give a filled `part` its name, all of it on disk first: files, `part`, rename, the parent."""
    for path in part.rglob("*"):
        sync(path)
    sync(part)
    part.rename(folder)
    sync(folder.parent)


def _unfinished(parent: Path, *, folder: bool) -> tuple[Path, Lock]:
    """A new file or folder in `parent`, and the lock that says that we are alive.

    What dead processes left in `parent` is removed on the way.
    """
    make = tempfile.mkdtemp if folder else _mkstemp
    for turn in range(100):
        parent.mkdir(parents=True, exist_ok=True)
        sweep(parent)
        try:
            part = Path(make(suffix=ENDING, prefix=PART, dir=parent))
        except FileNotFoundError:  # another process just cleared the cache
            if turn > 9 and parent.exists():  # no: some file systems say so of what they forbid
                raise
            continue
        try:
            alive = lock(part, wait=True)
        except FileNotFoundError:  # and swept this before it was locked
            continue
        except OSError:
            part.rmdir() if folder else part.unlink()
            raise
        if alive is not None:
            return part, alive
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(parent))


def _mkstemp(*, suffix: str, prefix: str, dir: Path) -> str:
    handle, name = tempfile.mkstemp(suffix=suffix, prefix=prefix, dir=dir)
    os.close(handle)
    return name


def sweep(folder: Path) -> int:
    """Remove the unfinished files and folders right in `folder` whose processes have died.

    A living process holds a lock on each of its own, on whichever machine it runs.

    Returns:
        How many were removed.
    """
    swept = 0
    with suppress(OSError):
        for part in [p for p in folder.iterdir() if is_part(p) and p.suffix == ENDING]:
            swept += _sweep(part)
    return swept


def is_part(path: Path) -> bool:
    """Whether `path` is called like our unfinished files, or like what locks one of them."""
    name = path.name.removesuffix(BESIDE)
    return name.startswith(PART) and name.endswith(ENDING)


def _sweep(part: Path) -> bool:
    try:
        dead = lock(part)
    except OSError:
        return False
    if dead is None:
        return False
    try:
        if not dead.sure:
            return False
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
        return not part.exists()
    except OSError:  # not ours to remove
        return False
    finally:
        dead.close()


def hold(folder: Path) -> Lock | None:
    """The lock that says that we are at work in `folder`; None if another process is.

    Closing it, or the end of the process, gives the folder free. Where a disk has no locks nobody
    is at work.
    """
    return lock(folder, follow=True)


def cache_full(folder: Path, needed: float, problem: Exception) -> CacheError:
    """What to say when the cache does not take about `needed` bytes."""
    if _forbidden(problem):
        return CacheError(
            f"the cache {folder} cannot be written ({reason(problem)}); point REGRAFT_CACHE at a "
            "folder where you may write."
        )
    return CacheError(
        f"the cache {folder} cannot take {needed / 1e6:.1f} MB more ({reason(problem)}); make "
        "room, run 'regraft cache clear', or point REGRAFT_CACHE at another disk."
    )


def _forbidden(problem: BaseException) -> bool:
    """Whether something could not be written for another reason than want of room."""
    cause = problem.__cause__ or problem
    forbidden = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
    return getattr(cause, "errno", None) in forbidden


def reason(problem: BaseException) -> str:
    """What the system said, on one line and without the file's name.

    Libraries that write by themselves wrap it in words of their own; the system's come last.
    """
    number = getattr(problem, "errno", None)
    if isinstance(number, int):
        return os.strerror(number)
    return " ".join(str(problem).split()) or type(problem).__name__


def refusal(problem: BaseException, needed: int) -> str:
    """Why something could not be written and what to do: the end of a sentence.

    Args:
        problem: what the system or a library raised.
        needed: bytes that it takes.
    """
    cause = problem.__cause__ or problem
    if _forbidden(problem):
        return f"({reason(cause)}): name another place, where you may write"
    room = f"it needs {needed / 1e6:.2f} MB; make room, or name a place on another disk"
    return f"({reason(cause)}): {room}"


def umask() -> int:
    """What files and folders of this process are not to be allowed.

    The system tells it only by setting it, so it is asked once; only the main thread makes files.
    """
    global _umask
    if _umask is None:
        _umask = os.umask(0o022)
        os.umask(_umask)
    return _umask


_umask: int | None = None


def seal(folder: Path) -> None:
    """Write the digest of every file in `folder` beside them."""
    files = sorted(folder.iterdir())
    sums = {path.name: digest(path.read_bytes()) for path in files}
    (folder / SEAL).write_text(json.dumps(sums))


def is_sealed(folder: Path) -> bool:
    """Whether `folder` holds the very files and bytes that were sealed."""
    try:
        sums = json.loads((folder / SEAL).read_text())
        names = {path.name for path in folder.iterdir()} - {SEAL}
        return names == set(sums) and all(
            digest((folder / name).read_bytes()) == value for name, value in sums.items()
        )
    except (OSError, ValueError, AttributeError):
        return False


def sealed(value: Any) -> bytes:
    """A JSON-able value with its own digest, for `unsealed` to check."""
    return json.dumps({"digest": digest_of(value), "record": value}, indent=1).encode()


def unsealed(data: bytes) -> Any:
    """The value that `sealed` wrote.

    Raises:
        ValueError: the bytes are not what was written.
    """
    try:
        held = json.loads(data)
        if held["digest"] == digest_of(held["record"]):
            return held["record"]
    except (KeyError, TypeError, RecursionError):
        pass
    raise ValueError("the checksum does not match")


def touch(path: Path) -> None:
    """Note that `path` was used now, where it can be written."""
    with suppress(OSError):
        os.utime(path)


def visible(text: str) -> str:
    """`text` on one line, as any terminal or log shows it: control characters spelled out."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with whole_file(path) as part:
        part.write_bytes(data)


def sync(path: Path) -> None:
    """Ask the system to put a file or folder on disk."""
    windows = os.name == "nt"
    if windows and path.is_dir():  # which cannot be opened there, and files only to be written
        return
    handle = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def exchange(part: Path, folder: Path) -> None:
    """Swap a filled `part` with the folder whose place it takes: all or nothing, also at a crash.

    Where the system cannot swap two names in one step there are two renames; `restore` mends what
    a crash between them leaves.
    """
    for path in part.rglob("*"):
        sync(path)
    sync(part)
    if not _swap(part, folder):
        aside = _aside(folder)
        folder.rename(aside)
        part.rename(folder)
        aside.rename(part)
    sync(folder.parent)


def restore(folder: Path) -> None:
    """Give a folder its name back that a crash in `exchange` left without one."""
    aside = _aside(folder)
    if aside.is_dir() and not folder.exists():
        aside.rename(folder)
    elif aside.is_dir():
        shutil.rmtree(aside, ignore_errors=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.regraft-before")


def _swap(one: Path, other: Path) -> bool:
    """Swap two names in one step (Linux); False where the system or the disk cannot."""
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))
