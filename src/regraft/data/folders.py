"""Class folders: `DATA/<class>/…`, or the same below `train/`, `val/` and `test/`."""

from __future__ import annotations

from pathlib import Path

from regraft.data.dataset import Dataset, Example, Skipped
from regraft.data.labels import united
from regraft.data.layout import Layout, layout_of
from regraft.data.partnames import SPLIT_NAMES
from regraft.data.walk import Found, readable, walk
from regraft.errors import DataError
from regraft.files import visible

__all__ = ["SPLIT_NAMES", "finish", "from_folder", "instead", "list_folder"]

LAYOUT = "expected {0}/<class>/<image>, or {0}/train/<class>/<image> with val/ and test/ beside it"


def from_folder(root: Path, shown: str) -> Dataset:
    """The images in the class folders of `root`.

    Args:
        root: an existing folder.
        shown: how the user named it, for messages.

    Raises:
        DataError: it cannot be listed, or holds no image in a class folder.
    """
    found = list_folder(root, shown)
    layout = layout_of([parts for parts, _ in found.files], shown)
    examples, skipped = [], list(found.skipped)
    seen: set[str] = set()
    for parts, path in found.files:
        name = "/".join(map(readable, parts))
        if layout.unlabelled(parts):
            continue
        if layout.parts and parts[0] not in layout.parts:
            skipped.append(Skipped(name, "lies beside train/, val/ and test/"))
        elif len(parts) < layout.depth(parts) + 2:
            skipped.append(Skipped(name, "lies outside the class folders"))
        elif name in seen:
            skipped.append(Skipped(name, "another file's name reads the same"))
        else:
            seen.add(name)
            label = readable(parts[layout.depth(parts)])
            examples.append(Example(name, path, label, layout.parts.get(parts[0])))
    if not examples:
        raise DataError(_no_classes(found, layout, shown))
    skipped += [Skipped(f"{name}/", "holds no image") for name in _empty(found, layout)]
    notes = (*layout.notes, *_missing(found, layout))
    bare = sum(layout.bare.values())
    return finish(shown, examples, skipped, found.ignored + bare, notes)


def _empty(found: Found, layout: Layout) -> list[str]:
    """Folders without images where a part or, below one, a class could be."""
    linked = {"/".join(map(readable, parts)) for parts, _ in found.links}
    empty = [name for name in found.empty if name not in linked]
    tops = [name for name in empty if "/" not in name]
    if not layout.parts:
        return tops
    below = [name for name in empty if "/" in name]
    return tops + [name for name in below if name.partition("/")[0] not in tops]


def _missing(found: Found, layout: Layout) -> list[str]:
    """What is said of links to folders that would be parts or classes."""
    out = []
    for parts, why in sorted(found.links):
        name = visible("/".join(map(readable, parts)))
        if layout.parts and len(parts) == 1:
            out.append(f"the folder '{name}' is missing among the parts: it is {why}.")
        elif len(parts) == layout.depth(parts) + 1:
            label = visible(readable(parts[-1]))
            out.append(f"the class '{label}' is missing: its folder '{name}' is {why}.")
    return out


def list_folder(root: Path, shown: str) -> Found:
    """What lies below `root`.

    Raises:
        DataError: it cannot be listed, or holds nothing that may be an image.
    """
    try:
        found = walk(root)
    except OSError as problem:
        raise DataError(f"'{shown}' cannot be listed: {problem.strerror or problem}.") from problem
    if not found.files:
        raise DataError(f"no images in '{shown}': {instead(found)}; {LAYOUT.format(shown)}.")
    return found


def finish(
    shown: str,
    examples: list[Example],
    skipped: list[Skipped],
    ignored: int = 0,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """A data set of images, everything sorted, labels that surely are one spelled in one way."""
    examples, told = united(examples)
    examples.sort(key=lambda example: example.id)
    skipped.sort(key=lambda skip: skip.file)
    classes = sorted({e.label for e in examples if e.label is not None})
    return Dataset(
        shown, "image", tuple(examples), tuple(classes), tuple(skipped), ignored, notes + told
    )


def instead(found: Found) -> str:
    """What was found where images were looked for."""
    if found.skipped:
        first = found.skipped[0]
        return f"found {len(found.skipped)} that cannot be used ('{first.file}': {first.reason})"
    if not found.suffixes:
        return "it is empty"
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in found.suffixes.most_common(3))
    return f"found {kinds}"


def _no_classes(found: Found, layout: Layout, shown: str) -> str:
    if layout.parts:
        return (
            f"the images of '{shown}' lie in train/, val/ or test/ without class folders; "
            f"expected {shown}/train/<class>/<image>."
        )
    return (
        f"{len(found.files)} images lie directly in '{shown}' without class folders; "
        f"{LAYOUT.format(shown)}."
    )
