"""Locks, both those of the system and those beside a file, which Windows has to use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from regraft import files, locks

BOTH = pytest.mark.parametrize("beside", [False, True], ids=["itself", "beside"])
HOLD = """
import sys
from pathlib import Path
from regraft import locks
if sys.argv[2] == "True":
    locks.fcntl = None
held = locks.lock(Path(sys.argv[1]))
print("held" if held else "busy", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def way(beside: bool, monkeypatch: pytest.MonkeyPatch) -> bool:
    if beside:
        monkeypatch.setattr(locks, "fcntl", None)
    elif locks.fcntl is None:
        pytest.skip("this system locks no folders")
    return beside


def holder(path: Path, beside: bool) -> subprocess.Popen[str]:
    """Another process that holds the lock of `path` until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(beside)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    return process


@BOTH
def test_one_holder_at_a_time(tmp_path: Path, way: bool) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    held = locks.lock(folder)
    assert held is not None
    assert held.sure
    assert locks.lock(folder) is None
    held.close()
    again = locks.lock(folder)
    assert again is not None
    again.close()
    assert list(tmp_path.iterdir()) == [folder]


@BOTH
def test_a_killed_process_holds_nothing(tmp_path: Path, way: bool) -> None:
    with holder(tmp_path, way) as process:
        assert locks.lock(tmp_path) is None
        process.kill()
    held = locks.lock(tmp_path)
    assert held is not None
    held.close()


@BOTH
def test_what_is_not_there_cannot_be_locked(tmp_path: Path, way: bool) -> None:
    with pytest.raises(FileNotFoundError):
        locks.lock(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []


@BOTH
def test_what_the_living_write_is_not_swept(tmp_path: Path, way: bool) -> None:
    with files.whole_folder(tmp_path) as part:
        assert files.sweep(tmp_path) == 0
        (part / "a").write_text("a")
        files.put_folder(part, tmp_path / "done")
    with files.whole_file(tmp_path / "file") as part:
        assert files.sweep(tmp_path) == 0
        part.write_text("b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["done", "file"]


@BOTH
def test_what_the_dead_left_is_swept(tmp_path: Path, way: bool) -> None:
    left = tmp_path / f"{files.PART}x{files.ENDING}"
    left.mkdir()
    with holder(left, way) as process:
        assert files.sweep(tmp_path) == 0
        process.kill()
    assert files.sweep(tmp_path) == 1
    assert not left.exists()
    assert [p for p in tmp_path.iterdir() if not files.is_part(p)] == []


ELSEWHERE = """
import os, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("O_NOFOLLOW", "O_NONBLOCK", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
from pathlib import Path
import regraft
from regraft import cache
from tests.nets import small

data, out = map(Path, sys.argv[1:])
net = small()
run = regraft.fit(data, net, head="ridge", plan="probe", near=False).save(out)
model = regraft.load(out, backbone=net)
paths = sorted(data.rglob("*.png"))
print(sum(p.label == Path(p.file).parent.name for p in model.predict(paths)), len(paths))
print(cache.clear()[0] > 0, sorted(p.name for p in out.iterdir() if p.name.startswith(".")))
"""


def test_a_system_without_unix_calls(tmp_path: Path) -> None:
    """What only Unix has is missing: fit, save, load, predict and clear the cache all the same."""
    from tests.pictures import write_folder

    write_folder(tmp_path / "data", 4)
    process = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "data"), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    lines = process.stdout.splitlines()
    right, count = map(int, lines[0].split())
    assert right >= 0.9 * count > 0
    assert lines[1] == "True []"
