"""Bundles to attack: copies of the golden ones, and checksums as an attacker would write them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import regraft
from regraft.bundle import CHECKSUMS, pretty
from regraft.files import digest

GOLDEN = Path(__file__).parents[1] / "golden" / "format-1"
TRAINED = GOLDEN.with_name("format-2")
INPUTS = GOLDEN / "inputs"
KINDS = ("head-only", "standalone")


def copy(kind: str, to: Path, home: Path = GOLDEN) -> Path:
    """A sound bundle of one of `KINDS` that may be spoilt; of `TRAINED` if that is its `home`."""
    return Path(shutil.copytree(home / kind, to))


def reseal(folder: Path) -> None:
    """Checksums that fit whatever lies there now."""
    names = json.loads((folder / CHECKSUMS).read_text())
    sums = {name: digest((folder / name).read_bytes()) for name in names}
    (folder / CHECKSUMS).write_bytes(pretty(sums))


def rewrite(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Put what `change` makes of a JSON file's value in its place, with checksums that fit."""
    value = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(change(value)))
    reseal(folder)


def verdict(folder: Path) -> str | None:
    """Why a bundle is refused, None if it is not; any error but our own goes through."""
    try:
        regraft.load(folder)
    except regraft.RegraftError as problem:
        return str(problem)
    return None


#: What a process spends at most on refusing: seconds of processor time, bytes of address space
#: beyond what it held before it looked at the bundle.
SECONDS, EXTRA_BYTES = 10, 400 * 10**6

REFUSE = f"""
import resource, sys
import regraft
from regraft import bundle, errors, heads, model, tensors
import numpy, safetensors.numpy
import regraft.heads.fitted
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + {EXTRA_BYTES}, -1))
for folder in sys.argv[1:]:
    spent = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    resource.setrlimit(resource.RLIMIT_CPU, (spent + {SECONDS} + 1, -1))
    try:
        regraft.load(folder)
    except errors.RegraftError as problem:
        print(str(problem).isprintable())
    else:
        sys.exit("accepted " + folder)
"""


def refused_small(folders: list[Path]) -> None:
    """Assert that a fresh process with little time and memory refuses each folder in a sentence."""
    done = subprocess.run(
        [sys.executable, "-c", REFUSE, *map(str, folders)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=dict(os.environ, MALLOC_ARENA_MAX="2", OMP_NUM_THREADS="1"),
    )
    assert done.returncode == 0, (done.stdout, done.stderr[-2000:])
    assert done.stdout.split() == ["True"] * len(folders)
