"""Sentences on what a data set lacks, each with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from regraft.data.dataset import Skipped
from regraft.data.labels import MOST_NAMED, nearly
from regraft.files import visible

IMBALANCE = 20  # pictures of the largest class for one of the smallest
FEW = 5  # pictures of a class below which little can be learned or measured
ELONGATED = 3.0  # longer side over shorter
EMPTY = "holds no image"
TINY = 32  # pixels of the shorter side


def notes(
    classes: Mapping[str, Mapping[str, int]],
    empty: Sequence[Skipped],
    sizes: NDArray[np.int64] | None,
    files: Sequence[str],
    same: bool,
    alike: Sequence[str],
    apart: tuple[int, int],
) -> tuple[str, ...]:
    """What a person should know of a data set that was read.

    Args:
        classes: for each class how many of its readable pictures are in which part.
        empty: folders that hold no image.
        sizes: (N, 2) height and width of the readable pictures in pixels, None if not known.
        files: their ids.
        same: whether they all are one picture.
        alike: classes whose pictures, two and more, are all near duplicates of each other.
        apart: pictures that are not used because others were given to test on: of the data's own
            test part, and beside the test part of those others.
    """
    out = []
    own, other = apart
    if own:
        out.append(
            f"{_images(own)} not used, the data's own test part, because others were given to "
            "test on."
        )
    if other:
        out.append(
            f"{_images(other)} not used of the data given to test on, because these have a test "
            "part of their own."
        )
    out += [
        f"the folder '{visible(skip.file.rstrip('/'))}' holds no image and is no class: put "
        "images into it or remove it."
        for skip in empty
    ]
    if not files:
        return (*out, "no image can be read: mend or replace the files, there is nothing to use.")
    out += _on_spellings(classes)
    out += _on_classes(classes)
    if same and len(files) > 1:
        out.append(
            "all images are the same picture, so nothing can be learned from them: check "
            "how they were made or copied."
        )
    elif alike:
        out.append(
            f"all images of {_named(alike)} look like one picture, so they stay on one side of "
            "every split and leave nothing to test on: if what tells them apart is small, cut the "
            "pictures down to it, or say --no-near."
        )
    if sizes is not None:
        out += _on_shapes(sizes, files)
    return tuple(out)


def is_empty(skip: Skipped) -> bool:
    """Whether this is a folder without an image, and no file."""
    return skip.file.endswith("/") and skip.reason == EMPTY


def _on_spellings(classes: Mapping[str, Mapping[str, int]]) -> list[str]:
    """On classes whose names are nearly one."""
    pairs = nearly(classes)
    if not pairs:
        return []
    more = f"; and {len(pairs) - MOST_NAMED} more pairs" if len(pairs) > MOST_NAMED else ""
    return [
        f"{'; '.join(pairs[:MOST_NAMED])}{more}: one class? If so, spell its name in one way; "
        "they are kept apart until then."
    ]


def _on_classes(classes: Mapping[str, Mapping[str, int]]) -> list[str]:
    """On how many pictures the classes have to learn from."""
    first = next(iter(classes.values()))
    learn = [part for part in ("unsplit", "train") if part in first] or list(first)
    counts = {name: sum(parts[part] for part in learn) for name, parts in classes.items()}
    have = {name: count for name, count in counts.items() if count}
    tested = [name for name, parts in classes.items() if parts.get("test")]
    out = []
    if have and tested and not any(name in have for name in tested):
        out.append(
            f"no class of the test part is among those to learn: {_named(tested)}; nothing of it "
            "can be scored, name the classes alike in both parts."
        )
        counts |= dict.fromkeys(tested, 1)  # said of all at once
    for name, parts in classes.items():
        said = visible(name)
        if not any(parts.values()):
            out.append(f"no file of the class '{said}' can be read: mend them or leave it out.")
        elif not counts[name]:
            out.append(
                f"the class '{said}' is to be tested on but has no image to learn from, so its "
                "images are left out of the score: add some to the training part or take it out."
            )
    if len(have) == 1:
        out.append(
            f"there is only one class to learn, '{visible(next(iter(have)))}': add images of "
            "another to learn to tell them apart."
        )
    out += _on_counts(have)
    return out


def _on_counts(counts: Mapping[str, int]) -> list[str]:
    """On classes with few pictures, and with far more than others."""
    out = []
    single = [name for name, count in counts.items() if count == 1]
    few = [name for name, count in counts.items() if 1 < count < FEW]
    if single:
        out.append(
            f"{_classes(single)} one image to learn from only, so nothing can be held out to "
            "check it: add at least one more."
        )
    if few:
        out.append(f"{_classes(few)} fewer than {FEW} images to learn from: add more.")
    if len(counts) > 1:
        large, small = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        if counts[large] > IMBALANCE * counts[small]:
            out.append(
                f"the classes are far from balanced: {counts[large]} images of '{visible(large)}' "
                f"and {counts[small]} of '{visible(small)}': add images of the rare ones, and "
                "look at balanced accuracy, not at accuracy."
            )
    return out


def _on_shapes(sides: NDArray[np.int64], files: Sequence[str]) -> list[str]:
    """On pictures too small or too long to see much in."""
    short, long = sides.min(1), sides.max(1)
    out = []
    tiny = np.flatnonzero(short < TINY)
    if len(tiny):
        smallest = int(tiny[short[tiny].argmin()])
        out.append(
            f"{_images(len(tiny))} under {TINY} pixels high or wide (the smallest, "
            f"{visible(files[smallest])}, {sides[smallest, 1]} x {sides[smallest, 0]}): networks "
            "see little in them, and only equal pixels are taken for duplicates."
        )
    elongated = np.flatnonzero(long > ELONGATED * short)
    if len(elongated):
        longest = int(elongated[(long[elongated] / short[elongated]).argmax()])
        out.append(
            f"{_images(len(elongated))} more than {ELONGATED:g} times as long as wide (the "
            f"longest, {visible(files[longest])}, {sides[longest, 1]} x {sides[longest, 0]}), of "
            "which a centre crop cuts most away; squash and pad show all, --geometry auto compares."
        )
    return out


def _classes(names: Sequence[str]) -> str:
    """`the class 'a' has`, or `the classes 'a', 'b' and 7 more have`."""
    return f"{_named(names)} {'has' if len(names) == 1 else 'have'}"


def _named(names: Sequence[str]) -> str:
    """`the class 'a'`, or `the classes 'a', 'b' and 7 more`."""
    shown = ", ".join(f"'{visible(name)}'" for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"the class {shown}" if len(names) == 1 else f"the classes {shown}{more}"


def _images(count: int) -> str:
    return f"{count} images are" if count > 1 else "1 image is"
