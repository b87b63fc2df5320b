"""Where the cache is, and what happens where it cannot be."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from regraft import cachedir
from tests.pictures import write_folder


def test_the_named_folder_is_taken_where_it_can_be_written(tmp_path: Path) -> None:
    assert cachedir.is_writable(tmp_path)
    assert cachedir.is_writable(tmp_path / "not" / "there" / "yet")
    assert cachedir.cache_dir() == cachedir.named_dir()


def test_a_file_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    assert not cachedir.is_writable(tmp_path / "file")
    assert not cachedir.is_writable(tmp_path / "file" / "below")


def test_a_temporary_cache_reads_what_the_other_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "kept"
    (kept / "activations" / "p").mkdir(parents=True)
    (kept / "activations" / "p" / "s.safetensors").write_bytes(b"rows")
    (kept / "other").mkdir()
    (kept / "other" / "file").write_text("none of ours")
    monkeypatch.setenv("REGRAFT_CACHE", str(kept))
    monkeypatch.setattr(cachedir, "is_writable", lambda folder: False)
    with caplog.at_level(logging.WARNING):
        folder = cachedir.cache_dir()
        assert cachedir.cache_dir() == folder != kept
    assert len(caplog.records) == 1
    assert "cannot be written" in caplog.text
    assert (folder / "activations" / "p" / "s.safetensors").read_bytes() == b"rows"
    assert not (folder / "other").exists()
    (folder / "activations" / "p" / "s.safetensors").unlink()
    assert (kept / "activations" / "p" / "s.safetensors").read_bytes() == b"rows"
    cachedir._remove(folder, os.getpid() + 1)  # a forked process ends
    assert folder.is_dir()
    cachedir._remove(folder, os.getpid())
    assert not folder.exists()


READ_ONLY = """
import subprocess, sys
from pathlib import Path
import regraft
from tests.nets import small
run = regraft.fit(sys.argv[1], small(), head="ridge", plan="probe", near=False)
print(len(run.predict(sorted(Path(sys.argv[1]).rglob("*.png")))))
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
@pytest.mark.parametrize("temporary", [True, False])
def test_a_read_only_system(temporary: bool, tmp_path: Path) -> None:
    """Nothing may be written but temporary files, or nothing at all."""
    write_folder(tmp_path / "data", 3)
    (tmp_path / "room").mkdir()
    mount = (
        "mount --make-rprivate / && mount -o remount,bind,ro / && "
        + (f"mount -t tmpfs none {tmp_path}/room && " if temporary else "")
        + 'exec "$@"'
    )
    inside = ["unshare", "-rm", "sh", "-c", mount, "sh"]
    trial = subprocess.run([*inside, "true"], capture_output=True, check=False)
    if trial.returncode:
        pytest.skip("this system does not let us mount")
    env = {k: v for k, v in os.environ.items() if k not in ("REGRAFT_CACHE", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [*inside, sys.executable, "-c", READ_ONLY, str(tmp_path / "data")],
        env=env | {"HOME": "/nonexistent", "TMPDIR": str(tmp_path / "room")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if temporary:
        assert done.returncode == 0, done.stderr[-2000:]
        assert int(done.stdout.split()[-1]) > 0
        assert done.stderr.count("cannot be written") == 1
    else:
        last = done.stderr.splitlines()[-1]
        assert "REGRAFT_CACHE" in last or "temporary directory" in last
        assert "make room" not in last
