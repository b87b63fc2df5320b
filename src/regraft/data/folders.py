"""Class folders: `DATA/<class>/…`, or the same below `train/`, `val/` and `test/`."""

from __future__ import annotations

from pathlib import Path

from regraft.data.dataset import Dataset, Example, Skipped
from regraft.data.walk import Found, readable, walk
from regraft.errors import DataError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
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
    depth = 1 if _has_splits(found) else 0
    examples, skipped = [], list(found.skipped)
    seen: set[str] = set()
    for parts, path in found.files:
        name = "/".join(map(readable, parts))
        split = SPLIT_NAMES.get(parts[0].lower()) if depth else None
        if depth and split is None:
            skipped.append(Skipped(name, "lies beside train/, val/ and test/"))
        elif len(parts) < depth + 2:
            skipped.append(Skipped(name, "lies outside the class folders"))
        elif name in seen:
            skipped.append(Skipped(name, "another file's name reads the same"))
        else:
            seen.add(name)
            examples.append(Example(name, path, readable(parts[depth]), split))
    if not examples:
        raise DataError(_no_classes(found, shown))
    skipped += [Skipped(f"{name}/", "holds no image") for name in _empty(found, depth)]
    return finish(shown, examples, skipped, found.ignored)


def _empty(found: Found, depth: int) -> list[str]:
    """Folders without images where a part or, `depth` folders down, a class could be."""
    tops = [name for name in found.empty if "/" not in name]
    if not depth:
        return tops
    below = [name for name in found.empty if "/" in name]
    return tops + [name for name in below if name.partition("/")[0] not in tops]


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
    shown: str, examples: list[Example], skipped: list[Skipped], ignored: int = 0
) -> Dataset:
    """A data set of images, everything sorted."""
    examples.sort(key=lambda example: example.id)
    skipped.sort(key=lambda skip: skip.file)
    classes = sorted({e.label for e in examples if e.label is not None})
    return Dataset(shown, "image", tuple(examples), tuple(classes), tuple(skipped), ignored)


def _has_splits(found: Found) -> bool:
    """Whether the top folders are parts of a split and not classes.

    They are if all that hold images are named so, or if `train` and another part hold folders of
    images: a data set of vehicles may well have a class 'train' beside 'bus' and 'car'.
    """
    tops = {parts[0].lower() for parts, _ in found.files if len(parts) > 1}
    nested = {parts[0].lower() for parts, _ in found.files if len(parts) > 2}
    if not nested & SPLIT_NAMES.keys():
        return bool(tops) and tops <= SPLIT_NAMES.keys() and "train" in tops
    parts = {SPLIT_NAMES[top] for top in nested & SPLIT_NAMES.keys()}
    return tops <= SPLIT_NAMES.keys() or ("train" in parts and len(parts) > 1)


def instead(found: Found) -> str:
    """What was found where images were looked for."""
    if found.skipped:
        first = found.skipped[0]
        return f"found {len(found.skipped)} that cannot be used ('{first.file}': {first.reason})"
    if not found.suffixes:
        return "it is empty"
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in found.suffixes.most_common(3))
    return f"found {kinds}"


def _no_classes(found: Found, shown: str) -> str:
    if _has_splits(found):
        return (
            f"the images of '{shown}' lie in train/, val/ or test/ without class folders; "
            f"expected {shown}/train/<class>/<image>."
        )
    return (
        f"{len(found.files)} images lie directly in '{shown}' without class folders; "
        f"{LAYOUT.format(shown)}."
    )
