"""What is to be predicted: files, folders and pictures in memory, each answered in its place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regraft.data.dataset import Dataset, Example, Skipped
from regraft.data.folders import finish, instead
from regraft.data.listing import unusable
from regraft.data.memory import bytes_of, in_memory, is_picture
from regraft.data.walk import Found, readable, walk
from regraft.errors import BadFile, DataError

#: Of an iterator as much is taken at once as has so many bytes in memory, or so many items.
MOST_BYTES, MOST_ITEMS = 256 * 2**20, 4096

Entry = Example | Skipped


@dataclass(frozen=True)
class Requests:
    """What is to be predicted.

    Attributes:
        entries: in the order in which they were asked for; a file that was asked for twice is there
            twice, as one and the same example.
        root: what was named.
        ignored: how many files of the folders are no pictures.
    """

    entries: tuple[Entry, ...]
    root: str = ""
    ignored: int = 0

    @classmethod
    def of(cls, data: Dataset) -> Requests:
        """A data set in its own order, what was skipped last."""
        return cls((*data.examples, *data.skipped), data.root, data.ignored)

    @property
    def order(self) -> tuple[str, ...]:
        """The name of each entry."""
        return tuple(e.id if isinstance(e, Example) else e.file for e in self.entries)

    @property
    def examples(self) -> list[Example]:
        """Each example once, in the order in which they were asked for."""
        return list({id(e): e for e in self.entries if isinstance(e, Example)}.values())

    @property
    def data(self) -> Dataset:
        """Each example once, sorted, and what cannot be used."""
        skipped = dict.fromkeys(e for e in self.entries if isinstance(e, Skipped))
        return finish(self.root, self.examples, list(skipped), self.ignored)


def requests(inputs: Any) -> Requests:
    """Pictures to predict, each as it was named, and every picture below each folder named.

    A file named here is taken whatever its suffix is; one that is missing or not plain is skipped
    with its reason, and so is a folder that holds no image or cannot be listed. What is in memory
    is called 'input 0', 'input 1', … by the place of its answer.

    Args:
        inputs: a path, bytes, an open file, a Pillow image, uint8 pixels (H, W), (H, W, 3) or
            (N, H, W, 3), a Hugging Face `Dataset`, or several of these (a list, an iterator).

    Raises:
        DataError: nothing but folders without images, no input at all, or one that is none of
            these.
    """
    if type(inputs).__module__.partition(".")[0] == "datasets" and not is_column(inputs):
        from regraft.data.hugging import unlabelled

        return _some(Requests(unlabelled(inputs), "datasets"))
    gathered = _Gathered()
    for number, item in enumerate(_items(inputs)):
        gathered.add(item, number)
    return gathered.finish()


def batches(inputs: Any) -> Iterator[Requests]:
    """`requests`, and of an iterator some at a time: what it gives need not fit into memory."""
    if not isinstance(inputs, Iterator) or is_picture(inputs):
        yield requests(inputs)
        return
    gathered, held, count, place = _Gathered(), 0, 0, 0
    for number, item in enumerate(inputs):
        gathered.add(item, number)
        held, count = held + bytes_of(item), count + 1
        if held >= MOST_BYTES or count >= MOST_ITEMS:
            yield Requests(tuple(gathered.entries))
            place += len(gathered.entries)
            gathered, held, count = _Gathered(first=place), 0, 0
    if count or not place:
        yield Requests(tuple(gathered.entries)) if place else gathered.finish()


def files(paths: Any) -> Dataset:
    """`requests` as a data set: every example once, sorted."""
    return requests(paths).data


def is_column(inputs: Any) -> bool:
    """Whether this is one column of a Hugging Face data set: a list of pictures, no table."""
    return not hasattr(inputs, "column_names")


def _items(inputs: Any) -> Iterable[Any]:
    if getattr(inputs, "shape", None) == () and hasattr(inputs, "item"):
        inputs = inputs.item()  # an array without axes
    if isinstance(inputs, str | os.PathLike) or is_picture(inputs):
        return [inputs]
    if hasattr(inputs, "columns") and hasattr(inputs, "shape"):
        raise DataError("a table has several columns: give the one that holds the paths.")
    if inputs is None or isinstance(inputs, dict) or not isinstance(inputs, Iterable):
        raise DataError(
            "give a picture to predict or a list of them: paths, bytes, Pillow images or uint8 "
            f"arrays, not {type(inputs).__name__}."
        )
    return inputs


def _some(made: Requests) -> Requests:
    if not made.entries:
        raise DataError("no file named: give at least one image or folder.")
    return made


@dataclass
class _Gathered:
    """What was asked for so far, `first` entries after the first of all."""

    first: int = 0
    entries: list[Entry] = field(default_factory=list)
    ignored: int = 0
    empty: str = ""
    folders: int = 0
    roots: list[str] = field(default_factory=list)
    known: dict[Path, Example] = field(default_factory=dict)

    def add(self, item: Any, number: int) -> None:
        name = f"input {number}"
        if isinstance(item, Example):
            self.roots.append(item.id)
            self.entries.append(item)
        elif isinstance(item, str | os.PathLike):
            self._path(item, name)
        elif isinstance(item, tuple):
            raise DataError(
                f"{name} is a tuple of {len(item)}: to predict give the picture alone, without its "
                "label."
            )
        else:
            self.roots.append(name)
            self._memory(item, name)

    def _memory(self, item: Any, name: str) -> None:
        try:
            sources = in_memory(item, name)
        except BadFile as problem:
            self.entries.append(Skipped(self._next(), str(problem)))
            return
        if sources is None:
            raise DataError(
                f"{name} must be a path, bytes, a Pillow image or a uint8 array, not "
                f"{type(item).__name__}."
            )
        for source in sources:
            self.entries.append(Example(self._next(), source))

    def _next(self) -> str:
        return f"input {self.first + len(self.entries)}"

    def _path(self, item: Any, name: str) -> None:
        if not os.fspath(item):
            raise DataError(f"{name} is an empty text; give the path of a picture or a folder.")
        path = Path(os.fsdecode(item)).expanduser()
        shown = readable(path.as_posix())
        self.roots.append(shown)
        if path.is_dir():
            self.folders += 1
            self._folder(path, shown)
        elif reason := unusable(path):
            self.entries.append(Skipped(shown, reason))
        else:
            self.entries.append(self._file(shown, path))

    def _folder(self, path: Path, shown: str) -> None:
        try:
            below, reason = walk(path), ""
        except OSError as problem:
            below, reason = Found(), f"cannot be listed: {problem.strerror or problem}"
        self.ignored += below.ignored
        # By the name that was found, which may be a link to the file that is read.
        named = [(path.joinpath(*parts), file) for parts, file in sorted(below.files)]
        self.entries += [self._file(readable(name.as_posix()), file) for name, file in named]
        for skip in sorted(below.skipped, key=lambda skip: skip.file):
            self.entries.append(Skipped(f"{shown}/{skip.file}", skip.reason))
        if reason or not below.files:
            self.entries.append(Skipped(shown, reason or "no image in it"))
            self.empty = self.empty or f"'{shown}' ({reason or instead(below)})"

    def _file(self, shown: str, path: Path) -> Example:
        """Of one path always the same, so that it is read once."""
        made = self.known.setdefault(path, Example(shown, path))
        return made if made.id == shown else Example(shown, path)

    def finish(self) -> Requests:
        readable_ones = any(isinstance(entry, Example) for entry in self.entries)
        if not readable_ones and self.empty and self.folders == len(self.roots):
            raise DataError(
                f"no image to predict in {self.empty}; name image files or folders of them."
            )
        several = f"{len(self.roots)} files and folders"
        root = self.roots[0] if len(self.roots) == 1 else several
        return _some(Requests(tuple(self.entries), root, self.ignored))
