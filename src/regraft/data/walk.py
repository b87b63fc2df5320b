"""Walking a folder without being led astray: no link is followed, nothing odd is opened."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from regraft.data.dataset import Skipped
from regraft.locks import BINARY, NO_FOLLOW, NO_WAIT

# What an image file may be called. Some of these kinds cannot be decoded (HEIC, SVG, …): they are
# listed all the same, so that they are reported with their reason and not passed over in silence.
_SUFFIXES = (
    "jpg jpeg jpe jfif mpo png apng gif bmp dib tif tiff webp ppm pgm pbm pnm avif "
    "heic heif jp2 j2k jxl svg psd tga ico"
)
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "lost+found"})
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"RIFF", b"II*\x00", b"MM\x00*", b"BM")


@dataclass
class Found:
    """What lies below a folder. Every file is in exactly one of the first three.

    Attributes:
        files: (parts of the path below the root, path) of what may be an image.
        skipped: looks like an image or a folder of them, but cannot be used.
        ignored: how many entries are no images; a hidden folder counts once.
        empty: folders of the first two levels that hold no image at all, by name.
        suffixes: how often each other suffix was seen, for error messages.
    """

    files: list[tuple[tuple[str, ...], Path]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    ignored: int = 0
    empty: list[str] = field(default_factory=list)
    suffixes: Counter[str] = field(default_factory=Counter)


def readable(name: str) -> str:
    r"""A file name as text that JSON can hold: bytes that are not UTF-8 become `\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_litter(name: str) -> bool:
    """Whether an entry of this name is left behind by tools and no part of the data."""
    return name.startswith((".", "._")) or name.lower() in LITTER


def walk(root: Path) -> Found:
    """Everything below `root`, depth first; entries that are links are reported, not followed.

    Raises:
        OSError: `root` itself cannot be listed.
    """
    found = Found()
    with os.scandir(root) as first:
        todo: list[tuple[tuple[str, ...], os.DirEntry[str]]]
        todo = [((entry.name,), entry) for entry in first]
    folders: set[tuple[str, ...]] = set()
    with_images: set[tuple[str, ...]] = set()
    while todo:
        parts, entry = todo.pop()
        name = "/".join(map(readable, parts))
        if is_litter(entry.name):
            found.ignored += 1
        elif entry.is_dir(follow_symlinks=False):
            folders.add(parts[:2])
            try:
                with os.scandir(entry.path) as inside:
                    todo.extend(((*parts, below.name), below) for below in inside)
            except OSError as problem:
                found.skipped.append(Skipped(f"{name}/", _why(problem)))
        elif not _may_be_image(entry):
            found.ignored += 1
            found.suffixes[Path(entry.name).suffix.lower() or "(no suffix)"] += 1
        elif reason := not_plain(os.lstat(entry.path).st_mode) if _odd(entry) else "":
            found.skipped.append(Skipped(name, reason))
        else:
            with_images |= {parts[:1], parts[:2]}
            found.files.append((parts, Path(entry.path)))
    found.empty = sorted("/".join(map(readable, parts)) for parts in folders - with_images)
    return found


def not_plain(mode: int) -> str:
    """Why something with this `st_mode` is not opened; empty for a plain file."""
    if stat.S_ISREG(mode):
        return ""
    for test, reason in (
        (stat.S_ISLNK, "a link, not followed"),
        (stat.S_ISDIR, "a folder, not a file"),
        (stat.S_ISFIFO, "a pipe, not a file"),
        (stat.S_ISSOCK, "a socket, not a file"),
    ):
        if test(mode):
            return reason
    return "a device, not a file"


def looks_like_image(path: Path) -> bool:
    """Whether a plain file without a suffix starts as an image does."""
    try:
        # The type was checked, but might have changed since: never wait for a pipe.
        handle = os.open(path, os.O_RDONLY | NO_FOLLOW | NO_WAIT | BINARY)
    except OSError:
        return False
    try:
        return os.read(handle, 8).startswith(_MAGIC)
    except OSError:
        return False
    finally:
        os.close(handle)


def _odd(entry: os.DirEntry[str]) -> bool:
    return not entry.is_file(follow_symlinks=False)


def _may_be_image(entry: os.DirEntry[str]) -> bool:
    suffix = Path(entry.name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    if entry.is_symlink():  # a link to a folder may stand for a class: say that it is not followed
        return not suffix or Path(entry.path).is_dir()
    return not suffix and not _odd(entry) and looks_like_image(Path(entry.path))


def _why(problem: OSError) -> str:
    return f"cannot be listed: {problem.strerror or problem}"
