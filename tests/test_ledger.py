"""The ledger of a run's rows: what is written is read, and nothing in it is trusted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft import ledger
from regraft.errors import BundleError
from regraft.ledger import PARTS, Ledger, Row, read

NAME = st.text(st.characters(codec=None), max_size=8)  # lone surrogates too: file names have them
ROW = st.builds(
    Row,
    id=NAME,
    digest=st.integers(0, 2**256 - 1).map(lambda n: f"{n:064x}"),
    label=NAME,
    part=st.sampled_from(PARTS),
    group=NAME,
    source=st.integers(0, 1),
    kin=st.integers(-1, 5),
)
DIGESTS = [c * 64 for c in "abcdef"]


def few() -> Ledger:
    return Ledger(
        (
            Row("one", DIGESTS[0], "x", "train", kin=0),
            Row("two", DIGESTS[1], "y", "val", source=1),
            Row("three", DIGESTS[2], "z", "test"),
            Row("four", DIGESTS[0], "x", "copy"),
        ),
        ("a", "b"),
    )


@given(st.lists(ROW, max_size=12))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    path = tmp_path_factory.mktemp("run") / ledger.FILE
    made = Ledger(tuple(rows), ("data", "da\ud800ta"))
    path.write_bytes(made.text())
    assert read(path) == made


def test_what_it_tells() -> None:
    rows = few()
    assert [row.id for row in rows.learned] == ["one", "two"]
    assert rows.classes == ("x", "y")
    assert rows.digests("test") == {DIGESTS[2]}
    assert [row.id for row in rows.part("copy")] == ["four"]


def test_rows_go_with_their_copies_and_their_sources() -> None:
    left = few().without({DIGESTS[0]})
    assert [row.id for row in left.rows] == ["two", "three"]
    assert few().without({DIGESTS[1]}).sources == ("a",)
    only = few().without({DIGESTS[0], DIGESTS[2]})
    assert (only.sources, only.rows[0].source) == (("b",), 0)


def test_rows_come_with_their_sources_and_kin() -> None:
    more = Ledger((Row("five", DIGESTS[4], "x", "train", source=1, kin=0),), ("c", "b"))
    both = few().plus(more)
    assert both.sources == ("a", "b", "c")
    assert both.rows[-1].source == 1
    assert both.rows[-1].kin == 1  # no kin of the row whose number was 0 here


def test_the_older_list_of_digests_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / ledger.FILE
    path.write_text(json.dumps(DIGESTS))
    older = read(path)
    assert older is not None
    assert not older.whole
    assert older.digests("train", "val") == set(DIGESTS)
    assert read(tmp_path / "none.json") is None


ROWS = json.loads(few().text())["rows"]


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": None},
        {"more": 1},
        {"sources": "ab"},
        {"sources": [1]},
        {"sources": []},
        {"rows": {}},
        {"rows": [["one"]]},
        {"rows": [[*ROWS[0][:6], True]]},
        {"rows": [[*ROWS[0][:6], -2]]},
        {"rows": [[*ROWS[0][:5], 2, -1]]},
        {"rows": [[*ROWS[0][:5], -1, -1]]},
        {"rows": [["one", "A" * 64, *ROWS[0][2:]]]},
        {"rows": [[*ROWS[0][:3], "eval", *ROWS[0][4:]]]},
        {"rows": [[None, *ROWS[0][1:]]]},
    ],
    ids=str,
)
def test_nothing_in_it_is_trusted(tmp_path: Path, change: dict) -> None:
    path = tmp_path / ledger.FILE
    path.write_text(json.dumps(json.loads(few().text()) | change))
    with pytest.raises(BundleError, match=r"trained\.json must be the list of rows .*; fit again"):
        read(path)


@pytest.mark.parametrize("data", [b"", b"{", b"3", b"\xff", b"[" * 100_000, b'["no digest"]'])
def test_what_is_no_ledger_at_all(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / ledger.FILE
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"trained\.json must be"):
        read(path)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / ledger.FILE).mkdir()
    with pytest.raises(BundleError, match=r"trained\.json must be"):
        read(tmp_path / ledger.FILE)


def test_a_digest_with_one_other_digit_is_noticed(tmp_path: Path) -> None:
    """Else the file that it stood for could be scored."""
    data = few().text()
    place = data.index(few().rows[0].digest.encode()) + 5
    other = b"0" if data[place : place + 1] != b"0" else b"1"
    (tmp_path / "trained.json").write_bytes(data[:place] + other + data[place + 1 :])
    with pytest.raises(BundleError, match="the checksum does not match"):
        read(tmp_path / "trained.json")
