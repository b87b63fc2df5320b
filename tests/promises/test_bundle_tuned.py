"""Bundles of trained backbones: whole, unchanged and on the weights they were trained from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import regraft
from regraft.backbones import Backbone, backbone
from regraft.bundle import BACKBONE, CHECKSUMS, CONFIG, TUNED, pretty
from regraft.errors import BackboneError, BundleError, RegraftError
from tests.nets import small
from tests.pictures import write_folder
from tests.promises.hostile import TRAINED, copy, reseal, rewrite, verdict
from tests.promises.test_bundle_attack import flips, places, refused, replacements
from tests.promises.test_bundle_tensors import joined, lies_of_contents, lies_of_headers, parted

PLAN = {
    "name": "finetune",
    "phases": [{"cut": "end", "solve": True}, {"cut": "top", "epochs": 3, "lr": 1e-3}],
    "recipe": {"optimizer": "adamw", "batch": 32},
}
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy("tuned", tmp_path / "bundle", TRAINED)


@pytest.fixture(scope="module")
def lite() -> Backbone:
    """The golden bundle's base, opened once."""
    net = backbone(cache=False)
    assert net.stages
    return net


@pytest.fixture(scope="module")
def net() -> Backbone:
    return small()


def top_of(net: Backbone, *stages: str) -> dict[str, torch.Tensor]:
    """Tensors of the highest stages as training might leave them."""
    random = torch.Generator().manual_seed(3)
    held = {name: t for stage in stages for name, t in net[stage].tensors().items()}
    return {
        name: t + 0.1 * torch.rand(t.shape, generator=random) if t.is_floating_point() else t + 40
        for name, t in held.items()
    }


def fitted(data: Path, net: Backbone) -> regraft.Model:
    """A head on a backbone that was tuned, with a plan that says so."""
    run = regraft.fit(data, net, head="ridge", plan="probe", precision="f32")
    return replace(run.model, plan=PLAN)


