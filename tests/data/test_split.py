"""Splits: a partition, stratified, blind to order and names, duplicates together."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.data.dataset import Example
from regraft.data.split import folds, joined, split
from regraft.errors import OptionError

# (class, content): few contents, so that duplicates and contradicting labels are common.
ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 25)), min_size=1, max_size=60)
SHARES = st.floats(0.05, 0.95)


def examples(rows: list[tuple[str, int]]) -> tuple[list[Example], list[str]]:
    made = [Example(f"{i}.png", Path(f"{i}.png"), label) for i, (label, _) in enumerate(rows)]
    return made, [f"digest{content}" for _, content in rows]


@given(ROWS, SHARES, st.integers(0, 5))
def test_split_keeps_its_promises(rows, share, seed) -> None:
    made, digests = examples(rows)
    kept, held = split(made, digests, share=share, seed=seed)
    assert sorted(e.id for e in kept + held) == sorted(e.id for e in made), "a partition"
    of = {e.id: d for e, d in zip(made, digests, strict=True)}
    assert not {of[e.id] for e in kept} & {of[e.id] for e in held}, "duplicates stay together"
    labels = defaultdict(set)
    for example, digest in zip(made, digests, strict=True):
        labels[digest].add(example.label)
    contradicted = {digest for digest, names in labels.items() if len(names) > 1}
    assert not {of[e.id] for e in held} & contradicted
    for label in {e.label for e in made}:
        distinct = {of[e.id] for e in made if e.label == label}
        assert any(e.label == label for e in kept)
        if len(distinct) >= 2 and distinct - contradicted:
            assert any(e.label == label for e in held)


@given(ROWS, SHARES, st.integers(0, 5), st.randoms())
def test_split_knows_neither_order_nor_names(rows, share, seed, random) -> None:
    made, digests = examples(rows)
    _, held = split(made, digests, share=share, seed=seed)
    content = Counter((e.label, rows[int(e.id[:-4])][1]) for e in held)
    shuffled = rows.copy()
    random.shuffle(shuffled)
    _, again = split(*examples(shuffled), share=share, seed=seed)
    assert Counter((e.label, shuffled[int(e.id[:-4])][1]) for e in again) == content


def test_split_is_stratified_and_seeded() -> None:
    made, digests = examples([("a", i) for i in range(200)] + [("b", 500 + i) for i in range(40)])
    kept, held = split(made, digests, share=0.25, seed=3)
    assert Counter(e.label for e in held) == {"a": 50, "b": 10}
    assert len(kept) == 180
    assert split(made, digests, share=0.25, seed=3) == (kept, held)
    assert split(made, digests, share=0.25, seed=4)[1] != held
    assert [e.id for e in kept] == [e.id for e in made if e in set(kept)], "in the given order"


def test_adding_an_image_moves_hardly_any_other() -> None:
    rows = [("a", i) for i in range(100)]
    _, held = split(*examples(rows), share=0.2, seed=0)
    _, more = split(*examples([*rows, ("a", 999)]), share=0.2, seed=0)
    assert len({e.id for e in held} ^ {e.id for e in more}) <= 2


def test_one_distinct_image_is_kept_and_a_large_group_is_not_held_for_a_small_share() -> None:
    made, digests = examples([("a", 1)] * 5 + [("b", 2), ("b", 3)] + [("b", 4)] * 30)
    kept, held = split(made, digests, share=0.1, seed=0)
    assert Counter(e.label for e in held) == {"b": 2}
    assert sum(e.label == "a" for e in kept) == 5


@pytest.mark.parametrize("share", [0, 1, -0.5, 2])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(OptionError, match="between 0 and 1"):
        split(*examples([("a", 1), ("a", 2)]), share=share, seed=0)


def test_split_refuses_missing_labels_and_digests() -> None:
    with pytest.raises(OptionError, match="label"):
        split([Example("x", Path("x"))], ["d"], share=0.5, seed=0)
    with pytest.raises(OptionError, match="as many digests"):
        split([Example("x", Path("x"), "a")], [], share=0.5, seed=0)


@given(ROWS, st.integers(2, 6), st.integers(0, 5), st.randoms())
def test_folds_keep_their_promises(rows, k, seed, random) -> None:
    labels, digests = [label for label, _ in rows], [f"d{content}" for _, content in rows]
    if len(set(digests)) < k:
        with pytest.raises(OptionError, match="distinct images"):
            folds(labels, digests, k, seed)
        return
    answer = folds(labels, digests, k, seed)
    assert answer.dtype == np.int64
    assert answer.shape == (len(rows),)
    assert set(answer.tolist()) == set(range(k)), "no fold is empty"
    fold_of = defaultdict(set)
    for digest, fold in zip(digests, answer, strict=True):
        fold_of[digest].add(int(fold))
    assert all(len(found) == 1 for found in fold_of.values()), "duplicates share a fold"
    order = list(range(len(rows)))
    random.shuffle(order)
    again = folds([labels[i] for i in order], [digests[i] for i in order], k, seed)
    assert np.array_equal(again, answer[order]), "blind to order"


def test_folds_are_stratified() -> None:
    labels = ["a"] * 50 + ["b"] * 20 + ["c"] * 3
    answer = folds(labels, [str(i) for i in range(73)], 5, seed=0)
    per_class = [np.bincount(answer[[c == x for c in labels]], minlength=5) for x in "abc"]
    assert [c.tolist() for c in per_class[:2]] == [[10] * 5, [4] * 5]
    assert per_class[2].max() == 1
    assert not np.array_equal(answer, folds(labels, [str(i) for i in range(73)], 5, seed=1))


GROUPED = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.integers(0, 9)),
    min_size=2,
    max_size=60,
)


@given(GROUPED, SHARES, st.integers(0, 5))
def test_a_group_is_never_on_both_sides(rows, share, seed) -> None:
    made, digests = examples([(label, content) for label, content, _ in rows])
    groups = [group for _, _, group in rows]
    kept, held = split(made, digests, share=share, seed=seed, groups=groups)
    assert sorted(e.id for e in kept + held) == sorted(e.id for e in made)
    of = {e.id: (d, g) for e, d, g in zip(made, digests, groups, strict=True)}
    for which in (0, 1):
        assert not {of[e.id][which] for e in kept} & {of[e.id][which] for e in held}
    assert {e.label for e in held} <= {e.label for e in kept}, "every class stays to learn from"


@given(GROUPED, st.integers(2, 5), st.integers(0, 5))
def test_a_group_is_in_one_fold(rows, k, seed) -> None:
    labels, digests = [r[0] for r in rows], [f"digest{r[1]}" for r in rows]
    groups = [r[2] for r in rows]
    if len(set(joined([digests, groups]))) < k:
        with pytest.raises(OptionError, match="groups of images"):
            folds(labels, digests, k, seed, groups)
        return
    fold = folds(labels, digests, k, seed, groups)
    for column in (digests, groups):
        for value in set(column):
            assert len({f for f, v in zip(fold, column, strict=True) if v == value}) == 1


def test_groups_of_several_classes_fill_the_share() -> None:
    rows = [(label, 100 * camera + 10 * place + shot) for camera in range(20)
            for place, label in enumerate("abc") for shot in range(4)]  # fmt: skip
    made, digests = examples(rows)
    groups = [content // 100 for _, content in rows]
    _, held = split(made, digests, share=0.25, seed=1, groups=groups)
    assert Counter(e.label for e in held) == {"a": 20, "b": 20, "c": 20}


def test_rows_are_joined_through_others() -> None:
    assert joined([["a", "b", "a", "c", "d"], [1, 2, 3, 3, 2]]) == [0, 1, 0, 0, 1]
