"""A comparison killed at any instant: the same command ends with what an undisturbed one has.

By hand with more kills: REGRAFT_KILLS=50 pytest -m slow tests/comparing/test_killed.py
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.pictures import write_folder
from tests.promises.processes import environment, finish, litter, tree

KILLS = int(os.environ.get("REGRAFT_KILLS", "3"))
PLAN = (
    *("--plans", "probe,full", "--seeds", "2", "--backbone", "test_resnet", "--weights", "random"),
    *("--size", "32", "--geometry", "crop", "--no-near", "--threads", "1"),
    *("epochs=4", "patience=0", "batch=8", "amp=f32", "memory=contiguous"),
)
#: What differs from one time to the next.
CLOCK = ("seconds", "shared_seconds", "work_seconds", "peak_memory_bytes", "attempts", "work")


def start(home: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "regraft", "compare", str(home / "data"), "--out", str(out)]
    return subprocess.Popen(
        [*command, *PLAN],
        env=environment(home / "cache", REGRAFT_CHECKPOINT_SECONDS="0"),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def told(out: Path) -> list[dict[str, Any]]:
    """The arms without clocks, with their runs."""
    arms = json.loads((out / "comparison.json").read_text())["arms"]
    for arm in arms:
        for held in (arm, *arm["runs"]):
            for name in CLOCK:
                held.pop(name, None)
    return arms


@pytest.mark.slow
def test_killed_at_any_instant_it_ends_with_the_same_arms(tmp_path: Path) -> None:
    home, chance = tmp_path, random.Random(KILLS)
    write_folder(home / "data", 24)
    finish(start(home, home / "warm"))
    began = time.monotonic()
    finish(start(home, home / "clean"))
    seconds = time.monotonic() - began
    truth = told(home / "clean")
    assert told(home / "warm") == truth
    attempts = []
    for number in range(KILLS):
        out = home / f"killed-{number}"
        process = start(home, out)
        while process.poll() is None and not list(out.glob("full-0.unfinished/started.json")):
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.4) * seconds)
        process.kill()
        process.communicate()
        if (out / "comparison.json").exists():
            continue
        finish(start(home, out))
        assert told(out) == truth, f"after kill {number}"
        for plan in ("probe-0", "full-1"):
            assert tree(out / plan / "bundle") == tree(home / "clean" / plan / "bundle")
            assert (out / plan / "answers.json").read_bytes() == (
                home / "clean" / plan / "answers.json"
            ).read_bytes()
        runs = json.loads((out / "comparison.json").read_text())["arms"]
        attempts += [one["attempts"] for arm in runs for one in arm["runs"]]
        assert not [path for path in out.iterdir() if "unfinished" in path.name]
        assert not list(out.glob("*.begun.json"))
    assert max(attempts, default=0) == 2
    assert litter(home / "cache", *(home / f"killed-{number}" for number in range(KILLS))) == []
