"""Where a link in the data may lead: into the folder that the user named, or a hub cache's blobs.

The Hugging Face hub keeps `<repo>/snapshots/<commit>/…/x.png -> <repo>/blobs/<digest>`. Any other
link that leads out is named and not opened. Links are resolved once, when files are listed, and
what is read afterwards is the resolved path.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

OUT = "a link that leads out of the folder, not followed: copy the folder with 'cp -rL'"
BROKEN = "a link to nothing, not followed"
LOOP = "a link to a folder that holds it, not followed"
AGAIN = "a link to a folder that was followed before, not followed again"
NESTED = "a link to a folder below another link, not followed"


@dataclass(frozen=True)
class Bounds:
    """Where links may lead.

    Attributes:
        root: the folder that was named, without links.
        blobs: where a hub's cache keeps the files of this folder, None if it is in no such cache.
    """

    root: Path
    blobs: Path | None = None

    @classmethod
    def of(cls, root: Path) -> Bounds:
        """The bounds of a folder that a user named. Raises OSError if it is not there."""
        real = root.resolve(strict=True)
        return cls(real, _blobs(real))

    def holds(self, real: Path) -> bool:
        """Whether a path without links lies within."""
        if real.is_relative_to(self.root):
            return True
        return self.blobs is not None and real.parent == self.blobs

    def target(self, link: Path) -> tuple[Path | None, str]:
        """(the file or folder that `link` stands for, without links; None and why not)."""
        try:
            real = Path(os.path.realpath(link, strict=True))
        except (OSError, ValueError, RuntimeError):
            return None, BROKEN
        return (real, "") if self.holds(real) else (None, OUT)


def mode_of(real: Path) -> int:
    """The `st_mode` of a resolved path; that of a link if one took its place meanwhile."""
    try:
        return os.lstat(real).st_mode
    except OSError:
        return stat.S_IFLNK


def _blobs(real: Path) -> Path | None:
    """The blobs of the hub's repository in which `real` is a snapshot or lies below one."""
    for folder in (real, *real.parents):
        if folder.parent.name == "snapshots":
            blobs = folder.parent.parent / "blobs"
            repository = folder.parent.parent.name
            known = repository.startswith(("datasets--", "models--", "spaces--"))
            return blobs if known and stat.S_ISDIR(mode_of(blobs)) else None
    return None
