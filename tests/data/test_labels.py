"""Labels that are nearly one: made one where that is sure, asked about where it is not."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from regraft.data.dataset import Dataset, Example
from regraft.data.labels import as_known, nearly, need_known, resembling, united
from regraft.errors import DataError

NFC, NFD = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))


def of(*labels: str) -> list[Example]:
    return [Example(str(n), Path("x"), label) for n, label in enumerate(labels)]


def labels(examples) -> list[str | None]:
    return [example.label for example in examples]


@pytest.mark.parametrize(
    ("given", "one"),
    [
        ((NFC, NFD), NFC),
        ((NFD, f"{NFC} "), NFC),
        (("bars", "bars ", "\u00a0bars"), "bars"),
        (("bars", "\ufeffbars"), "bars"),
        (("1", "1.0", "1."), "1"),
        (("-1", "-1.0 "), "-1"),
    ],
)
def test_what_is_surely_one_class_is(given, one: str) -> None:
    examples, told = united(of(*given))
    assert set(labels(examples)) == {one}
    (note,) = told
    assert "one class spelled in several ways" in note


@pytest.mark.parametrize(
    "given",
    [
        ("bars", "Bars"),
        ("big bars", "big_bars"),
        ("1", "1.5"),
        ("1", "1.0", "beta"),
        ("01", "1"),
        ("bars ",),
        (NFD,),
        (" ", "\u00a0"),
        ("C", "C++"),
        ("5", "-5"),
    ],
)
def test_what_may_be_meant_stays_as_it_is(given) -> None:
    examples, told = united(of(*given))
    assert labels(examples) == list(given)
    assert told == ()


def test_the_note_says_what_became_what() -> None:
    (note,) = united(of("bars", "bars ", "bars ", "rings", "rings\t"))[1]
    assert "'bars ' (2 images) is 'bars', without the blanks" in note
    assert "'rings" in note


def test_names_that_are_nearly_one_are_told_with_their_parts() -> None:
    counts = {
        "Bars": {"train": 12, "test": 0},
        "bars": {"train": 0, "test": 6},
        "big bars": {"train": 3, "test": 1},
        "big_bars": {"train": 0, "test": 2},
        "-5": {"train": 1, "test": 0},
        "5": {"train": 1, "test": 0},
        "C": {"train": 1, "test": 0},
        "C++": {"train": 1, "test": 0},
    }
    assert nearly(counts) == [
        "'Bars' (12 in train) and 'bars' (6 in test) differ only in case",
        "'big bars' (3 in train and 1 in test) and 'big_bars' (2 in test) differ only in blanks, "
        "'_' and '-'",
    ]
    assert resembling("BARS", ["Bars", "rings"]) == "Bars"
    assert resembling("dog", ["Bars", "rings"]) == ""


def test_other_data_take_the_spelling_of_what_is_known() -> None:
    data = Dataset("x", "image", tuple(of("0.0", "1.0", "1.0")), ("0.0", "1.0"), ())
    told = as_known(data, ["0", "1", "2"])
    assert labels(told.examples) == ["0", "1", "1"]
    assert told.classes == ("0", "1")
    assert "the same number" in told.notes[0]
    kept = as_known(data, ["0", "1", "other"])
    assert kept is data, "not every label is a number"
    assert as_known(told, ["0", "1", "2"]) is told


def test_no_class_in_common() -> None:
    need_known(["a", "z"], ["a", "b"], "data")
    need_known([], ["a"], "data")
    with pytest.raises(DataError, match=r"it has 'A', learned are 'a', 'b' \(is 'A' the class 'a'"):
        need_known(["A"], ["a", "b"], "data")
