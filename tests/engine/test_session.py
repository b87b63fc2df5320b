"""A session that is left half-way, by its rows, its caller or an error, answers the next run."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regraft.backbones.info import Tap
from regraft.engine import Session, openvino
from regraft.inputs import Row
from regraft.pipeline import Pipeline, pipeline
from tests.nets import small


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    return pipeline(small(), [Tap(3)], precision="f32", threads=2)


@pytest.fixture(scope="module")
def rows(pipe: Pipeline) -> list[Row]:
    return pipe.info.input.samples(24)


@pytest.fixture(scope="module")
def truth(pipe: Pipeline, rows: list[Row]) -> list[np.ndarray]:
    return answers(pipe.open("f32"), rows)


def answers(session: Session, rows: Any) -> list[np.ndarray]:
    return [row[0] for row in session.run(iter(rows))]


def same(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return len(left) == len(right) and all(map(np.array_equal, left, right))


def broken(rows: list[Row], after: int) -> Iterator[Row]:
    yield from rows[:after]
    raise OSError("the disk is gone")


@pytest.mark.parametrize("after", [1, 2, 20])
def test_after_rows_that_fail(pipe, rows, truth, after: int) -> None:
    session = pipe.open("f32")
    with pytest.raises(OSError, match="disk is gone"):
        answers(session, broken(rows, after))
    assert same(answers(session, rows[::-1]), truth[::-1])


@pytest.mark.parametrize("taken", [1, 5])
def test_after_a_run_that_is_left(pipe, rows, truth, taken: int) -> None:
    session = pipe.open("f32")
    run = session.run(iter(rows))
    for _ in range(taken):
        next(run)
    run.close()
    assert same(answers(session, rows[::-1]), truth[::-1])


def test_after_ctrl_c(pipe, rows, truth) -> None:
    session = pipe.open("f32")

    def interrupted() -> Iterator[Row]:
        yield from rows[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answers(session, interrupted())
    assert same(answers(session, rows[::-1]), truth[::-1])


def test_sessions_in_eight_threads_give_what_one_gives(pipe, rows, truth) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: answers(pipe.open("f32"), rows), range(8)))
    assert all(same(one, truth) for one in found)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_runs_that_are_left_keep_no_thread_and_no_file(pipe, rows) -> None:
    def state() -> tuple[int, ...]:
        gc.collect()
        return tuple(len(list(Path(f"/proc/self/{one}").iterdir())) for one in ("task", "fd"))

    def leave() -> None:
        run = pipe.open("f32").run(iter(rows))
        next(run)
        del run
        with pytest.raises(OSError, match="disk is gone"):
            answers(pipe.open("f32"), broken(rows, 2))

    leave()
    before = state()
    for _ in range(10):
        leave()
    assert state() == before


NO_ROOM = """
import numpy as np
import regraft.engine.openvino as engine
from regraft.backbones.info import Tap
from regraft.pipeline import pipeline
from tests.nets import small

pipe = pipeline(small(), [Tap(3)], precision="f32", threads=2)
rows = pipe.info.input.samples(12)
session = pipe.open("f32")
truth = [row[0] for row in session.run(iter(rows))]
keep = engine._keep


class NoRoom:
    @property
    def output_tensors(self):
        raise MemoryError("no room for the outputs")


def short(request, place):
    keep(NoRoom() if place[1] in FULL else request, place)


FULL = {5, 6}
session._queue.set_callback(short)
given = []
try:
    given.extend(row[0] for row in session.run(iter(rows)))
except MemoryError as problem:
    print(problem, len(given))
FULL = set()
again = [row[0] for row in session.run(iter(rows))]
print(all(map(np.array_equal, again, truth)), len(again))
"""


def test_no_memory_for_an_output_is_an_error_and_not_the_end_of_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_ROOM], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["no room for the outputs 5", "True 12"]


def test_threads_that_come_first_together_convert_once(
    pipe, rows, truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, whole = [], openvino.convert
    monkeypatch.setattr(
        openvino, "convert", lambda *how: (calls.append(1), time.sleep(0.2), whole(*how))
    )
    with ThreadPoolExecutor(8) as pool:  # the cache of a test is empty
        found = list(pool.map(lambda _: answers(pipe.open("f32"), rows), range(8)))
    assert all(same(one, truth) for one in found)
    assert len(calls) == 1
