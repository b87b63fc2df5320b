"""Examples with stable ids, of any modality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Example:
    """One thing to learn from or to predict.

    Attributes:
        id: unique in its data set and stable: the POSIX path below the root, or the row's number.
        source: a file, or a function that returns the bytes of one (for data sets in memory).
        label: the class name, None where it is unknown.
        split: 'train', 'val', 'test', or None where the data do not say.
        group: what must never be on both sides of a split with it (a patient, a camera), '' for
            nothing.
    """

    id: str
    source: Path | Callable[[], bytes]
    label: str | None = None
    split: str | None = None
    group: str = ""

    def read(self) -> bytes:
        """The example's bytes. Raises OSError if the file cannot be read."""
        return self.source.read_bytes() if isinstance(self.source, Path) else self.source()


@dataclass(frozen=True)
class Skipped:
    """A file that is left out, and why."""

    file: str
    reason: str

    def json(self) -> dict[str, str]:
        """What the reports tell of it."""
        return {"file": self.file, "reason": self.reason}


@dataclass(frozen=True)
class Dataset:
    """Examples in a fixed order, found before anything is decoded.

    Attributes:
        root: where they come from, as the user named it.
        modality: the decoder's name, e.g. 'image'.
        examples: sorted by id.
        classes: labels that occur, sorted; their order is the order of every score.
        skipped: files that look like examples but cannot be used.
        ignored: how many files are no examples at all (notes, hidden files).
        notes: what a person should know of how they were found, one sentence each.
    """

    root: str
    modality: str
    examples: tuple[Example, ...]
    classes: tuple[str, ...]
    skipped: tuple[Skipped, ...] = field(default=())
    ignored: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.examples)

    def part(self, split: str | None) -> tuple[Example, ...]:
        """The examples whose split is `split`."""
        return tuple(e for e in self.examples if e.split == split)

    def scored(self) -> tuple[Example, ...]:
        """What a score is computed on: the test part, or everything if there is none."""
        return self.part("test") or self.examples

    def only(self, examples: tuple[Example, ...]) -> Dataset:
        """The same data set with these examples and the classes that are left."""
        classes = tuple(sorted({e.label for e in examples if e.label is not None}))
        return replace(self, examples=examples, classes=classes)