# -- what is in it, and what comes back ----------------------------------------------------------
def test_it_holds_what_changed_and_names_the_rest(net: Backbone, tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", 4)
    made = net.tuned(top_of(net, "top"))
    model = fitted(data, made)
    folder = model.save(tmp_path / "bundle")
    assert set(load_file(folder / TUNED)) == set(net["top"].tensors())
    for name, value in load_file(folder / TUNED).items():
        np.testing.assert_array_equal(value, made.changed()[name].detach().numpy())
    config = json.loads((folder / CONFIG).read_text())
    assert config["format"] == 2
    assert config["backbone"]["base"] == net.info.digest
    assert config["backbone"]["digest"] == made.info.digest
    assert config["tuned"]["stages"] == ["top"]
    assert config["plan"] == PLAN
    before = {n: t.clone() for n, t in net.stages.tensors().items()}
    again = regraft.load(folder, backbone=net)
    assert again.predict(data) == model.predict(data)
    assert again.backbone.info == model.backbone.info
    assert again.backbone.tuning == made.tuning
    assert again.plan == PLAN
    for name, tensor in made.stages.tensors().items():
        assert torch.equal(again.backbone.stages.tensors()[name], tensor)
    assert all(torch.equal(t, before[n]) for n, t in net.stages.tensors().items())
    assert regraft.load(folder, backbone=made).predict(data) == model.predict(data)


def test_a_network_of_ones_own_stands_on_the_base_that_is_given(
    net: Backbone, tmp_path: Path
) -> None:
    data = write_folder(tmp_path / "data", 4)
    made = net.tuned(top_of(net, "top"))
    model = fitted(data, made)
    thin = model.save(tmp_path / "thin")
    whole = model.save(tmp_path / "whole", standalone=True)
    for folder in (thin, whole):
        found = regraft.load(folder, backbone=net)
        assert found.backbone.info.digest == made.info.digest
        tensors = found.backbone.stages.tensors()
        assert all(torch.equal(t, tensors[n]) for n, t in made.stages.tensors().items())
        with pytest.raises(BundleError, match=f"the weights {net.info.digest[:12]}…, the backbone"):
            regraft.load(folder, backbone=small(seed=9))
        with pytest.raises(BundleError, match="made on your own network 'small'"):
            regraft.load(folder)


FRESH = """
import json, os, sys
import regraft
bundle, data = sys.argv[1:]
found = regraft.load(bundle).predict(data)
heavy = [name for name in ("torch", "timm") if name in sys.modules]
print(json.dumps({"heavy": heavy, "said": {p.file: p.probabilities for p in found}}))
"""


def fresh(bundle: Path, data: Path, cache: Path) -> dict[str, Any]:
    """What a process of its own says of the pictures, and what it had to import."""
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(bundle), str(data)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=dict(os.environ, REGRAFT_CACHE=str(cache), OMP_NUM_THREADS="1"),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A trained model saved in both ways, a warm cache, and what it says of other pictures."""
    home = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(home / "cache"))
        net = backbone("test_efficientnet", weights="random", size=64)
        made = net.tuned(top_of(net, "blocks.4.0", "bn2"))
        model = fitted(write_folder(home / "data", 3), made)
        model.save(home / "thin")
        model.save(home / "whole", standalone=True)
        assert (home / "whole" / BACKBONE).exists()
        assert not (home / "whole" / TUNED).exists()
        other = write_folder(home / "other", 5)
        return {"home": home, "model": model, "net": net, "other": other}


def test_a_compiled_trunk_needs_no_torch(kept: dict[str, Any], own_cache: Path) -> None:
    """In a process of its own, for pictures that nobody has seen, and equal to the bit."""
    home = kept["home"]
    shutil.copytree(home / "cache", own_cache, dirs_exist_ok=True)
    found = fresh(home / "thin", kept["other"], own_cache)
    assert found["heavy"] == []
    said = {one.file: one.probabilities for one in kept["model"].predict(kept["other"])}
    assert found["said"] == said


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["thin", "whole"])
def test_a_fresh_machine_says_the_same_to_the_bit(
    kind: str, kept: dict[str, Any], tmp_path: Path
) -> None:
    found = fresh(kept["home"] / kind, kept["other"], tmp_path / "cache")
    assert found["heavy"] == ["torch", "timm"]
    said = {one.file: one.probabilities for one in kept["model"].predict(kept["other"])}
    assert found["said"] == said


def test_a_stand_alone_bundle_goes_on_without_its_base(
    kept: dict[str, Any], tmp_path: Path
) -> None:
    """Saved again it is the bundle that it was; tuned again it still names the first base."""
    net, made, home = kept["net"], kept["model"].backbone, kept["home"]
    whole = regraft.load(home / "whole")
    assert whole.backbone.tuning == made.tuning
    again = whole.save(tmp_path / "again")
    for path in (home / "thin").iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()
    further = whole.backbone.tuned(top_of(whole.backbone, "blocks.3.0"))
    assert further.info.base == net.info.digest
    assert further.tuning is not None
    assert further.tuning.stages == ("blocks.3.0", "blocks.4.0", "bn2")
    same = net.tuned({**made.changed(), **further.changed()})
    assert same.info.digest == further.info.digest
    larger = whole.backbone.resized(96)
    assert larger.tuning == made.tuning
    assert larger.info.base == net.info.digest


def test_a_network_trained_from_nothing_is_all_in_the_bundle(net: Backbone, tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", 3)
    random = small(seed=77)
    made = net.tuned(random.stages.tensors())
    assert made.info.digest == random.info.digest
    folder = fitted(data, made).save(tmp_path / "bundle")
    learned = {name for name, _ in random.network().named_parameters()}
    held = set(load_file(folder / TUNED))
    assert {name for name in learned if "norm" not in name} <= held  # norms begin alike
    tensors = regraft.load(folder, backbone=net).backbone.stages.tensors()
    assert all(torch.equal(t, tensors[n]) for n, t in random.stages.tensors().items())
    assert "stages from `stem` up" in (folder / "README.md").read_text()


# -- what is not believed ------------------------------------------------------------------------
def test_a_hundred_flipped_bits(folder: Path) -> None:
    flips(folder, 100)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tuned", "standalone"])
def test_a_thousand_flipped_bits(kind: str, tmp_path: Path) -> None:
    flips(copy(kind, tmp_path / "bundle", TRAINED), 1000)


def test_no_link_and_no_device_is_opened(folder: Path, tmp_path: Path) -> None:
    for _ in replacements(folder / TUNED, tmp_path):
        refused(folder)
    regraft.load(folder)


def test_a_header_that_lies_is_refused_at_loading(folder: Path) -> None:
    sound = (folder / TUNED).read_bytes()
    lies = dict(lies_of_headers(sound))
    assert len(lies) == 19
    for lie, data in lies.items():
        (folder / TUNED).write_bytes(data)
        reseal(folder)
        said = verdict(folder)
        assert said is not None, lie
        assert "is not a safetensors file" in said, lie


def test_a_file_with_more_than_was_said_is_not_read(folder: Path) -> None:
    with (folder / TUNED).open("r+b") as file:
        file.truncate(2**37)  # sparse
    refused(folder, "more than the")


NAMES = ("another name", "missing tensor", "extra tensor")


def test_other_contents_are_refused(folder: Path, lite: Backbone) -> None:
    """Names at loading, and types, shapes and values before they are used."""
    sound = (folder / TUNED).read_bytes()
    config = json.loads((folder / CONFIG).read_text())
    for lie, data in lies_of_contents(sound):
        (folder / TUNED).write_bytes(data)
        (folder / CONFIG).write_bytes(pretty(config))
        reseal(folder)
        if lie in NAMES:
            refused(folder, r"has other tensors than config\.json names")
            names = sorted(parted(data)[0])
            rewrite(folder, CONFIG, lambda c, n=names: c | {"tuned": c["tuned"] | {"tensors": n}})
        said = {
            "another name": "is no tensor of the backbone",
            "missing tensor": "other stages, or others in number|does not have the digest",
            "extra tensor": "is no tensor of the backbone",
            "NaN": "not finite numbers",
            "infinity": "not finite numbers",
        }.get(lie, "must be torch")
        model = regraft.load(folder, backbone=lite)
        with pytest.raises(BackboneError, match=said) as caught:
            _ = model.backbone.stages
        assert str(caught.value).isprintable()


def test_other_numbers_with_right_checksums_are_not_the_model(folder: Path, lite: Backbone) -> None:
    held = load_file(folder / TUNED)
    held["bn2.bias"][5] += 1
    save_file(held, folder / TUNED)
    reseal(folder)
    with pytest.raises(BackboneError, match="does not have the digest"):
        _ = regraft.load(folder, backbone=lite).backbone.stages


def test_more_tensors_than_were_trained_are_refused(folder: Path, lite: Backbone) -> None:
    """Even if they are the base's own, so that the network would be the same."""
    held = load_file(folder / TUNED)
    own = lite.stages.tensors()["conv_head.weight"].detach().numpy()
    save_file(held | {"conv_head.weight": own}, folder / TUNED)
    names = sorted([*held, "conv_head.weight"])
    rewrite(folder, CONFIG, lambda c: c | {"tuned": c["tuned"] | {"tensors": names}})
    with pytest.raises(BackboneError, match="others in number"):
        _ = regraft.load(folder, backbone=lite).backbone.stages


def test_another_base_is_refused_before_it_is_used(folder: Path) -> None:
    other = backbone("test_efficientnet", weights="random", size=64)
    with pytest.raises(BundleError, match="the backbone given has"):
        regraft.load(folder, backbone=other)
    rewrite(folder, CONFIG, lambda c: c | {"backbone": c["backbone"] | {"base": "0" * 64}})
    with pytest.raises(BackboneError, match="not the 000000000000… that were used before"):
        _ = regraft.load(folder).backbone.stages


def into(key: str, **change: Any) -> Change:
    return lambda config: config[key].update(change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(format=1), "format 1 has neither"),
        (lambda c: c.update(format=3, regraft="9.1"), r"install regraft 9\.1 or newer"),
        (lambda c: c.pop("tuned"), "format 2 is for a trained backbone"),
        (lambda c: c.update(tuned=None), "format 2 is for a trained backbone"),
        (lambda c: c["backbone"].pop("base"), "format 2 is for a trained backbone"),
        (into("backbone", base=""), "backbone.base"),
        (lambda c: c.update(plan=None), "'plan' must be a table"),
        (into("tuned", stages=["nowhere"]), "must name stages of the backbone"),
        (into("tuned", stages=["bn2", "blocks.6.0"]), "in their order"),
        (into("tuned", stages=[]), "tuned.stages"),
        (into("tuned", tensors=[]), "tuned.tensors"),
        (into("tuned", tensors=["bn2.weight", "bn2.bias"]), "must be sorted"),
        (into("tuned", parameters=10**9), "more parameters than its stages"),
        (into("tuned", parameters=-1), "tuned.parameters"),
        (into("tuned", more=1), "tuned.more"),
        (into("plan", phases=[]), "plan.phases"),
        (into("plan", phases=[{"cut": {"a": 1}}]), "plan.phases"),
        (into("plan", phases=[{}] * 300), "plan.phases"),
        (into("plan", recipe={"lr": float("inf")}), "no number"),
        (into("plan", recipe={f"k{i}": 0 for i in range(200)}), "plan.recipe"),
        (into("plan", code="import os"), "plan.code"),
    ],
)
def test_a_config_that_lies(change: Change, said: str, folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))
    reseal(folder)
    with pytest.raises(RegraftError, match=said) as caught:
        regraft.load(folder)
    assert "\n" not in str(caught.value)


