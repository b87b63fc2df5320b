"""Nothing asks the network once files are local: no network at all, and one that never answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pictures import write_folder
from tests.promises.hostile import GOLDEN
from tests.promises.processes import environment

#: Put in front of everything else that Python loads: a resolver and sockets that hang, and tell.
HANG = """
import os, socket, sys, time

def hang(*arguments, **how):
    with open(os.environ["ASKED"], "a") as out:
        out.write(f"{os.getpid()} {arguments[:2]!r}\\n")
    time.sleep(600)

socket.getaddrinfo = socket.gethostbyname = socket.gethostbyname_ex = hang
socket.create_connection = hang

class Socket(socket.socket):
    connect = hang
    connect_ex = hang
    sendto = hang

socket.socket = Socket
"""

#: A hub's cache as its client leaves it, filled with a network of timm and random weights.
FILL_HUB = """
import os, sys, timm, torch
from pathlib import Path
from safetensors.torch import save_file
home, name = Path(sys.argv[1]), sys.argv[2]
config = timm.get_pretrained_cfg(name)
torch.manual_seed(0)
model = timm.create_model(name, pretrained=False)
folder = home / ("models--" + config.hf_hub_id.replace("/", "--"))
commit = "c" * 40
(folder / "refs").mkdir(parents=True)
(folder / "refs" / "main").write_text(commit)
(folder / "snapshots" / commit).mkdir(parents=True)
save_file(model.state_dict(), folder / "snapshots" / commit / "model.safetensors")
"""
HUB = "test_efficientnet.r160_in1k"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("offline")
    write_folder(made / "data", 4)
    (made / "hang").mkdir()
    (made / "hang" / "sitecustomize.py").write_text(HANG)
    subprocess.run([sys.executable, "-c", FILL_HUB, made / "hub", HUB], check=True, timeout=300)
    shutil.copytree(GOLDEN / "standalone", made / "shipped")
    return made


def without_network() -> list[str]:
    """The command that runs another one where there is no network, [] if that is not allowed."""
    for how in (["unshare", "-n"], ["unshare", "-rn"]):
        if (
            shutil.which(how[0])
            and not subprocess.run([*how, "true"], capture_output=True, check=False).returncode
        ):
            return how
    return []


STEPS: tuple[tuple[str, ...], ...] = (
    ("--help",),
    ("doctor", "--quick", "--json"),
    ("backbones", "resnet*", "--json"),
    ("fit", "data", "--backbone", HUB, "--size", "64", "--out", "runs/hub", "--json"),
    ("fit", "runs/hub/run.toml", "--out", "runs/again", "--json"),
    ("evaluate", "runs/hub", "data", "--json"),
    ("predict", "runs/hub/bundle", "data/dots", "--json"),
    ("predict", "shipped", "data/dots", "--json"),
    ("inspect", HUB, "--size", "64", "--json"),
    ("embed", "data", "--backbone", HUB, "--size", "64", "--out", "f.parquet", "--json"),
    ("cache", "verify", "--json"),
)


def walk(home: Path, name: str, before: list[str], **more: str) -> None:
    """Every step in one process after the other, with a cache of its own."""
    work = home / name
    work.mkdir()
    for one in ("data", "shipped"):
        (work / one).symlink_to(home / one)
    how = environment(work / "cache", HF_HUB_CACHE=str(home / "hub"), **more)
    how.pop("HF_HUB_OFFLINE")  # the user set nothing
    for step in STEPS:
        done = subprocess.run(
            [*before, sys.executable, "-m", "regraft", *step],
            cwd=work,
            env=how,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, (step, done.stdout[-500:], done.stderr[-2000:])
        if "--json" in step:
            json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_every_step_without_a_network(home: Path) -> None:
    before = without_network()
    if not before:
        pytest.skip("no process may be put in a network of its own here")
    walk(home, "nowhere", before)


@pytest.mark.slow
def test_no_step_asks_a_network_that_hangs(home: Path) -> None:
    asked = home / "asked"
    path = os.pathsep.join([str(home / "hang"), *filter(None, [os.environ.get("PYTHONPATH")])])
    walk(home, "hanging", [], PYTHONPATH=path, ASKED=str(asked))
    assert not asked.exists(), asked.read_text()


@pytest.mark.slow
def test_the_network_that_hangs_would_have_told(home: Path) -> None:
    """The two tests above can fail: a backbone that is not there is asked for."""
    asked = home / "asked for once"
    path = os.pathsep.join([str(home / "hang"), *filter(None, [os.environ.get("PYTHONPATH")])])
    how = environment(home / "no cache", HF_HUB_CACHE=str(home / "empty hub"), PYTHONPATH=path)
    how.pop("HF_HUB_OFFLINE")
    process = subprocess.Popen(
        [sys.executable, "-m", "regraft", "fit", "data", "--backbone", "resnet18"],
        cwd=home,
        env=how | {"ASKED": str(asked)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(1200):
        if asked.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert "huggingface" in asked.read_text()
