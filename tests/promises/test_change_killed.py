"""A change that is killed leaves the old run or the new one, and what was to go still goes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

import regraft
from regraft.backbones import Backbone
from regraft.cache import entries
from regraft.change.opened import open_run
from regraft.errors import OptionError
from tests.nets import small
from tests.pictures import write_folder

#: What python tells of before it does it, of all that changes a disk; `renameat2` is looked up so.
STEPS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "ctypes.dlsym")


@pytest.fixture
def net() -> Backbone:
    return small()


@pytest.fixture
def home(tmp_path: Path, net: Backbone, own_cache: Path) -> Path:
    """A run with its data and a copy of the cache beside it."""
    data = write_folder(tmp_path / "data", 5)
    regraft.fit(data, net, head="ridge", plan="probe").save(tmp_path / "first")
    write_folder(tmp_path / "more", 7)
    regraft.load(tmp_path / "first", backbone=net).predict(tmp_path / "more")
    shutil.copytree(own_cache / "activations", tmp_path / "activations")
    return tmp_path


def killed_at(step: int, change: Any) -> bool:
    """Run `change` in a process that kills itself at its `step`-th step; whether it came so far."""
    child = os.fork()
    if not child:
        left = [step]

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
            if event in STEPS or writes:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            change()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def trial(home: Path, net: Backbone, cache: Path, kind: str, step: int) -> bool:
    """One kill, and whether all is well after it; False once a change ends before its `step`."""
    run, data = home / "run", home / "data"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(home / "first", run)
    shutil.rmtree(cache / "activations")
    shutil.copytree(home / "activations", cache / "activations")
    before = open_run(run, net).ledger
    row = before.learned[0]

    def change() -> None:
        if kind == "add":
            regraft.add(run, home / "more", backbone=net)
        else:
            regraft.remove(run, [row.id], backbone=net)

    cut = killed_at(step, change)
    now = open_run(run, net).ledger  # whole, and finishes what is pending
    regraft.load(run, backbone=net).predict(data / "dots")
    if kind == "add":
        assert len(now.learned) - len(before.learned) in (0, 21 - 15)
        if now == before:
            change()
        assert len(open_run(run, net).ledger.learned) == len(before.learned) + 6
    else:
        assert now in (before, before.without({row.digest}))
        if now == before:
            change()
        (data / row.id).rename(home / "aside.png")
        regraft.load(run, backbone=net).predict(data)
        (home / "aside.png").rename(data / row.id)
        places = [path for path, _, _ in entries()] + [p for p in home.rglob("*") if p.is_file()]
        kept = ("first", "activations", "data", "more")
        for path in places:
            if not any(path.is_relative_to(home / name) for name in kept):
                content = path.read_bytes()
                assert bytes.fromhex(row.digest) not in content, path
                assert row.digest.encode() not in content, path
    assert not [path for path in home.iterdir() if path.name.startswith(".")]
    return cut


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("kind", ["add", "remove"])
def test_some_kills(kind: str, home: Path, net: Backbone, own_cache: Path) -> None:
    assert trial(home, net, own_cache, kind, 1)
    for step in (8, 15, 22):
        trial(home, net, own_cache, kind, step)
    assert not trial(home, net, own_cache, kind, 10_000)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("kind", ["add", "remove"])
def test_a_kill_at_every_step(kind: str, home: Path, net: Backbone, own_cache: Path) -> None:
    step = 1
    while trial(home, net, own_cache, kind, step):
        step += 1
    assert step > 15


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_disk_that_cannot_swap_names(
    home: Path, net: Backbone, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two renames instead of one step: what a kill between them leaves is mended."""
    from regraft import files

    monkeypatch.setattr(files, "_swap", lambda one, other: False)
    steps = 1
    while trial(home, net, own_cache, "remove", steps) and steps < 60:
        steps += 5
    assert steps > 15


def test_two_changes_at_once_are_refused(
    home: Path, net: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.change import opened

    monkeypatch.setattr(opened, "PATIENCE", 0.1)
    with opened.alone(home / "first"), pytest.raises(OptionError, match="by another process"):
        regraft.add(home / "first", home / "more", backbone=net)
    regraft.add(home / "first", home / "more", backbone=net)
