"""Whole fits as processes of their own, to be killed, interrupted and run side by side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from regraft.files import digest, is_part

FIT = """
import os, sys, regraft
data, out = sys.argv[1:]
run = regraft.fit(
    data, "test_efficientnet", weights="random", size=32, precision="f32", threads=1, head="ridge",
    plan="probe", seed=int(os.environ.get("SEED", 0)),
)
run.save(out)
"""
COMMAND = (
    "--plan",
    "probe",
    "--backbone",
    "test_efficientnet",
    "--weights",
    "random",
    "--size",
    "32",
)


def environment(cache: Path, **more: str) -> dict[str, str]:
    return (
        dict(
            os.environ,
            REGRAFT_CACHE=str(cache),
            HF_HUB_OFFLINE="1",
            OMP_NUM_THREADS="1",
            OMP_WAIT_POLICY="PASSIVE",
        )
        | more
    )


def start(data: Path, out: Path, cache: Path, **more: str) -> subprocess.Popen[str]:
    """A fit through the library, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", FIT, str(data), str(out)],
        env=environment(cache, **more),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def start_command(data: Path, out: Path, cache: Path) -> subprocess.Popen[str]:
    """`regraft fit`, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "regraft", "fit", str(data), "--out", str(out), *COMMAND],
        env=environment(cache),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # where the suite runs in the background, Ctrl-C is ignored and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a process that ends well; what it said on stderr."""
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def tree(folder: Path) -> dict[str, str]:
    """Every file below with its digest."""
    return {
        p.relative_to(folder).as_posix(): digest(p.read_bytes())
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def litter(*folders: Path) -> list[Path]:
    """Half-written files and folders of ours."""
    return [p for folder in folders for p in folder.rglob("*") if is_part(p)]


def group_is_gone(process: subprocess.Popen[str]) -> bool:
    """Whether no process of the group is left."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False
