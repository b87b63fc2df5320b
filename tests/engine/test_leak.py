"""A model that is loaded once and asked again and again keeps its memory, files and threads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
import gc, json, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import regraft
from tests.nets import small
from tests.pictures import picture

home, calls = Path(sys.argv[1]), int(sys.argv[2])
run = regraft.fit(home / "data", small(), head="ridge", plan="probe", near=False)
new = []
for number in range(calls + 10):
    new.append(home / f"{number}.png")
    picture("dots", 1000 + number).save(new[-1])

def state():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    threads = int(next(l for l in Path("/proc/self/status").read_text().splitlines()
                       if l.startswith("Threads")).split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd")), threads

for path in new[:10]:
    run.predict([path])
before = state()
for path in new[10:]:
    run.predict([path])
after = state()
print(json.dumps({"mb": (after[0] - before[0]) / calls, "files": after[1] - before[1],
                  "threads": after[2] - before[2]}))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("calls", [25, pytest.param(200, marks=pytest.mark.slow)])
def test_predicting_again_and_again(calls: int, tmp_path: Path) -> None:
    from tests.pictures import write_folder

    write_folder(tmp_path / "data", 3)
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path), str(calls)],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    grown = json.loads(done.stdout.splitlines()[-1])
    assert grown["mb"] < 1, grown
    assert grown["files"] == 0, grown
    assert grown["threads"] <= 0, grown
