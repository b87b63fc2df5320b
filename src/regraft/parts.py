"""Which rows are trained on, chosen on and tested on: decided once, after reading, by content."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regraft.data.labels import need_known, resembling
from regraft.data.split import joined, split
from regraft.errors import DataError
from regraft.features import Features

#: The share of a data set without a test part that is held out for one.
TEST_SHARE = 0.2

GIVEN, IN_DATA, HELD_OUT, NONE = (
    "the data given to test on",
    "the data's own test part",
    "a fifth held out",
    "nothing held out",
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
        leaks: ids of test and validation examples that are copies of an example that is trained
            on, or of its group; they are not scored, since such a score would be a lie.
        groups: (N,) equal for training rows that belong together, None if no two do.
        pool: `train` and `val` together: all that the final head learns from.
        pool_groups: `groups` of the pool.
    """

    train: Features
    val: Features
    test: Features
    pool: Features
    classes: tuple[str, ...]
    kind: str
    leaks: tuple[str, ...] = ()
    groups: NDArray[np.int64] | None = None
    pool_groups: NDArray[np.int64] | None = None


def divide(
    features: Features,
    own: int,
    seed: int,
    given: int = 0,
    *,
    groups: NDArray[np.int64] | None = None,
    leaked: NDArray[np.bool_] | None = None,
    hold_out: bool = True,
) -> Parts:
    """Divide by what the data say; without a test part hold a fifth out, stratified, by content.

    Args:
        features: the data set's own rows, then those given to test on.
        own: how many are the data set's own.
        seed: of the held-out part.
        given: how many files were given to test on, readable or not.
        groups: (N,) equal for rows that belong together: they are on one side of the held-out
            part, and left out together; rows of equal bytes always are.
        leaked: (N,) rows that must not be scored, besides those of equal bytes.
        hold_out: whether to hold a fifth out at all.

    Raises:
        DataError: fewer than two classes are left to train on, or the validation part has a class
            that the training part lacks, or all training rows are one group.
    """
    splits = np.array([example.split or "" for example in features.examples])
    held = splits == "test"
    kind = GIVEN if own < len(splits) else IN_DATA
    if given and kind != GIVEN:
        raise DataError(f"none of the {given} files given to test on could be read.")
    foreign, apart = _foreign(features, held), np.zeros(len(splits), bool)
    if held.any() and not (held & ~foreign).any():  # such a test says nothing
        if kind == GIVEN:
            learned = _labels(features, (splits != "val") & ~held)
            need_known(_labels(features, held), learned, GIVEN)
        held, apart = apart, held
    if not held.any() and hold_out:
        held, kind = _hold_out(features, splits, seed, groups, apart), HELD_OUT
    elif not held.any():
        kind = NONE
    val = (splits == "val") & ~held
    train = ~held & ~val & ~apart
    copied = _copies(features, val, train) | _copies(features, held, train | val)
    copied |= (val | held) & (False if leaked is None else leaked)
    leaks = tuple(features.examples[i].id for i in np.flatnonzero(copied))
    pooled = (train | val) & ~copied
    tested = held & ~copied
    if not (tested & ~foreign).any():
        tested = np.zeros_like(tested)
    masks = (train, val & ~copied, tested, pooled)
    train_rows, val_rows, test_rows, pool = (features.take(np.flatnonzero(m)) for m in masks)
    classes = tuple(sorted({e.label for e in train_rows.examples if e.label is not None}))
    if len(classes) < 2:
        got = f"only '{classes[0]}'" if classes else "none"
        raise DataError(
            f"there must be readable training images of at least two classes, got {got}."
        )
    unknown = {e.label for e in val_rows.examples} - set(classes)
    if unknown:
        name = sorted(map(str, unknown))[0]
        near = resembling(name, classes)
        raise DataError(
            f"the validation part has the class '{name}', which no training image has; "
            + (f"is it the class '{near}'?" if near else "add some or take it out.")
        )
    kin = _together(train_rows, None if groups is None else groups[train])
    pool_kin = _together(pool, None if groups is None else groups[pooled])
    return Parts(train_rows, val_rows, test_rows, pool, classes, kind, leaks, kin, pool_kin)


def _labels(features: Features, which: NDArray[np.bool_]) -> set[str]:
    """The labels of some rows."""
    named = (features.examples[i].label for i in np.flatnonzero(which))
    return {label for label in named if label is not None}


def _foreign(features: Features, held: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,) rows to test on whose class no row to train on has; none if there is no such row."""
    learned = {e.label for e in features.examples if e.split not in ("val", "test")}
    mask = np.array([e.label not in learned for e in features.examples], bool)
    return np.asarray(held & mask & bool(learned))


def _copies(
    features: Features, which: NDArray[np.bool_], of: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(N,) those rows of `which` whose bytes are the bytes of a row in `of`."""
    seen = {features.digests[i] for i in np.flatnonzero(of)}
    return np.asarray(which & np.array([digest in seen for digest in features.digests], bool))


def _together(features: Features, groups: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """(N,) one number per group of rows or distinct content, None if all differ."""
    columns = [features.digests] if groups is None else [features.digests, groups.tolist()]
    _, numbers = np.unique(joined(columns), return_inverse=True)
    count = int(numbers.max()) + 1
    if count == 1 and len(numbers) > 1 and any(example.group for example in features.examples):
        raise DataError(
            f"all {len(numbers)} training images belong to one group ('"
            f"{features.examples[0].group}' and what is linked to it); at least two are needed."
        )
    return None if count == len(numbers) else numbers


def numbers(features: Features, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """(N,) the place in `classes` of each row's label."""
    place = {name: index for index, name in enumerate(classes)}
    return np.array([place[e.label or ""] for e in features.examples], np.int64)


def with_validation(parts: Parts, share: float, seed: int) -> Parts:
    """The same parts, some of the training rows held out to validate on if none are yet.

    Args:
        parts: as `divide` made them.
        share: of the training rows, above 0 and below 1.
        seed: of the split.

    Raises:
        DataError: there are too few rows to spare any.
    """
    if parts.val.examples:
        return parts
    every = np.arange(len(parts.train.examples))
    held = _held(parts.train, every, share, seed, parts.groups)
    if not held.any():
        raise DataError(
            f"training above the cut needs rows to validate on, and none of the {len(every)} can "
            "be spared: every class needs two pictures that are apart; add some or use --plan "
            "probe."
        )
    learn, check = np.flatnonzero(~held), np.flatnonzero(held)
    kin = None if parts.groups is None else parts.groups[learn]
    return replace(parts, train=parts.train.take(learn), val=parts.train.take(check), groups=kin)


def _hold_out(
    features: Features,
    splits: NDArray[np.str_],
    seed: int,
    groups: NDArray[np.int64] | None,
    apart: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """(N,) the rows to test on, out of those that are not for validation and not set apart."""
    free = np.flatnonzero((splits != "val") & ~apart)
    return _held(features, free, TEST_SHARE, seed, groups)


def _held(
    features: Features,
    free: NDArray[np.intp],
    share: float,
    seed: int,
    groups: NDArray[np.int64] | None,
) -> NDArray[np.bool_]:
    """(N,) a share of the rows `free`, stratified, by content and group."""
    examples = [features.examples[i] for i in free]
    digests = [features.digests[i] for i in free]
    kin = None if groups is None else groups[free]
    _, out = split(examples, digests, share=share, seed=seed, groups=kin)
    chosen = {id(example) for example in out}
    mask = np.zeros(len(features.examples), bool)
    mask[[i for i in free if id(features.examples[i]) in chosen]] = True
    return mask
