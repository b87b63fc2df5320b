"""The hub's real client against a local stand-in, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save

from tests.backbones.hub_stand_in import NEW, OLD, Hub

NAME, REPOSITORY = "test_resnet.r160_in1k", "timm/test_resnet.r160_in1k"

FETCH = """
import sys
from regraft.backbones.hub import WEIGHTS, fetch
from regraft.errors import BackboneError
try:
    got = fetch("some/repository", WEIGHTS, sys.argv[1])
    print(got.path.name, got.commit, got.path.read_bytes().hex()[:8], got.path.stat().st_size)
except BackboneError as problem:
    print("refused:", problem)
"""


def run(code: str, home: Path, endpoint: str, *arguments: str, **environment: str) -> str:
    """What a process of its own prints."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE"))}
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=clean | settings | {"NO_PROXY": "*", "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def blob(letter: str, size: int = 300_000) -> bytes:
    return letter.encode() * size


def test_safetensors_are_preferred(tmp_path):
    files = {(NEW, "model.safetensors"): blob("s"), (NEW, "pytorch_model.bin"): blob("b")}
    with Hub(files) as hub:
        assert run(FETCH, tmp_path, hub.url, "main").startswith(f"model.safetensors {NEW} 7373")
        assert not any(path.endswith(".bin") for _, path, _ in hub.asked)


def test_the_older_format_where_there_is_no_other(tmp_path):
    with Hub({(NEW, "pytorch_model.bin"): blob("b")}) as hub:
        assert run(FETCH, tmp_path, hub.url, "main").startswith(f"pytorch_model.bin {NEW} 6262")


def test_a_download_that_breaks_off_is_resumed(tmp_path):
    content = os.urandom(24_000_000)
    with Hub({(NEW, "model.safetensors"): content}, cut="model.safetensors") as hub:
        out = run(FETCH, tmp_path, hub.url, "main")
        assert out.split()[2:] == [
            content[:4].hex(),
            "24000000",
        ]  # the first 10 MiB are not asked for again
        assert [r for method, _, r in hub.asked if method == "GET" and r.startswith("bytes=1")]


def test_a_flipped_bit_is_refused_and_not_kept(tmp_path):
    with Hub({(NEW, "model.safetensors"): blob("s")}, flipped="model.safetensors") as hub:
        said = run(FETCH, tmp_path, hub.url, "main")
        assert said.startswith("refused: the file model.safetensors of 'some/repository' has the")
        assert "try again" in said
        hub.flipped = ""
        assert run(FETCH, tmp_path, hub.url, "main").startswith("model.safetensors")


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "GatedRepo", "are gated: accept their terms"),
        (401, "GatedRepo", "are gated: accept their terms"),
        (401, "", "lets nobody in to 'some/repository' without a login (status 401)"),
        (404, "RepoNotFound", "there is no repository 'some/repository' on the hub"),
    ],
)
def test_a_door_that_is_shut(tmp_path, status, code, said):
    with Hub({}, status=(status, code)) as hub:
        assert said in run(FETCH, tmp_path, hub.url, "main")


def test_a_revision_is_pinned(tmp_path):
    files = {(OLD, "model.safetensors"): blob("o"), (NEW, "model.safetensors"): blob("n")}
    with Hub(files, branches={"main": NEW, "v1": OLD}) as hub:
        assert run(FETCH, tmp_path, hub.url, "v1").startswith(f"model.safetensors {OLD} 6f6f")
        assert run(FETCH, tmp_path, hub.url, OLD).startswith(f"model.safetensors {OLD} 6f6f")
        assert run(FETCH, tmp_path, hub.url, "main").startswith(f"model.safetensors {NEW} 6e6e")
        assert "has no revision 'v2'" in run(FETCH, tmp_path, hub.url, "v2")


def test_a_repository_without_weights(tmp_path):
    with Hub({(NEW, "README.md"): b"hello"}) as hub:
        said = run(FETCH, tmp_path, hub.url, "main")
        assert "has no file model.safetensors or pytorch_model.bin" in said


@pytest.mark.slow  # the client tries a server that is gone for a quarter of a minute
def test_offline_and_unreachable(tmp_path):
    with Hub({(NEW, "model.safetensors"): blob("s")}) as hub:
        offline = run(FETCH, tmp_path, hub.url, "main", HF_HUB_OFFLINE="1")
        assert "not in the cache and HF_HUB_OFFLINE is set" in offline
        assert not hub.asked
        fetched = run(FETCH, tmp_path, hub.url, "main")
        asked = len(hub.asked)
        assert run(FETCH, tmp_path, hub.url, "main", HF_HUB_OFFLINE="1") == fetched
        assert len(hub.asked) == asked
        gone = hub.url
    assert run(FETCH, tmp_path, gone, "main") == fetched
    assert "cannot be reached" in run(FETCH, tmp_path / "empty", gone, "main")


LOAD = """
import sys
from regraft.backbones import backbone
found = backbone("test_resnet", size=64, revision=sys.argv[1] or None)
print(found.info.name, found.info.source, found.info.revision, found.info.licence)
print(found.info.digest, "torch" in sys.modules)
if sys.argv[2]:
    tensors = found.stages.tensors()
    print(float(tensors["conv1.0.weight"].sum()), found.classifier().out_features)
"""


@pytest.mark.slow  # four processes that import torch
def test_a_backbone_from_the_hub(tmp_path, own_cache):
    torch.manual_seed(9)
    old = timm.create_model("test_resnet").state_dict()
    new = timm.create_model("test_resnet").state_dict()
    files = {(OLD, "model.safetensors"): save(old), (NEW, "model.safetensors"): save(new)}
    with Hub(files, branches={"main": OLD}) as hub:
        cold = run(LOAD, tmp_path, hub.url, "", "stages").splitlines()
        assert cold[0] == f"{NAME} hub {OLD} Apache-2.0"
        assert cold[1].endswith("True")
        assert float(cold[2].split()[0]) == pytest.approx(float(old["conv1.0.weight"].sum()))
        assert cold[2].split()[1] == "1000"
        assert all(REPOSITORY in path for _, path, _ in hub.asked)

        hub.branches["main"] = NEW  # the record stands for the commit that was loaded
        asked = len(hub.asked)
        warm = run(LOAD, tmp_path, hub.url, "", "").splitlines()
        assert warm == [cold[0], cold[1].replace("True", "False")]
        assert len(hub.asked) == asked
        again = run(LOAD, tmp_path, hub.url, "", "stages").splitlines()
        assert again[2] == cold[2]

        pinned = run(LOAD, tmp_path, hub.url, NEW, "").splitlines()
        assert pinned[0] == f"{NAME} hub {NEW} Apache-2.0"
        assert pinned[1].split()[0] != cold[1].split()[0]
