"""Which rows are trained on, chosen on and tested on: decided once, after reading, by content."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regraft.data.split import split
from regraft.errors import DataError
from regraft.features import Features

#: The share of a data set without a test part that is held out for one.
TEST_SHARE = 0.2

GIVEN, IN_DATA, HELD_OUT = (
    "the data given to test on",
    "the data's own test part",
    "a fifth held out",
)


@dataclass(frozen=True)
class Parts:
    """The three parts of the readable rows.

    Attributes:
        train: rows that the head learns from.
        val: rows that settings are chosen on and the final head then learns from; often empty.
        test: rows that only scores are computed on; empty if there are too few to spare any.
        classes: labels of the training rows, sorted.
        kind: where the test rows come from.
        leaks: ids of test and validation examples whose bytes are those of an example that is
            trained on; they are not scored, since such a score would be a lie.
        groups: (N,) equal for training rows of equal bytes, None if no two are equal.
    """

    train: Features
    val: Features
    test: Features
    classes: tuple[str, ...]
    kind: str
    leaks: tuple[str, ...] = ()
    groups: NDArray[np.int64] | None = None


def divide(features: Features, own: int, seed: int, given: int = 0) -> Parts:
    """Divide by what the data say; without a test part hold a fifth out, stratified, by content.

    Args:
        features: the data set's own rows, then those given to test on.
        own: how many are the data set's own.
        seed: of the held-out part.
        given: how many files were given to test on, readable or not.

    Raises:
        DataError: fewer than two classes are left to train on, or the validation part has a class
            that the training part lacks.
    """
    splits = np.array([example.split or "" for example in features.examples])
    held = splits == "test"
    kind = GIVEN if own < len(splits) else IN_DATA
    if given and kind != GIVEN:
        raise DataError(f"none of the {given} files given to test on could be read.")
    if not held.any():
        held, kind = _hold_out(features, splits, seed), HELD_OUT
    val = (splits == "val") & ~held
    train = ~held & ~val
    leaked = _copies(features, val, train) | _copies(features, held, train | val)
    leaks = tuple(features.examples[i].id for i in np.flatnonzero(leaked))
    masks = (train, val & ~leaked, held & ~leaked)
    parts = [features.take(np.flatnonzero(mask)) for mask in masks]
    classes = tuple(sorted({e.label for e in parts[0].examples if e.label is not None}))
    if len(classes) < 2:
        got = f"only '{classes[0]}'" if classes else "none"
        raise DataError(
            f"there must be readable training images of at least two classes, got {got}."
        )
    unknown = {e.label for e in parts[1].examples} - set(classes)
    if unknown:
        raise DataError(
            f"the validation part has the class '{sorted(map(str, unknown))[0]}', "
            "which no training image has; add some or take it out."
        )
    return Parts(parts[0], parts[1], parts[2], classes, kind, leaks, _groups(parts[0]))


def _copies(
    features: Features, which: NDArray[np.bool_], of: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(N,) those rows of `which` whose bytes are the bytes of a row in `of`."""
    seen = {features.digests[i] for i in np.flatnonzero(of)}
    return np.asarray(which & np.array([digest in seen for digest in features.digests], bool))


def _groups(features: Features) -> NDArray[np.int64] | None:
    """(N,) one number per distinct content, None if all differ."""
    _, numbers = np.unique(np.array(features.digests), return_inverse=True)
    return None if len(set(features.digests)) == len(features.digests) else numbers


def numbers(features: Features, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """(N,) the place in `classes` of each row's label."""
    place = {name: index for index, name in enumerate(classes)}
    return np.array([place[e.label or ""] for e in features.examples], np.int64)


def _hold_out(features: Features, splits: NDArray[np.str_], seed: int) -> NDArray[np.bool_]:
    """(N,) the rows to test on, out of those that are not for validation."""
    free = np.flatnonzero(splits != "val")
    examples = [features.examples[i] for i in free]
    _, out = split(examples, [features.digests[i] for i in free], share=TEST_SHARE, seed=seed)
    chosen = {id(example) for example in out}
    mask = np.zeros(len(splits), bool)
    mask[[i for i in free if id(features.examples[i]) in chosen]] = True
    return mask
