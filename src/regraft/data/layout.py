"""Whether the top folders of a data set are parts of a split or classes: decided by structure.

A name such as 'training' may be a part or a class (of 'bus', 'car', 'training'). Top folders are
parts if all are named as parts, or if a training part and another hold folders of images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from regraft.data.partnames import is_dummy, part_name
from regraft.data.walk import readable
from regraft.errors import DataError
from regraft.files import visible

Path = tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """How paths below the root are to be read.

    Attributes:
        parts: top folder -> 'train', 'val' or 'test'; empty if the top folders are classes.
        doubled: the parts whose classes lie a folder deeper, as in `seg_train/seg_train/<class>`.
        bare: the top folders whose pictures have no class folders -> how many pictures.
        notes: what to say of all that, in sentences.
    """

    parts: dict[str, str] = field(default_factory=dict)
    doubled: frozenset[str] = frozenset()
    bare: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def depth(self, path: Path) -> int:
        """How many folders lie above the class folder of this path."""
        return 0 if not self.parts else 2 if path[0] in self.doubled else 1

    def unlabelled(self, path: Path) -> bool:
        """Whether this picture is in a part without class folders."""
        return len(path) > 1 and path[0] in self.bare


def layout_of(paths: Sequence[Path], shown: str) -> Layout:
    """The layout of these images.

    Args:
        paths: of each image below the root, by name.
        shown: the root as the user named it.

    Raises:
        DataError: a training part and a folder of an unknown name hold the same class folders, or
            the latter none.
    """
    parts = _parts(paths)
    if not parts:
        return Layout(notes=_perhaps_parts(paths, shown))
    doubled = frozenset(top for top in parts if _is_doubled(top, paths))
    layout = Layout(parts, doubled)
    classes = {
        path[layout.depth(path)]
        for path in paths
        if parts.get(path[0]) == "train" and len(path) > layout.depth(path) + 1
    }
    bare = {top: count for top, count in _bare(layout, paths, classes).items() if classes}
    return Layout(parts, doubled, bare, tuple(_note(top, n, shown) for top, n in bare.items()))


def _parts(paths: Iterable[Path]) -> dict[str, str]:
    """Top folder -> part, for those that are parts; empty if the top folders are classes."""
    tops = {path[0] for path in paths if len(path) > 1}
    nested = {path[0] for path in paths if len(path) > 2}
    named = {top: name for top in sorted(tops) if (name := part_name(top))}
    # What is left of the names must agree: `seg_train` and `seg_test`, not `crash_test` and
    # `train_station`. A plain name agrees with all.
    rests = {name.rest for name in named.values()} - {""}
    if len(rests) > 1:
        named = {top: name for top, name in named.items() if not name.rest}
    every = tops == named.keys() and bool(tops)
    if not nested & named.keys():
        plain = not any(name.rest for name in named.values())
        found = every and plain and "train" in {name.part for name in named.values()}
    else:
        parts = {named[top].part for top in nested & named.keys()}
        both = "train" in parts and len(parts) > 1
        # One folder with a word for a part in it is not enough: `test_tubes/<kind>/`.
        found = both or (every and (len(parts) > 1 or not rests or "train" in parts))
    return {top: name.part for top, name in named.items()} if found else {}


def _is_doubled(top: str, paths: Iterable[Path]) -> bool:
    """Whether all of a part lies in one folder of the part's own name, with class folders in it."""
    below = [path for path in paths if path[0] == top and len(path) > 1]
    inner = {path[1] for path in below if len(path) > 2}
    if len(inner) != 1 or any(len(path) == 2 for path in below):
        return False
    return part_name(next(iter(inner))) == part_name(top) and any(len(p) > 3 for p in below)


def _bare(layout: Layout, paths: Iterable[Path], classes: set[str]) -> dict[str, int]:
    """The top folders but for training that have no class folders -> how many images."""
    counts: Counter[str] = Counter()
    folders: dict[str, set[str]] = {}
    for path in paths:
        if len(path) > 1 and layout.parts.get(path[0]) != "train":
            counts[path[0]] += 1
            depth = layout.depth(path)
            folders.setdefault(path[0], set()).update(path[depth : depth + 1][: len(path) - 2])
    return {
        top: counts[top]
        for top, inner in sorted(folders.items())
        if not inner or (len(inner) == 1 and not inner & classes and _says_nothing(min(inner), top))
    }


def _says_nothing(inner: str, top: str) -> bool:
    """Whether the one folder of a part is no class: `test/unknown/`, `seg_pred/seg_pred/`."""
    return inner == top or is_dummy(inner)


def _note(top: str, count: int, shown: str) -> str:
    name = visible(readable(top))
    many = f"{count} images of {name}/ have no class folders, so they are unlabelled"
    one = f"1 image of {name}/ has no class folder, so it is unlabelled"
    return (
        f"{many if count > 1 else one} and not scored; "
        f"'regraft predict RUN {visible(shown)}/{name}' tells what is shown."
    )


def _perhaps_parts(paths: Sequence[Path], shown: str) -> tuple[str, ...]:
    """On top folders that all hold the same folders, as parts do and classes may.

    Raises:
        DataError: there are two, and one is named as a training part.
    """
    inner: dict[str, set[str]] = {}
    for path in paths:
        if len(path) > 1:
            inner.setdefault(path[0], set()).update(path[1:-1][:1] or [""])
    _refuse_beside_train(inner, shown)
    first = inner.get(min(inner, default=""), set())
    if len(inner) < 2 or len(first) < 2 or any("" in one for one in inner.values()):
        return ()
    shared = set.intersection(*inner.values())
    if len(shared) < 2 or 2 * len(shared) < min(map(len, inner.values())):
        return ()
    names = sorted(inner)
    told = " and ".join(f"'{visible(readable(name))}'" for name in names[:4])
    held = ", ".join(f"'{visible(readable(name))}'" for name in sorted(shared)[:3])
    known = [name for name in names if (said := part_name(name)) and said.part == "train"]
    if len(names) == 2 and len(known) == 1:
        other = next(name for name in names if name not in known)
        a, b = (f"{visible(shown)}/{visible(readable(n))}" for n in (known[0], other))
        raise DataError(
            f"{told} of '{shown}' hold the same folders ({held}), so they look like parts and not "
            f"like classes: name both, 'regraft fit {a} --test {b}', or rename the second one "
            "to val or test; if they are classes, list the files in a table."
        )
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return (
        f"the folders {told}{more} hold the same folders ({held}) and were taken for classes: if "
        "they are parts of a split, rename them to train, val and test.",
    )


def _refuse_beside_train(inner: dict[str, set[str]], shown: str) -> None:
    """Refuse `train/<class>/` beside one folder of an unknown name without class folders."""
    train = [top for top in inner if part_name(top) == ("train", "")]
    if len(inner) != 2 or len(train) != 1:
        return
    other = next(top for top in inner if top not in train)
    if "" in inner[train[0]] or len(inner[train[0]]) < 2 or inner[other] != {""}:
        return
    a, b = (f"{visible(shown)}/{visible(readable(name))}" for name in (train[0], other))
    raise DataError(
        f"'{a}' holds folders and '{b}' images without, so they look like a part to train on and "
        f"unlabelled images: 'regraft fit {a}', then 'regraft predict RUN {b}'; "
        "if they are classes, list the files in a table."
    )
