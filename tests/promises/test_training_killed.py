"""Training killed at any instant: the same command ends with the bytes of an undisturbed run.

By hand with more kills: REGRAFT_KILLS=50 pytest -m slow tests/promises/test_training_killed.py
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from regraft.cli.unfinished import ENDING
from regraft.train.started import CHECKPOINT
from regraft.train.started import FILE as STARTED
from tests.pictures import write_folder
from tests.promises.processes import COMMAND, environment, finish, litter, tree

KILLS = int(os.environ.get("REGRAFT_KILLS", "5"))
PLAN = (
    "--plan",
    "gradual",
    "steps=1",
    "epochs=6",
    "patience=0",
    "batch=8",
    "ema=0.9",
    "dropout=0.2",
)
PLAN += ("augment=flip, rotate=10", "views=2", "amp=f32", "memory=contiguous")
PLAN += ("torch_threads=1", "allocator=keep", "compile=off")
#: A checkpoint at every epoch, so that most kills leave one behind.
OFTEN = {"REGRAFT_CHECKPOINT_SECONDS": "0"}


def start(data: Path, out: Path, cache: Path, *more: str) -> subprocess.Popen[str]:
    """`regraft fit` with a plan that trains, in a process group of its own."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "regraft", "fit", str(data), "--out", str(out)),
            *(*COMMAND, *PLAN, "--threads", "1", *more),
        ],
        env=environment(cache, **OFTEN),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(process: subprocess.Popen[str], file: Path) -> None:
    """Until a process has written a file, or has ended."""
    while process.poll() is None and not file.exists():
        time.sleep(0.01)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and the run that nobody disturbed."""
    made = tmp_path_factory.mktemp("killed")
    write_folder(made / "data", 30)
    finish(start(made / "data", made / "warm", made / "cache"))
    started = time.monotonic()
    finish(start(made / "data", made / "clean", made / "cache"))
    (made / "seconds").write_text(str(time.monotonic() - started))
    assert tree(made / "clean" / "bundle") == tree(made / "warm" / "bundle")
    return made


@pytest.mark.slow
def test_killed_at_any_instant_training_ends_with_the_same_bundle(
    home: Path, tmp_path: Path
) -> None:
    chance = random.Random(KILLS)
    seconds = float((home / "seconds").read_text())
    truth = tree(home / "clean" / "bundle")
    went_on = 0
    for number in range(KILLS):
        out = tmp_path / f"run-{number}"
        left = out.with_name(out.name + ENDING)
        for _ in range(1 + number % 2):  # some are killed twice before they are let through
            process = start(home / "data", out, home / "cache")
            if number % 5 == 0:  # at any time, from the first import on
                time.sleep(chance.uniform(0.1, 1.0) * seconds)
            elif number % 2:  # while torch is loaded and stages are trained
                wait_for(process, left / STARTED)
                time.sleep(chance.uniform(0.0, 0.5) * seconds)
            else:  # while there is something to go on with
                wait_for(process, left / CHECKPOINT)
                time.sleep(chance.uniform(0.0, 0.2) * seconds)
            process.kill()
            process.communicate()
            went_on += (left / CHECKPOINT).exists()
        if not out.exists():
            finish(start(home / "data", out, home / "cache"))
        assert tree(out / "bundle") == truth, f"after kill {number}"
        # Killed between the last byte of the run and the end: the next command sweeps it up.
        assert not left.exists() or (out / "bundle").exists()
    assert went_on
    assert litter(home / "cache", tmp_path) == []


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_so_far_and_finish_takes_it(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(home / "data", out, home / "cache")
    wait_for(process, out.with_name(out.name + ENDING) / CHECKPOINT)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "goes on" in said
    finish(start(home / "data", out, home / "cache", "--finish"))
    assert (out / "bundle" / "config.json").exists()
    assert '"stopped": "ended as asked' in (out / "report.json").read_text()


@pytest.mark.slow
def test_data_that_changed_meanwhile_are_refused(home: Path, tmp_path: Path) -> None:
    import shutil

    data = shutil.copytree(home / "data", tmp_path / "data")
    out = tmp_path / "run"
    process = start(data, out, home / "cache")
    wait_for(process, out.with_name(out.name + ENDING) / CHECKPOINT)
    process.kill()
    process.communicate()
    (data / "dots" / "000.png").unlink()
    process = start(data, out, home / "cache")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "1 gone" in said
    assert "000.png" in said
