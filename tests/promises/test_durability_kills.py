"""Killed, interrupted, hung up, started eight times at once: the same bytes in the end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from regraft.cache import clear, verify
from regraft.files import ENDING, PART, sweep, whole_file, whole_folder
from tests.pictures import write_folder
from tests.promises.processes import (
    finish,
    group_is_gone,
    litter,
    start,
    start_command,
    tree,
)

KILLS = 4


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough pictures to be in the middle of them when a signal comes."""
    data = write_folder(tmp_path_factory.mktemp("many") / "data", 20)
    for path in list(data.rglob("*.png")):
        for number in range(12):  # bytes after a picture's end make it another file
            copy = path.with_name(f"{path.stem}-{number}.png")
            copy.write_bytes(path.read_bytes() + bytes([number]))
    return data


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a compiled trunk without activations, and the bundle of an undisturbed run."""
    made = tmp_path_factory.mktemp("kills")
    write_folder(made / "data", 60)
    finish(start(made / "data", made / "clean", made / "cache"))
    shutil.rmtree(made / "cache" / "activations")
    started = time.monotonic()
    shutil.copytree(made / "cache", made / "timed")
    finish(start(made / "data", made / "again", made / "timed"))
    (made / "seconds").write_text(str(time.monotonic() - started))
    return made


@pytest.mark.slow
def test_killed_at_any_instant_the_same_command_ends_with_the_same_bundle(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(0)
    seconds = float((home / "seconds").read_text())
    truth = tree(home / "clean" / "bundle")
    for number in range(KILLS):
        cache, out = tmp_path / f"cache{number}", tmp_path / f"runs{number}" / "run"
        shutil.copytree(home / "cache", cache)
        process = start(home / "data", out, cache)
        time.sleep(chance.uniform(0.2, 1.0) * seconds)
        process.kill()
        process.communicate()
        if out.exists():  # it had come to its end
            assert tree(out / "bundle") == truth
            shutil.rmtree(out)
        finish(start(home / "data", out, cache))
        assert tree(out / "bundle") == truth
        monkeypatch.setenv("REGRAFT_CACHE", str(cache))
        assert verify() == []
        clear()
        assert litter(cache, out.parent) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("phase", ["found", "in the middle", "features"])
def test_a_signal_stops_in_order(
    name: str, phase: str, home: Path, many: Path, tmp_path: Path
) -> None:
    number = signal.Signals[name]
    cache, out = tmp_path / "cache", tmp_path / "runs" / "run"
    shutil.copytree(home / "cache", cache)
    process = start_command(many, out, cache)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("computed" if phase == "features" else "found"):
            break
    time.sleep(0.8 if phase == "in the middle" else 0.0)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert "interrupted; what was computed is kept" in said
    assert "Traceback" not in said
    assert group_is_gone(process)
    assert not out.exists()
    assert litter(tmp_path) == []


@pytest.mark.slow
def test_eight_at_once_on_an_empty_and_on_a_half_full_cache(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = tree(home / "clean" / "bundle")
    cache = tmp_path / "cache"
    monkeypatch.setenv("REGRAFT_CACHE", str(cache))

    def eight(name: str) -> list:
        return [start(home / "data", tmp_path / f"{name}{n}", cache) for n in range(8)]

    for process in eight("empty"):
        finish(process)
    assert all(tree(tmp_path / f"empty{n}" / "bundle") == truth for n in range(8))
    assert verify() == []
    shutil.rmtree(cache / "activations")
    write_folder(tmp_path / "half", 30)  # the first half of the same pictures
    finish(start(tmp_path / "half", tmp_path / "half-run", cache))
    processes = eight("full")
    for process in processes[:3]:
        time.sleep(0.7)
        process.kill()
    for process in processes[:3]:
        process.communicate()
    for number, process in list(enumerate(processes))[3:]:
        finish(process)
        assert tree(tmp_path / f"full{number}" / "bundle") == truth
    assert verify() == []
    clear()
    assert litter(cache) == []


def test_only_the_litter_of_the_dead_is_swept(tmp_path: Path) -> None:
    dead_file, dead_folder = tmp_path / f"{PART}a{ENDING}", tmp_path / f"{PART}b{ENDING}"
    dead_file.write_bytes(b"half")
    (dead_folder / "bundle").mkdir(parents=True)
    other = tmp_path / ".download.part"  # of another program
    other.write_text("not ours")
    with whole_folder(tmp_path) as folder:
        assert not dead_file.exists()  # the next one to write sweeps
        assert not dead_folder.exists()
        with whole_file(tmp_path / "f") as part:
            assert sweep(tmp_path) == 0  # both live
            assert part.exists()
            assert folder.exists()
            part.write_text("whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".download.part", "f"]


def test_clearing_the_cache_leaves_what_is_being_written(own_cache: Path) -> None:
    home = own_cache / "activations" / "p"
    dead = home / f"{PART}dead{ENDING}"
    dead.parent.mkdir(parents=True)
    dead.write_bytes(b"half")
    (own_cache / "trunks" / f"{PART}dead{ENDING}").mkdir(parents=True)
    with whole_file(home / "x.safetensors") as part:
        dead.write_bytes(b"half")
        assert clear()[0] == 2
        assert part.exists()
        part.write_bytes(b"whole")
    assert (home / "x.safetensors").read_bytes() == b"whole"
    assert litter(own_cache) == []


@pytest.mark.slow
def test_nothing_but_the_seed_decides_the_bytes(home: Path, tmp_path: Path) -> None:
    """Another order of hashes, folders, clock, language, mask and place; then another seed."""
    truth = tree(home / "clean" / "bundle")
    data = tmp_path / "elsewhere" / "data"
    files = sorted((home / "data").rglob("*.png"))
    random.Random(1).shuffle(files)
    for path in files:
        to = data / path.relative_to(home / "data")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    how = {"PYTHONHASHSEED": "7", "TZ": "Pacific/Auckland", "LC_ALL": "C", "LANG": "tr_TR.UTF-8"}
    before, mask = Path.cwd(), os.umask(0o077)
    os.chdir(tmp_path)
    try:
        finish(start(data, tmp_path / "run", tmp_path / "other cache", **how))
    finally:
        os.chdir(before)
        os.umask(mask)
    assert tree(tmp_path / "run" / "bundle") == truth
    finish(start(data, tmp_path / "other", tmp_path / "other cache", SEED="1"))
    assert tree(tmp_path / "other" / "bundle") != truth
