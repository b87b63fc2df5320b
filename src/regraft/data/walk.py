"""Walking a folder without being led astray: no link is followed out, nothing odd is opened."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from regraft.data.dataset import Skipped
from regraft.data.links import AGAIN, LOOP, NESTED, Bounds, mode_of
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
        files: (parts of the path below the root, path) of what may be an image; the path of a
            linked one is what the link stands for.
        skipped: looks like an image or a folder of them, but cannot be used.
        ignored: how many entries are no images; a hidden folder counts once.
        empty: folders of the first two levels that hold no image at all, by name.
        suffixes: how often each other suffix was seen, for error messages.
        links: links to folders that are not followed: (parts below the root, why not).
    """

    files: list[tuple[tuple[str, ...], Path]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    ignored: int = 0
    empty: list[str] = field(default_factory=list)
    suffixes: Counter[str] = field(default_factory=Counter)
    links: list[tuple[tuple[str, ...], str]] = field(default_factory=list)


def readable(name: str) -> str:
    r"""A file name as text that JSON can hold: bytes that are not UTF-8 become `\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_litter(name: str) -> bool:
    """Whether an entry of this name is left behind by tools and no part of the data."""
    return name.startswith((".", "._")) or name.lower() in LITTER


def walk(root: Path) -> Found:
    """Everything below `root`, depth first.

    Links are followed to files and folders below `root` and into the blobs of a hub's cache; those
    that lead elsewhere are reported. A linked folder is followed once, and no link to a folder
    below it, so that links in a circle come to an end.

    Raises:
        OSError: `root` itself cannot be listed.
    """
    walker = _Walker(Bounds.of(root))
    with os.scandir(root) as first:
        walker.below([((entry.name,), entry) for entry in first])
    walker.linked_folders()
    found = walker.found
    found.empty = sorted(
        "/".join(map(readable, parts)) for parts in walker.folders - walker.with_images
    )
    return found


_Todo = list[tuple[tuple[str, ...], os.DirEntry[str]]]


class _Walker:
    """What was seen so far."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.found = Found()
        self.folders: set[tuple[str, ...]] = set()
        self.with_images: set[tuple[str, ...]] = set()
        self.links: list[tuple[tuple[str, ...], Path, Path]] = []  # to folders within the bounds

    def below(self, todo: _Todo) -> None:
        """Take in these entries and all below them."""
        while todo:
            parts, entry = todo.pop()
            if is_litter(entry.name):
                self._litter(parts)
            elif entry.is_dir(follow_symlinks=False):
                self.folders.add(parts[:2])
                todo.extend(self._inside(parts, Path(entry.path)))
            elif entry.is_symlink():
                self._link(parts, Path(entry.path))
            else:
                plain = entry.is_file(follow_symlinks=False)
                self._file(parts, Path(entry.path), plain=plain)

    def linked_folders(self) -> None:
        """Follow the links to folders, in the order of their names."""
        todo, self.links = sorted(self.links), []
        followed: set[Path] = set()
        for parts, link, real in todo:
            if Path(os.path.realpath(link.parent)).is_relative_to(real):
                self._skip_folder(parts, LOOP)
            elif real in followed:
                self._skip_folder(parts, AGAIN)
            elif stat.S_ISDIR(mode_of(real)):
                followed.add(real)
                self.folders.add(parts[:2])
                self.below(self._inside(parts, real))
        for parts, _, _ in sorted(self.links):
            self._skip_folder(parts, NESTED)

    def _inside(self, parts: tuple[str, ...], folder: Path) -> _Todo:
        try:
            with os.scandir(folder) as inside:
                return [((*parts, below.name), below) for below in inside]
        except OSError as problem:
            self.found.skipped.append(Skipped(f"{_name(parts)}/", _why(problem)))
            return []

    def _litter(self, parts: tuple[str, ...]) -> None:
        name = parts[-1]
        if name.startswith("..") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
            self.found.skipped.append(Skipped(_name(parts), "a hidden file: its name is all dots"))
        else:
            self.found.ignored += 1

    def _link(self, parts: tuple[str, ...], link: Path) -> None:
        suffix = link.suffix.lower()
        real, why = self.bounds.target(link)
        if real is None:
            if link.is_dir():
                self._skip_folder(parts, why)
            elif suffix in IMAGE_SUFFIXES or not suffix:
                self.found.skipped.append(Skipped(_name(parts), why))
            else:
                self._other(suffix)
        elif stat.S_ISDIR(mode_of(real)):
            self.links.append((parts, link, real))
        else:
            self._file(parts, real, plain=False)

    def _skip_folder(self, parts: tuple[str, ...], why: str) -> None:
        self.found.links.append((parts, why))
        self.found.skipped.append(Skipped(_name(parts), why))

    def _file(self, parts: tuple[str, ...], path: Path, *, plain: bool) -> None:
        """Take in what is no folder and no link; `plain` if it is known to be a plain file."""
        suffix = Path(parts[-1]).suffix.lower()
        reason = "" if plain else not_plain(mode_of(path))
        if suffix not in IMAGE_SUFFIXES and (suffix or reason or not looks_like_image(path)):
            self._other(suffix)
        elif reason:
            self.found.skipped.append(Skipped(_name(parts), reason))
        else:
            self.with_images |= {parts[:1], parts[:2]}
            self.found.files.append((parts, path))

    def _other(self, suffix: str) -> None:
        self.found.ignored += 1
        self.found.suffixes[suffix or "(no suffix)"] += 1


def _name(parts: tuple[str, ...]) -> str:
    return "/".join(map(readable, parts))


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


def _why(problem: OSError) -> str:
    return f"cannot be listed: {problem.strerror or problem}"
