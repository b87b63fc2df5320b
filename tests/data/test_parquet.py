"""Parquet tables: only what is needed is read, and what cannot be is one sentence."""

from __future__ import annotations

import datetime
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from regraft.data import images, parquet
from regraft.errors import DataError
from tests.pictures import CLASSES, picture

arrow = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for kind in CLASSES:
        picture(kind, 1, 16).save(tmp_path / f"{kind}.png")
    return tmp_path


def table(home: Path, **more: Any) -> Path:
    columns = {"path": [f"{kind}.png" for kind in CLASSES], "label": list(CLASSES)}
    pq.write_table(arrow.table(columns | more), home / "t.parquet")
    return home / "t.parquet"


def not_text() -> Any:
    raw = arrow.array([b"\xff\xfe"] * 3, arrow.binary())
    return arrow.Array.from_buffers(arrow.string(), 3, raw.buffers())


TIME = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "odd",
    [
        arrow.array([TIME] * 3, arrow.timestamp("ns", "Nowhere/At_all")),
        arrow.array([2**62] * 3, arrow.timestamp("us")),
        arrow.array([2**62] * 3, arrow.duration("ms")),
        not_text(),
        arrow.array([{"bytes": b"", "path": "x"}] * 3),
    ],
)
def test_columns_that_are_not_needed_do_not_matter(home: Path, odd: Any) -> None:
    data = images(table(home, odd=odd))
    assert [(e.id, e.label) for e in data.examples] == [(f"{k}.png", k) for k in CLASSES]


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (arrow.array([TIME] * 3, arrow.timestamp("us")), "holds timestamp"),
        (arrow.array([1, 2, 3], arrow.duration("s")), "holds duration"),
        (arrow.array([{"a": 1}] * 3), "holds struct"),
        (not_text(), "is not UTF-8"),
    ],
)
def test_needed_columns_that_cannot_be_read(home: Path, odd: Any, said: str) -> None:
    for name in ("label", "path"):
        with pytest.raises(DataError, match=said) as caught:
            images(table(home, **{name: odd}))
        assert f"'{name}'" in str(caught.value)


def test_labels_of_any_plain_type(home: Path) -> None:
    kinds = arrow.array(CLASSES).dictionary_encode()
    assert images(table(home, label=kinds)).classes == CLASSES
    assert images(table(home, label=[3, 1, 2])).classes == ("1", "2", "3")
    left = images(table(home, label=arrow.array([None, "a", "b"])))
    assert [skip.reason for skip in left.skipped] == ["has no label"]


def test_lists_and_indicators_are_several_labels(home: Path) -> None:
    with pytest.raises(DataError, match="holds a list of labels"):
        images(table(home, label=[["a", "b"], ["a"], ["b"]]))
    columns = {"path": [f"{k}.png" for k in CLASSES], "cat": [1, 1, 0], "dog": [0, 1, 1]}
    pq.write_table(arrow.table(columns), home / "i.parquet")
    with pytest.raises(DataError, match=r"one 0/1 column per label \('cat', 'dog'\)"):
        images(home / "i.parquet")


def test_a_small_file_that_holds_much(home: Path) -> None:
    """A column of 40 MB text a row, repeated: a few kB on disk, nothing in memory."""
    long = arrow.DictionaryArray.from_arrays(arrow.array([0] * 3), arrow.array(["x" * 40_000_000]))
    path = table(home, notes=long)
    tracemalloc.start()
    assert len(images(path)) == 3
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    wide = table(home, label=["x" * 80_000_000, "a", "b"])
    with pytest.raises(DataError, match="are they the right ones"):
        images(wide)


def test_more_rows_than_can_be(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MOST_ROWS", 2)
    with pytest.raises(DataError, match="has 3 rows; at most 2"):
        images(table(home))


def test_what_is_no_parquet(home: Path) -> None:
    (home / "x.parquet").write_bytes(b"PAR1 no PAR1")
    with pytest.raises(DataError, match="is no Parquet table"):
        images(home / "x.parquet")