def test_no_table_takes_a_switch_that_turns_on_code(folder: Path) -> None:
    sound = json.loads((folder / CONFIG).read_text())
    tables = [c[k] for c, k in places(sound["plan"]) if isinstance(c[k], dict)]
    assert len(tables) == 3
    for table in (*tables, sound["plan"], sound["tuned"]):
        table["trust_remote_code"] = True
        (folder / CONFIG).write_text(json.dumps(sound))
        reseal(folder)
        refused(folder, "trust_remote_code")
        del table["trust_remote_code"]


@pytest.mark.parametrize("kind", ["tuned", "standalone"])
def test_the_files_are_those_of_its_kind(kind: str, tmp_path: Path) -> None:
    """Neither none nor both of the files of weights, nor either in a bundle of format 1."""
    folder = copy(kind, tmp_path / "bundle", TRAINED)
    sums = json.loads((folder / CHECKSUMS).read_text())
    name = TUNED if kind == "tuned" else BACKBONE
    for wrong in (
        {n: s for n, s in sums.items() if n != name},
        sums | {TUNED: sums[name], BACKBONE: sums[name]},
        sums | {"extra.safetensors": "0" * 64},
    ):
        (folder / CHECKSUMS).write_bytes(pretty(wrong))
        refused(folder, f"and either {TUNED} or {BACKBONE}")
    plain = copy("head-only", tmp_path / "plain")
    (plain / TUNED).write_bytes((TRAINED / "tuned" / TUNED).read_bytes())
    sums = json.loads((plain / CHECKSUMS).read_text())
    (plain / CHECKSUMS).write_bytes(pretty(sums | {TUNED: sums["README.md"]}))
    reseal(plain)
    refused(plain, "must list")


def test_the_base_alone_is_not_taken_for_the_model(folder: Path) -> None:
    """With the tensors away it is refused, not answered by the weights before."""
    (folder / TUNED).unlink()
    refused(folder, f"its {TUNED} cannot be read")


def test_a_stand_alone_one_is_believed_no_further(tmp_path: Path) -> None:
    folder = copy("standalone", tmp_path / "bundle", TRAINED)
    sound = (folder / BACKBONE).read_bytes()
    header, body = parted(sound)
    (folder / BACKBONE).write_bytes(joined(header, body[:-4] + np.float32(2).tobytes()))
    reseal(folder)
    with pytest.raises(BackboneError, match="have the digest"):
        _ = regraft.load(folder).backbone.stages
