"""A bundle is whole, unchanged and plain data, or it is refused in one sentence."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import regraft
from regraft.backbones import Backbone
from regraft.bundle import CHECKSUMS, CONFIG, HEAD, METRICS, pretty
from regraft.errors import BackboneError, BundleError
from regraft.files import digest
from tests.nets import small
from tests.pictures import write_folder


@pytest.fixture(scope="module")
def net():
    return small()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, net):
    data = write_folder(tmp_path_factory.mktemp("bundle") / "data", 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(tmp_path_factory.mktemp("bundle-cache")))
        return regraft.fit(data, net, plan="probe")


@pytest.fixture
def folder(run, tmp_path: Path) -> Path:
    return run.model.save(tmp_path / "bundle")


def reseal(folder: Path) -> None:
    """Checksums that fit, as an attacker would write them."""
    names = [p.name for p in folder.iterdir() if p.name != CHECKSUMS]
    sums = {name: digest((folder / name).read_bytes()) for name in names}
    (folder / CHECKSUMS).write_bytes(pretty(sums))


def rewrite(folder: Path, change) -> None:
    """The config after `change`, with checksums that fit."""
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))
    reseal(folder)


def test_files_and_round_trip(folder: Path, run, net) -> None:
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "checksums.json",
        "config.json",
        "head.safetensors",
        "metrics.json",
    ]
    model = regraft.load(folder, backbone=net)
    assert model.classes == run.model.classes
    assert model.metrics == json.loads((folder / METRICS).read_text())
    for name, array in run.model.head.arrays().items():
        assert (model.head.arrays()[name] == array).all()


def test_any_flipped_bit_is_noticed(folder: Path, net) -> None:
    random = np.random.default_rng(0)
    files = sorted(folder.iterdir())
    for _ in range(150):
        path = files[random.integers(len(files))]
        sound = path.read_bytes()
        data = bytearray(sound)
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        path.write_bytes(data)
        with pytest.raises(BundleError):
            regraft.load(folder, backbone=net)
        path.write_bytes(sound)
    regraft.load(folder, backbone=net)


@pytest.mark.parametrize("name", [CONFIG, HEAD, METRICS, CHECKSUMS, "README.md"])
def test_a_missing_file(name: str, folder: Path, net) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"its {name} cannot be read"):
        regraft.load(folder, backbone=net)


@pytest.mark.parametrize("name", [CONFIG, HEAD])
def test_links_and_devices_are_not_followed(name: str, folder: Path, net, tmp_path: Path) -> None:
    (folder / name).rename(tmp_path / "real")
    (folder / name).symlink_to(tmp_path / "real")
    with pytest.raises(BundleError, match="cannot be read"):
        regraft.load(folder, backbone=net)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(BundleError, match="must be a plain file"):
        regraft.load(folder, backbone=net)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(extra=1), "extra"),
        (lambda c: c.update(trust_remote_code=True), "trust_remote_code"),
        (lambda c: c["backbone"].update(auto_map="x"), "backbone.auto_map"),
        (lambda c: c["backbone"]["input"].update(size=[0, 32]), "size must be 2 numbers"),
        (lambda c: c["backbone"]["input"].update(std=[0, 1, 1]), "std must be 3 numbers"),
        (lambda c: c["backbone"]["input"].update(modality="smell"), "modality must be one of"),
        (lambda c: c["backbone"]["input"].pop("crop"), "an image input has other fields"),
        (lambda c: c.update(classes=["a", "a", "b"]), "classes must differ"),
        (lambda c: c.update(classes=["a", "b"]), "the head has 3 classes"),
        (lambda c: c.update(at=["nowhere"]), "'nowhere', which the backbone lacks"),
        (lambda c: c.update(at=["stem"]), "the head reads 24 features"),
        (lambda c: c.update(format=3, regraft="9.1"), "install regraft 9.1 or newer"),
        (lambda c: c.update(format="1"), "format"),
        (lambda c: c.pop("seed"), "seed"),
        (lambda c: c["backbone"].update(digest="short"), "backbone.digest"),
        (lambda c: c["backbone"].update(digest="0" * 64), "the backbone given has"),
        (lambda c: c.update(head={"name": "x"}), "head.dim: Field required"),
        (lambda c: c["head"].update(layers=["affine", "dance"]), "stored head"),
    ],
)
def test_a_config_that_lies(change, said: str, folder: Path, net) -> None:
    rewrite(folder, change)
    with pytest.raises(regraft.RegraftError, match=said) as caught:
        regraft.load(folder, backbone=net)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"a": 1}'])
def test_checksums_that_are_no_table(text: str, folder: Path, net) -> None:
    (folder / CHECKSUMS).write_text(text)
    with pytest.raises(BundleError):
        regraft.load(folder, backbone=net)


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x04K\x01.", b"PK\x03\x04", (2**62).to_bytes(8, "little") + b"{}"]
)
def test_a_head_that_is_no_safetensors(data: bytes, folder: Path, net) -> None:
    (folder / HEAD).write_bytes(data)
    reseal(folder)
    with pytest.raises(BundleError, match="not a safetensors file"):
        regraft.load(folder, backbone=net)


def test_weights_that_are_not_finite(folder: Path, net) -> None:
    from safetensors.numpy import load_file, save_file

    arrays = load_file(folder / HEAD)
    name = max(arrays, key=lambda n: arrays[n].size)
    arrays[name].flat[3] = np.nan
    save_file(arrays, folder / HEAD)
    reseal(folder)
    with pytest.raises(regraft.RegraftError, match="finite"):
        regraft.load(folder, backbone=net)


def test_a_huge_config_is_not_read(folder: Path, net) -> None:
    with (folder / CONFIG).open("r+b") as file:
        file.truncate(500 * 2**20)  # sparse
    with pytest.raises(BundleError, match="more than the"):
        regraft.load(folder, backbone=net)


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        regraft.load(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="not a regraft bundle"):
        regraft.load(tmp_path)


def test_an_existing_folder_is_not_overwritten(run, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(BundleError, match="there exists; name a folder that does not"):
        run.model.save(tmp_path / "there")
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]


def test_an_own_network_has_to_be_passed(run, folder: Path, tmp_path: Path) -> None:
    whole = run.model.save(tmp_path / "whole", standalone=True)  # weights are no network
    for path in (folder, whole):
        with pytest.raises(BundleError, match=r"pass it as regraft\.load\(path, backbone=…\)"):
            regraft.load(path)
    with pytest.raises(BundleError, match="the backbone given has"):
        regraft.load(folder, backbone=small(seed=9))


def test_no_bundle_stands_alone_whose_network_only_the_hub_describes(run, tmp_path: Path) -> None:
    info = replace(run.model.backbone.info, name="hf-hub:somebody/net", source="hub")
    net = Backbone(info, run.model.backbone._whole, run.model.backbone._resize)
    with pytest.raises(BundleError, match="'hf-hub:somebody/net' is described by its repository"):
        replace(run.model, backbone=net).save(tmp_path / "whole", standalone=True)
    assert not (tmp_path / "whole").exists()


def test_loading_runs_nothing_and_opens_only_its_files(folder: Path, net) -> None:
    (folder / "evil.py").write_text("raise SystemExit")
    (folder / "model.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    regraft.load(folder, backbone=net)  # imports what it needs
    seen: list[tuple[str, str]] = []
    watching = True

    def watch(event: str, arguments: tuple) -> None:
        if watching and event in ("open", "exec", "compile", "import", "subprocess.Popen"):
            seen.append((event, str(arguments[0])))

    sys.addaudithook(watch)
    regraft.load(folder, backbone=net)
    watching = False
    # `os.fdopen` tells of the number of a file that is open already
    opened = {Path(name).name for event, name in seen if event == "open" and not name.isdigit()}
    assert opened == {
        "README.md",
        "checksums.json",
        "config.json",
        "head.safetensors",
        "metrics.json",
    }
    assert {event for event, _ in seen} == {"open"}


@pytest.mark.slow
def test_a_stand_alone_bundle_carries_its_backbone(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", 4)
    run = regraft.fit(data, "resnet10t", weights="random", size=64)
    thin = run.model.save(tmp_path / "thin")
    whole = run.model.save(tmp_path / "whole", standalone=True)
    assert (whole / "backbone.safetensors").stat().st_size > 1e6
    truth = run.predict(data)
    assert regraft.load(whole).predict(data) == truth
    assert regraft.load(thin).predict(data) == truth
    model = regraft.load(whole)
    assert len(model.backbone.stages) == len(model.backbone.info.stages)
    content = bytearray((whole / "backbone.safetensors").read_bytes())
    content[-5] ^= 1
    (whole / "backbone.safetensors").write_bytes(content)
    with pytest.raises(BundleError, match="its checksum differs"):
        regraft.load(whole)
    reseal(whole)  # checksums that fit, but not the weights that the head was fitted on
    with pytest.raises(BackboneError, match="have the digest"):
        _ = regraft.load(whole).backbone.stages
