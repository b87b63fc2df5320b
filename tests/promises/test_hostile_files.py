"""A folder of 40 good and over a hundred hostile files, through the real fit and the real audit.

No file stops the run, vanishes in silence or becomes another picture than the one it holds.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import regraft
from regraft.cli import run as command
from regraft.errors import DataError
from tests.data.drawn import SPEC, rows, saved
from tests.hostile import GOOD, LEVELS, Hostile, build
from tests.nets import small

MEMORY = 600_000_000  # bytes more than the good files alone need

#: Fits the good files, then audits and fits all of them; prints the audit, and writes what was
#: opened, how much memory that took and what the report says.
WATCHED = """
import json, os, resource, sys
import regraft
from regraft.cli import run as command
from tests.nets import small

root, good, out = sys.argv[1:]
opened = set()

def hook(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], (str, bytes)):
        opened.add(os.path.realpath(os.fsdecode(arguments[0])))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

net = small()
regraft.fit(good, net, threads=2)
before = peak()
sys.addaudithook(hook)
assert command(["audit", root, "--json", "--threads", "2"]) == 0
run = regraft.fit(root, net, threads=2, most_bad=0.9)
extra = peak() - before
with open(out, "w") as file:
    json.dump({"opened": sorted(opened), "extra": extra, "report": run.report}, file,
              allow_nan=False)
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    return build(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def watched(hostile: Hostile, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What a process of its own says about fitting the folder."""
    home = tmp_path_factory.mktemp("watched")
    for kind in ("checks", "dots"):
        (home / "good" / kind).mkdir(parents=True)
        for path in (hostile.root / kind).glob("0??.png"):
            (home / "good" / kind / path.name).write_bytes(path.read_bytes())
    environment = dict(os.environ, REGRAFT_CACHE=str(home / "cache"))
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, hostile.root, home / "good", home / "out.json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((home / "out.json").read_text())
    return found | {"audit": json.loads(done.stdout)}


def test_there_is_something_to_try(hostile: Hostile) -> None:
    assert sum(map(len, hostile.kinds.values())) >= 80
    assert set(hostile.kinds) == {
        "broken", "bombs", "modes", "transparency", "exif", "animation", "names", "not plain",
        "litter",
    }  # fmt: skip
    assert hostile.seen == GOOD + len(hostile.skipped) + len(hostile.used) + len(hostile.ignored)


def test_every_file_left_out_is_named_once_with_its_reason(hostile, watched) -> None:
    skipped = watched["report"]["audit"]["skipped"]
    reasons = {one["file"]: one["reason"] for one in skipped}
    assert len(reasons) == len(skipped), "one file is named twice"
    assert reasons.keys() == hostile.skipped.keys()
    wrong = {n: r for n, r in reasons.items() if not re.search(hostile.skipped[n], r)}
    assert not wrong


def test_the_counts_add_up(hostile: Hostile, watched) -> None:
    audit, report = watched["report"]["audit"], watched["report"]
    assert audit["seen"] == hostile.seen
    assert audit["used"] == GOOD + len(hostile.used)
    assert audit["ignored"] == len(hostile.ignored)
    assert audit["seen"] == audit["used"] + len(audit["skipped"]) + audit["ignored"]
    assert report["train"]["n"] + report["test"]["n"] == audit["used"]
    assert report["classes"] == ["checks", "dots"]


def test_the_audit_alone_says_the_same(hostile: Hostile, watched) -> None:
    audit, fitted = watched["audit"], watched["report"]["audit"]
    for what in ("seen", "used", "skipped", "ignored", "classes", "duplicates"):
        assert audit[what] == fitted[what]
    assert audit["classes"]["checks"]["unsplit"] == GOOD // 2
    assert audit["classes"]["dots"]["unsplit"] == GOOD // 2 + len(hostile.used)


@pytest.mark.parametrize("how", [["--strict"], ["--most-bad", "0.1"]])
def test_the_audit_refuses_on_the_command_line(how, hostile: Hostile, capsys) -> None:
    assert command(["audit", str(hostile.root), *how]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert str(len(hostile.skipped)) in last


def test_memory_stays_bounded(watched) -> None:
    assert watched["extra"] < MEMORY


def test_nothing_outside_the_folder_is_read(hostile: Hostile, watched) -> None:
    opened = watched["opened"]
    assert str(hostile.root.resolve() / "checks" / "000.png") in opened, "the hook sees nothing"
    banned = [str(hostile.outside.resolve()), "/dev/zero", str(hostile.root / "dots" / "pipe.png")]
    assert not [path for path in opened if path.startswith(tuple(banned))]
    assert not (Path.cwd() / "owned").exists()


def test_none_becomes_another_picture(hostile: Hostile) -> None:
    far = {}
    for name, twin in hostile.used.items():
        ours, upright = rows(hostile.paths[name].read_bytes()), rows(saved(twin, "PNG"))
        gap = float(np.abs(ours.astype(int) - upright).mean())
        if gap > LEVELS:
            far[name] = gap
    assert not far
    assert SPEC.size == (64, 64)


def test_hostile_files_are_answered_like_their_twins(hostile: Hostile, tmp_path: Path) -> None:
    """The same class, and nearly the same probability, as the plain PNG of the same picture."""
    net = small()
    good = tmp_path / "good"
    good.mkdir()
    for kind in ("checks", "dots"):
        (good / kind).mkdir()
        for path in (hostile.root / kind).glob("0??.png"):
            (good / kind / path.name).write_bytes(path.read_bytes())
    run = regraft.fit(good, net, head="ridge", plan="probe")
    twins = {}
    for number, (name, twin) in enumerate(hostile.used.items()):
        twin.save(tmp_path / f"{number}.png")
        twins[name] = str(tmp_path / f"{number}.png")
    said = {p.file: p for p in run.predict(list(twins.values()))}
    odd = {p.file: p for p in run.predict(hostile.root)}
    for name in hostile.skipped:
        one = odd[str(hostile.root / name)]
        assert one.label is None, name
        assert one.error
    for name, twin_path in twins.items():
        one, twin = odd[str(hostile.root / name)], said[twin_path]
        assert one.label == twin.label, name
        assert abs(one.probabilities["dots"] - twin.probabilities["dots"]) < 0.05, name


def test_too_many_bad_files_or_a_strict_user_end_in_a_sentence(hostile: Hostile) -> None:
    net = small()
    for how in ({"most_bad": 0.01}, {"strict": True}):
        with pytest.raises(DataError) as caught:
            regraft.fit(hostile.root, net, **how)
        assert str(len(hostile.skipped)) in str(caught.value)
        assert "\n" not in str(caught.value)
