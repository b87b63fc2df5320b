"""The activation cache: content in, the same bytes out, or nothing."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from regraft import cache
from regraft.cache import MANY_SEGMENTS, Shelf, clear, entries, trim, verify
from regraft.errors import CacheError
from regraft.files import digest
from regraft.segments import Segment, write_segment


def keys(*names: int) -> list[str]:
    return [digest(str(name).encode()) for name in names]


def values(*names: int) -> dict[str, np.ndarray]:
    return {
        "000": np.array([[n, n + 0.5] for n in names], np.float32),
        "001-flow": np.array([np.full((2, 3), n) for n in names], np.float32),
    }


def test_what_was_put_in_comes_out_in_any_order() -> None:
    shelf = Shelf("p")
    shelf.add(keys(1, 2, 3), values(1, 2, 3))
    shelf.add(keys(9), values(9))
    for held in (shelf, Shelf("p")):  # in this process and read again
        rows = held.rows(keys(9, 2, 9, 1), "000")
        assert rows.shape == (4, 2)
        assert rows[:].tolist() == [[9, 9.5], [2, 2.5], [9, 9.5], [1, 1.5]]
        assert rows[1:3].tolist() == [[2, 2.5], [9, 9.5]]
        assert rows.take(np.array([3]))[:].tolist() == [[1, 1.5]]
        assert held.rows(keys(3), "001-flow")[:].shape == (1, 2, 3)
        assert keys(4)[0] not in held


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.data())
@settings(max_examples=30, deadline=None)
def test_any_way_of_adding_gives_the_same_rows(names: list[int], data: st.DataObject) -> None:
    shelf = Shelf(digest(os.urandom(8)))
    left = list(dict.fromkeys(names))
    while left:
        count = data.draw(st.integers(1, len(left)))
        shelf.add(keys(*left[:count]), values(*left[:count]))
        left = left[count:]
    assert shelf.rows(keys(*names), "000")[:][:, 0].tolist() == names


def test_segments_are_safetensors_files() -> None:
    shelf = Shelf("p")
    shelf.add(keys(1, 2), values(1, 2))
    (path,) = shelf.folder.iterdir()
    held = load_file(path)
    assert held["000"].tolist() == [[1, 1.5], [2, 2.5]]
    assert held["digests"].shape == (2, 32)


def test_arrays_of_every_kind_come_back_as_they_were_and_begin_aligned(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = {
        "row": random.integers(0, 256, (3, 5, 7, 3), np.uint8),
        "b-flow": random.standard_normal((3, 5)).astype(np.float16),
        "a": random.standard_normal((3, 3)),  # float64 is stored as float32
        "c": random.standard_normal((3, 7, 3, 3)).astype(np.float32),
    }
    shelf = Shelf("p")
    shelf.add(keys(1, 2, 3), arrays)
    shelf.add(keys(4), {name: array[:1] for name, array in arrays.items()})
    held = Shelf("p")
    for name, array in arrays.items():
        rows = held.rows(keys(4, 3, 1), name)
        stored = array.astype(np.float32) if array.dtype == np.float64 else array
        assert rows.stored == stored.dtype
        assert (rows.raw([0, 1, 2]) == stored[[0, 2, 0]]).all()
        assert rows[:].dtype == rows.dtype == (np.uint8 if name == "row" else np.float32)
        assert (rows[:] == stored[[0, 2, 0]]).all()
        assert rows.row_bytes == stored[0].nbytes
    (path,) = (p for p in shelf.folder.iterdir() if len(load_file(p)["digests"]) == 3)
    assert {n: a.dtype for n, a in load_file(path).items() if n != "digests"} == {
        "a": np.float32,
        "b-flow": np.float16,
        "c": np.float32,
        "row": np.uint8,
    }
    segment = Segment(path)
    for name in arrays:
        assert segment.place(name)[0] % segment.array(name).itemsize == 0


def test_large_rows_come_out_as_small_ones_do() -> None:
    large = np.arange(5 * 5000, dtype=np.float32).reshape(5, 5000)
    assert large[0].nbytes >= cache.LARGE_ROW_BYTES
    shelf = Shelf("p")
    shelf.add(keys(1, 2), {"x": large[:2]})
    shelf.add(keys(3, 4, 5), {"x": large[2:]})
    rows = shelf.rows(keys(5, 1, 3, 1), "x")
    assert (rows[:] == large[[4, 0, 2, 0]]).all()
    assert (rows[np.array([True, False, False, True])] == large[[4, 0]]).all()
    assert (rows[1:3] == large[[0, 2]]).all()


def test_joining_and_purging_keep_what_kind_of_numbers_lie_there() -> None:
    shelf = Shelf("p")
    for name in range(MANY_SEGMENTS + 2):
        flow = np.full((1, 4), name, np.float16)
        shelf.add(keys(name), {"a-flow": flow, "row": np.full((1, 3), name, np.uint8)})
    shelf.tidy()
    assert cache.purge(keys(3)) == 1
    held = Shelf("p")
    assert held.rows(keys(60), "a-flow").raw([0]).dtype == np.float16
    assert held.rows(keys(60, 2), "row")[:].tolist() == [[60] * 3, [2] * 3]
    assert verify() == []


def test_room_is_the_same_before_and_after_something_was_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = 10**6

    def left(root: Path | None = None) -> int:
        return disk - sum(size for _, size, _ in entries())

    monkeypatch.setattr(cache, "free_bytes", left)
    before = cache.room_bytes()
    assert before == int(cache.SHARE_OF_DISK * disk)
    Shelf("p").add(keys(1), {"x": np.zeros((1, 10_000), np.float32)})
    assert cache.room_bytes() == before
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "0.0001")
    assert cache.room_bytes() == 100_000


def test_what_has_to_go_for_something_new(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []
    for number in range(3):
        shelf = Shelf(f"p{number}")
        shelf.add(keys(number), {"000": np.zeros((1, 10_000), np.float32)})
        paths.append(next(shelf.folder.iterdir()))
        os.utime(paths[-1], (1000 + number, 1000 + number))
    monkeypatch.setattr(cache, "free_bytes", lambda root=None: 50_000)
    trim([paths[0].parent], needed=40_000)
    assert [p.exists() for p in paths] == [True, True, True]
    trim([paths[0].parent], needed=60_000)
    assert [p.exists() for p in paths] == [True, False, True]


def test_a_flipped_bit_anywhere_is_found_named_and_removed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shelf = Shelf("p")
    shelf.add(keys(1, 2), values(1, 2))
    (path,) = shelf.folder.iterdir()
    sound = path.read_bytes()
    random = np.random.default_rng(0)
    for position in random.integers(0, len(sound), 60):
        data = bytearray(sound)
        data[position] ^= 1 << random.integers(8)
        path.write_bytes(data)
        caplog.clear()
        if keys(1)[0] in Shelf("p"):  # only padding may change unseen
            assert chr(sound[position]) == " "
        else:
            assert path.name in caplog.text
            assert not path.exists()


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, -1])
def test_a_truncated_segment_is_no_segment(size: int) -> None:
    shelf = Shelf("p")
    shelf.add(keys(1), values(1))
    (path,) = shelf.folder.iterdir()
    path.write_bytes(path.read_bytes()[:size])
    assert verify() == [path]
    assert keys(1)[0] not in Shelf("p")


def test_many_small_segments_become_one() -> None:
    shelf = Shelf("p")
    for name in range(MANY_SEGMENTS + 2):
        shelf.add(keys(name), values(name))
    shelf.tidy()
    assert len(list(shelf.folder.iterdir())) == 1
    assert Shelf("p").rows(keys(5, 60), "000")[:][:, 0].tolist() == [5, 60]


def test_joining_keeps_what_is_large_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SEGMENT_BYTES", 4000)
    shelf = Shelf("p")
    shelf.add(keys(*range(1000, 1060)), values(*range(1000, 1060)))  # larger than half a piece
    (large,) = shelf.folder.iterdir()
    for name in range(MANY_SEGMENTS + 6):
        shelf.add(keys(name), values(name))
    shelf.tidy()
    sizes = [path.stat().st_size for path in shelf.folder.iterdir()]
    assert large.exists()
    assert 2 <= len(sizes) < 10
    assert max(s for s in sizes if s != large.stat().st_size) < 5000
    held = Shelf("p")
    assert held.rows(keys(3, 1005, 69), "000")[:][:, 0].tolist() == [3, 1005, 69]


def test_the_limit_removes_what_was_used_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []
    for number in range(4):
        shelf = Shelf(f"p{number}")
        shelf.add(keys(number), {"000": np.zeros((1, 10_000), np.float32)})
        paths.append(next(shelf.folder.iterdir()))
        os.utime(paths[-1], (1000 + number, 1000 + number))
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "0.0001")  # 100 kB: two of four
    trim([paths[0].parent])
    assert [p.exists() for p in paths] == [True, False, False, True]
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "0")  # what was computed just now goes last
    trim([paths[0].parent])
    assert not any(p.exists() for p in paths)


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", text)
    with pytest.raises(CacheError, match=f"number of GB, got '{text}'"):
        cache.limit_bytes()


def test_clear_by_age(own_cache: Path) -> None:
    for number in range(2):
        Shelf(f"p{number}").add(keys(number), values(number))
    old = next((own_cache / "activations" / "p0").iterdir())
    os.utime(old, (time.time() - 1000, time.time() - 1000))
    assert clear(500)[0] == 1
    assert not old.exists()
    assert clear()[0] == 1
    assert list(entries()) == []
    assert list(own_cache.iterdir()) == []


def test_files_of_others_in_the_cache_folder_are_left_alone(own_cache: Path) -> None:
    Shelf("p").add(keys(1), values(1))
    thesis = own_cache / "Documents" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    (own_cache / "empty").mkdir()
    assert clear()[0] == 1
    assert thesis.read_text() == "years of work"
    assert (own_cache / "empty").is_dir()
    assert all("Documents" not in path.parts for path, _, _ in entries())


def test_a_cache_that_only_another_user_may_write_is_still_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf = Shelf("p")
    shelf.add(keys(1), values(1))

    def refuse(*arguments: object, **how: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    assert keys(1)[0] in Shelf("p")
    assert len(list(shelf.folder.iterdir())) == 1


def test_what_the_cache_keeps_can_be_read_by_others() -> None:
    before = os.umask(0o022)
    try:
        shelf = Shelf("p")
        shelf.add(keys(1), values(1))
        (path,) = shelf.folder.iterdir()
        assert path.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_rows_and_digests_must_agree(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 2 rows for 1 digests"):
        write_segment(tmp_path, [bytes.fromhex(k) for k in keys(1)], values(1, 2))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(own_cache: Path) -> None:
    (own_cache / "activations").write_text("in the way")
    with pytest.raises(CacheError, match="cannot be written"):
        Shelf("p").add(keys(1), values(1))


def test_threads_that_write_the_same_rows_disturb_nobody() -> None:
    def work() -> None:
        for name in range(10):
            Shelf("p").add(keys(name), values(name))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Shelf("p").rows(keys(*range(10)), "000")[:][:, 0].tolist() == list(range(10))
    assert verify() == []


def test_segment_name_is_its_content(tmp_path: Path) -> None:
    raw = [bytes.fromhex(k) for k in keys(1)]
    first = write_segment(tmp_path, raw, values(1))
    assert write_segment(tmp_path, raw, values(1)) == first
    assert [p.name for p in tmp_path.iterdir()] == [first.name]


def test_what_is_purged_is_gone_from_every_pipeline_and_nothing_else(own_cache: Path) -> None:
    for name in ("p", "q"):
        shelf = Shelf(name)
        shelf.add(keys(1, 2, 3), values(1, 2, 3))
        shelf.add(keys(4), values(4))
        shelf.add(keys(5, 6), values(5, 6))
    assert cache.purge(keys(2, 4, 99)) == 4
    for name in ("p", "q"):
        shelf = Shelf(name)
        assert [key in shelf for key in keys(1, 2, 3, 4, 5, 6)] == [1, 0, 1, 0, 1, 1]
        for output, array in values(1, 3, 5, 6).items():
            np.testing.assert_array_equal(shelf.rows(keys(1, 3, 5, 6), output)[:], array)
        assert len(list(shelf.folder.iterdir())) == 2
    for path, _, _ in entries():
        assert not any(bytes.fromhex(key) in path.read_bytes() for key in keys(2, 4))
    assert verify() == []
    assert cache.purge(keys(2, 4)) == 0
    assert cache.purge([]) == 0


def test_a_purge_that_was_cut_short_is_finished_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever step fails, no row that stays is lost, and doing it again removes the rest."""
    real_write, real_sync = cache.write_segment, cache.sync
    for step in range(8):
        name = f"p{step}"
        shelf = Shelf(name)
        shelf.add(keys(1, 2), values(1, 2))
        shelf.add(keys(3, 4), values(3, 4))
        left = [step]

        def failing(real, left=left):
            def call(*arguments):
                if left[0] == 0:
                    raise OSError(5, "the disk is gone")
                left[0] -= 1
                return real(*arguments)

            return call

        monkeypatch.setattr(cache, "write_segment", failing(real_write))
        monkeypatch.setattr(cache, "sync", failing(real_sync))
        done = False
        with suppress(CacheError):
            done = cache.purge(keys(2, 3)) > 0
        monkeypatch.setattr(cache, "write_segment", real_write)
        monkeypatch.setattr(cache, "sync", real_sync)
        for key in keys(1, 4):
            assert key in Shelf(name)
        assert cache.purge(keys(2, 3)) == 0 or not done
        assert [key in Shelf(name) for key in keys(1, 2, 3, 4)] == [1, 0, 0, 1]
        clear()


def test_what_is_rotten_goes_with_a_purge() -> None:
    shelf = Shelf("p")
    shelf.add(keys(1), values(1))
    (path,) = shelf.folder.iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    cache.purge(keys(2))
    assert not path.exists()
