"""A disk with too little room: the need is said, the old state stays, and it goes on later."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import regraft
from tests.nets import small
from tests.pictures import write_folder
from tests.promises.processes import environment, litter, tree

#: A fit, its bundle with weights and a table, each under a limit on the size of any one file.
LIMITED = """
import json, resource, signal, sys
from pathlib import Path
from tests.nets import small
import regraft
from regraft.embed import embed
from regraft.errors import RegraftError

home, limits = Path(sys.argv[1]), json.loads(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
net = small()
run = regraft.fit(home / "data", net, head="ridge", plan="probe")  # with the cache of the test
said = []

def attempt(what, job):
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            job(limit)
        except RegraftError as problem:
            said.append((what, limit, str(problem)))
        else:
            said.append((what, limit, None))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

attempt("bundle", lambda limit: run.model.save(home / "out" / f"b{limit}", standalone=True))
attempt("run", lambda limit: run.save(home / "out" / f"r{limit}"))
attempt("table", lambda limit: embed(home / "data", home / "out" / f"t{limit}.parquet", net))
import os
os.environ["REGRAFT_CACHE"] = str(home / "new cache")
attempt("cache", lambda limit: run.model.predict(home / "data"))
sys.stdout.write(json.dumps(said))
"""
LIMITS = (0, 1, 1000, 20_000, 100_000, 1_000_000)


@pytest.mark.slow
def test_too_little_room_for_any_file(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write_folder(tmp_path / "data", 3)
    kept = regraft.fit(tmp_path / "data", small()).save(tmp_path / "out" / "old").folder
    assert kept is not None
    truth = tree(kept)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path), json.dumps(LIMITS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=Path(__file__).parents[2],
        env=environment(tmp_path / "cache"),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = {(what, limit): told for what, limit, told in json.loads(done.stdout)}
    assert len(said) == 4 * len(LIMITS)
    for (what, limit), told in said.items():
        if limit == LIMITS[-1]:
            assert told is None, (what, told)
        if limit < 1000:
            assert told is not None, (what, limit)
        if told is not None:
            assert "\n" not in told
            assert re.search(r"\d MB", told), told
            assert "File too large" in told or "iostream" in told, told
            assert "make room" in told
    assert tree(kept) == truth
    assert litter(tmp_path) == []
    left = {p.name for p in (tmp_path / "out").iterdir()} - {"old"}
    letter = {"bundle": "b", "run": "r", "table": "t"}
    good = {key for key, told in said.items() if told is None and key[0] in letter}
    ending = {"table": ".parquet"}
    assert left == {f"{letter[what]}{limit}{ending.get(what, '')}" for what, limit in good}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
@pytest.mark.parametrize("size", ["40k", "200k"])
def test_a_small_disk(size: str, tmp_path: Path) -> None:
    """A real file system that is full: cache and run are refused, and nothing is left on it."""
    write_folder(tmp_path / "data", 3)
    (tmp_path / "disk").mkdir()
    script = """
import os, sys
from pathlib import Path
import regraft
from regraft.errors import RegraftError
from tests.nets import small
home = Path(sys.argv[1])
run = regraft.fit(home / "data", small(), head="ridge", plan="probe")
disk = home / "disk"
room = os.statvfs(disk)
(disk / "ballast").write_bytes(b"x" * (room.f_bavail * room.f_frsize - 8192))
os.environ["REGRAFT_CACHE"] = str(disk / "cache")
for job in (lambda: run.save(disk / "run", standalone=True), lambda: run.predict(home / "data")):
    try:
        job()
    except RegraftError as problem:
        print(problem)
print(sorted(p.name for p in disk.rglob("*") if p.is_file()))
(disk / "ballast").unlink()
if sys.argv[2] == "200k":
    run.save(disk / "run", standalone=True)
    print(len(list((disk / "run" / "bundle").iterdir())))
"""
    mount = f'mount -t tmpfs -o size={size} none {tmp_path}/disk && exec "$@"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", sys.executable, "-c", script, tmp_path, size],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=Path(__file__).parents[2],
        env=environment(tmp_path / "cache"),
    )
    if done.returncode and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()[:80]}")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert re.search(
        r"run cannot be written \(No space left on device\): it needs 0\.\d\d MB", lines[0]
    )
    assert "cannot take 0.0 MB more" in lines[1]
    assert lines[2] == "['ballast']"
    if size == "200k":
        assert lines[3] == "6"
