"""What an audit found, as plain data: for JSON, for people, and for what comes after it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from regraft.data.dataset import Skipped
from regraft.errors import DataError
from regraft.files import visible

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The share of unusable files above which data are refused.
MOST_BAD = 0.5
EXACT, NEAR, GROUP = "exact", "near", "group"
#: How each kind is told.
SAYS = {EXACT: "a copy", NEAR: "nearly a copy", GROUP: "in the same group"}


@dataclass(frozen=True)
class Duplicates:
    """Files with one picture: 'exact' if their bytes are equal, else 'near'."""

    kind: str
    files: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """What the report tells of it."""
        return {"kind": self.kind, "files": list(self.files)}

    def line(self) -> str:
        """One line for people."""
        return f"{self.kind}: {_some(self.files)}"


@dataclass(frozen=True)
class Leak:
    """A file of one part that another part knows already.

    Attributes:
        kind: 'exact' for equal bytes, 'near', or 'group'.
        file: the one that must not be scored.
        part: where it is, 'val' or 'test'.
        like: one that it is like.
        like_part: where that is, 'train' or 'val'.
    """

    kind: str
    file: str
    part: str
    like: str
    like_part: str

    def json(self) -> dict[str, str]:
        """What the report tells of it."""
        return dict(vars(self))

    def line(self) -> str:
        """One line for people."""
        if self.kind == GROUP:
            said = f"is in the same group as {visible(self.like)}"
        else:
            said = f"is {SAYS[self.kind]} of {visible(self.like)}"
        return f"{visible(self.file)} ({self.part}) {said} ({self.like_part})"


@dataclass(frozen=True)
class Conflict:
    """Files with one picture and several labels, `labels` in the order of `files`."""

    kind: str
    files: tuple[str, ...]
    labels: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """What the report tells of it."""
        return {"kind": self.kind, "files": list(self.files), "labels": list(self.labels)}

    def line(self) -> str:
        """One line for people."""
        pairs = zip(self.files, self.labels, strict=True)
        told = tuple(f"{visible(file)} is '{visible(label)}'" for file, label in pairs)
        return f"{self.kind}: {_some(told, ', but ')}"


@dataclass(frozen=True)
class Audit:
    """What is wrong with some data, before anything is divided or learned.

    Attributes:
        seen: files and other entries that were looked at: used, skipped and ignored together.
        used: pictures that can be used.
        skipped: what looks like a picture but cannot be used, and why.
        ignored: how many entries are no part of this: notes, hidden files, a test part beside
            which another was given.
        classes: for each class how many of its pictures are in which part.
        duplicates: groups of files with one picture.
        leaks: files to choose or test on that the parts before them hold already.
        conflicts: equal or near pictures with different labels.
        notes: what a person should know, one sentence each.
        groups: (used,) equal for rows that must be on one side of any split: of one picture, or
            of one group of the data; None if no two are. Rows of a test part are each alone.
        leaked: (used,) rows that must not be scored.
    """

    seen: int
    used: int
    skipped: tuple[Skipped, ...]
    ignored: int
    classes: dict[str, dict[str, int]]
    duplicates: tuple[Duplicates, ...]
    leaks: tuple[Leak, ...]
    conflicts: tuple[Conflict, ...]
    notes: tuple[str, ...]
    groups: NDArray[np.int64] | None = field(repr=False)
    leaked: NDArray[np.bool_] = field(repr=False)

    def json(self) -> dict[str, Any]:
        """The JSON of `regraft audit`."""
        return {
            "seen": self.seen,
            "used": self.used,
            "skipped": [skip.json() for skip in self.skipped],
            "ignored": self.ignored,
            "classes": self.classes,
            "duplicates": [found.json() for found in self.duplicates],
            "leaks": [found.json() for found in self.leaks],
            "conflicts": [found.json() for found in self.conflicts],
            "notes": list(self.notes),
        }

    def refuse(self, strict: bool = False, most_bad: float = MOST_BAD) -> None:
        """Raise if the data are too bad to go on with.

        Args:
            strict: whether one unusable file, leak or conflict is too bad.
            most_bad: the share of unusable files above which they are, 0 to 1.

        Raises:
            DataError: they are; the reason and what to do.
        """
        if strict and (wrong := self._first_wrong()):
            raise DataError(f"{wrong}; mend the data or leave --strict out.")
        count = len(self.skipped)
        if count and count > most_bad * (self.used + count):
            common = Counter(skip.reason for skip in self.skipped).most_common(3)
            reasons = ", ".join(f"{number} times '{visible(why)}'" for why, number in common)
            raise DataError(
                f"{count} of {self.used + count} files cannot be used ({reasons}), more than the "
                f"{100 * most_bad:g} % that are let pass; mend them, or allow more with --most-bad."
            )

    def _first_wrong(self) -> str:
        """What --strict refuses: the first of it in a clause, or an empty text."""
        if self.skipped:
            first, count = self.skipped[0], len(self.skipped)
            told = f"{count} files cannot be used, the first is" if count > 1 else "not usable is"
            return f"{told} '{visible(first.file)}': {visible(first.reason)}"
        if self.leaks:
            return self._known()
        if self.conflicts:
            return self._contradicting()
        return ""

    def _known(self) -> str:
        count = len(self.leaks)
        told = (
            f"{count} images to test or choose on are" if count > 1 else "an image to score on is"
        )
        return f"{told} known from training: {self.leaks[0].line()}"

    def _contradicting(self) -> str:
        count = len(self.conflicts)
        told = f"{count} pictures have" if count > 1 else "1 picture has"
        return f"{told} more than one label: {self.conflicts[0].line()}"

    def lines(self) -> list[str]:
        """Every kind of finding in one line, for a log."""
        out = [f"left out {visible(s.file)}: {visible(s.reason)}" for s in self.skipped]
        if self.leaks:
            out.append(f"{self._known()}{_more(len(self.leaks) - 1)}; they are not scored")
        if self.conflicts:
            out.append(self._contradicting() + _more(len(self.conflicts) - 1))
        if self.duplicates:
            files = sum(len(found.files) for found in self.duplicates)
            out.append(
                f"{files} files hold only {len(self.duplicates)} different pictures, of which each "
                "stays on one side where the data are divided here: "
                f"{self.duplicates[0].line()}{_more(len(self.duplicates) - 1)}"
            )
        return out + list(self.notes)


def _more(count: int) -> str:
    return f", and {count} more" if count else ""


def _some(names: tuple[str, ...], between: str = ", ", most: int = 4) -> str:
    """The first few names and how many there are beside them."""
    return between.join(map(visible, names[:most])) + _more(max(0, len(names) - most))
