"""What is to be predicted: files, folders and pictures in memory, each answered in its place."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regraft.data.dataset import Dataset, Example, Skipped
from regraft.data.folders import finish, instead
from regraft.data.listing import unusable
from regraft.data.memory import in_memory, is_picture
from regraft.data.walk import Found, readable, walk
from regraft.errors import DataError


@dataclass(frozen=True)
class Requests:
    """What is to be predicted.

    Attributes:
        data: every example once; what cannot be used is among its skipped files.
        order: the ids of examples and skipped files in the order in which they were asked for; one
            that was asked for twice is there twice.
    """

    data: Dataset
    order: tuple[str, ...]

    @classmethod
    def of(cls, data: Dataset) -> Requests:
        """A data set in its own order, what was skipped last."""
        return cls(data, (*(e.id for e in data.examples), *(s.file for s in data.skipped)))


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
    if type(inputs).__module__.partition(".")[0] == "datasets":
        from regraft.data.hugging import unlabelled

        return Requests.of(unlabelled(inputs))
    gathered = _Gathered()
    for number, item in enumerate(_items(inputs)):
        gathered.add(item, number)
    return gathered.finish()


def files(paths: Any) -> Dataset:
    """`requests` as a data set: every example once, sorted."""
    return requests(paths).data


def _items(inputs: Any) -> Iterable[Any]:
    if isinstance(inputs, str | os.PathLike) or is_picture(inputs):
        return [inputs]
    if inputs is None or isinstance(inputs, dict) or not isinstance(inputs, Iterable):
        raise DataError(
            "give a picture to predict or a list of them: paths, bytes, Pillow images or uint8 "
            f"arrays, not {type(inputs).__name__}."
        )
    return inputs


@dataclass
class _Gathered:
    examples: dict[str, Example] = field(default_factory=dict)
    skipped: dict[str, Skipped] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    ignored: int = 0
    empty: str = ""
    folders: int = 0
    roots: list[str] = field(default_factory=list)

    def add(self, item: Any, number: int) -> None:
        name = f"input {number}"
        if isinstance(item, str | os.PathLike):
            self._path(item, name)
            return
        if isinstance(item, tuple):
            raise DataError(
                f"{name} is a tuple of {len(item)}: to predict give the picture alone, without its "
                "label."
            )
        sources = in_memory(item, name)
        if sources is None:
            raise DataError(
                f"{name} must be a path, bytes, a Pillow image or a uint8 array, not "
                f"{type(item).__name__}."
            )
        self.roots.append(name)
        for source in sources:
            self._example(Example(f"input {len(self.order)}", source))

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
            self._skip(Skipped(shown, reason))
        else:
            self._example(Example(shown, path))

    def _folder(self, path: Path, shown: str) -> None:
        try:
            below, reason = walk(path), ""
        except OSError as problem:
            below, reason = Found(), f"cannot be listed: {problem.strerror or problem}"
        self.ignored += below.ignored
        for parts, file in sorted(below.files):
            # By the name that was found, which may be a link to the file that is read.
            self._example(Example(readable(path.joinpath(*parts).as_posix()), file))
        for skip in below.skipped:
            self._skip(Skipped(f"{shown}/{skip.file}", skip.reason))
        if reason or not below.files:
            self._skip(Skipped(shown, reason or "no image in it"))
            self.empty = self.empty or f"'{shown}' ({reason or instead(below)})"

    def _example(self, example: Example) -> None:
        self.examples.setdefault(example.id, example)
        self.order.append(example.id)

    def _skip(self, skip: Skipped) -> None:
        self.skipped.setdefault(skip.file, skip)
        self.order.append(skip.file)

    def finish(self) -> Requests:
        if not self.roots:
            raise DataError("no file named: give at least one image or folder.")
        if not self.examples and self.empty and self.folders == len(self.roots):
            raise DataError(
                f"no image to predict in {self.empty}; name image files or folders of them."
            )
        several = f"{len(self.roots)} files and folders"
        root = self.roots[0] if len(self.roots) == 1 else several
        examples, skipped = list(self.examples.values()), list(self.skipped.values())
        return Requests(finish(root, examples, skipped, self.ignored), tuple(self.order))
