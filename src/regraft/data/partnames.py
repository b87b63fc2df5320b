"""Which folder names are parts of a split: `train`, `Training`, `seg_test`, `val2017`, `trainset`.

A name is a word for a part, a rest, and words that say nothing (`set`, `data`, `images`, a year).
Whether folders that are named so are parts is for `regraft.data.folders` to say: names alone do not
tell a part 'training' from a class 'training'.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

_WORDS = {
    "train": "train training trains trn traindata",
    "val": "val valid validate validation validating vali dev devel development",
    "test": "test testing tests tst eval evaluate evaluation evaluating",
}
#: A word for a part, in lower case -> 'train', 'val' or 'test'.
SPLIT_NAMES = {word: part for part, words in _WORDS.items() for word in words.split()}
#: Words beside it that say nothing.
_SAY_NOTHING = (
    "set sets data dataset split part folder dir files image images img imgs picture pictures "
    "photo photos"
)
_FILLERS = frozenset(_SAY_NOTHING.split())
_GLUED = re.compile(
    rf"({'|'.join(sorted(SPLIT_NAMES, key=len, reverse=True))})"
    rf"({'|'.join(sorted(_FILLERS, key=len, reverse=True))})"
)
#: Names of one folder in a part that holds pictures without labels, as Keras' flows want it.
_NO_CLASS = (
    "unknown unlabeled unlabelled nolabel nolabels none all class dummy images image imgs img "
    "pictures photos data files"
)
_DUMMIES = frozenset(_NO_CLASS.split())


class PartName(NamedTuple):
    """What a folder's name says: the part, and what is left of the name, e.g. ('test', 'seg')."""

    part: str
    rest: str


def part_name(name: str) -> PartName | None:
    """What part a folder of this name would be; None if it has no word for one, or several."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name)).casefold()
    for text in (plain, spaced):
        words = [word for word in re.split(r"[\W\d_]+", text) if word]
        words = [part for word in words for part in _unglued(word)]
        parts = [SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES]
        if len(parts) == 1:
            rest = [w for w in words if w not in SPLIT_NAMES and w not in _FILLERS]
            return PartName(parts[0], " ".join(rest))
    return None


def is_dummy(name: str) -> bool:
    """Whether one folder of this name in a test part stands for 'no label' and not for a class."""
    said = part_name(name)
    plain = re.sub(r"[\W_]+", "", name.casefold())
    return plain in _DUMMIES or (said is not None and not said.rest)


def _unglued(word: str) -> tuple[str, ...]:
    """`trainset` as two words; any other as it is."""
    glued = _GLUED.fullmatch(word)
    return glued.groups() if glued and word not in SPLIT_NAMES else (word,)
