"""Where things lie, and writing that happens whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

DIGEST_BYTES = 32
SEAL = "seal.json"


def cache_dir() -> Path:
    """The cache folder: `REGRAFT_CACHE`, else `regraft` in the user's cache folder."""
    named = os.environ.get("REGRAFT_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "regraft"


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
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        part.chmod(0o666 & ~umask())
        yield part
        sync(part)
        part.replace(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def fresh_folder(parent: Path) -> Path:
    """A new hidden folder in `parent`, to be filled and then renamed to its place."""
    parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".part-", dir=parent))
    made.chmod(0o777 & ~umask())
    return made


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
    """Write the digest of every file in `folder` beside them, and all of it to disk."""
    files = sorted(folder.iterdir())
    sums = {path.name: digest(path.read_bytes()) for path in files}
    (folder / SEAL).write_text(json.dumps(sums))
    for path in (*files, folder / SEAL):
        sync(path)


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
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
