"""Equal weights in another network are another backbone, and the same network is the same."""

from __future__ import annotations

import copy
import functools
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import regraft
from regraft.backbones import Backbone, Tap, backbone, from_module
from regraft.backbones.graph import by_hand, network_of
from regraft.backbones.resolve import from_info
from regraft.data import images
from regraft.errors import BackboneError, BundleError, OptionError
from regraft.features import compute
from regraft.inputs import ImageSpec, spec_from
from regraft.pipeline import pipeline, tap_name
from tests.nets import Small
from tests.pictures import write_folder

SPEC = ImageSpec((32, 32))


class Net(nn.Module):
    """One convolution and what follows, which has no weights."""

    def __init__(self, act: nn.Module | None = None, **how) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, **how)
        self.norm = nn.BatchNorm2d(8)
        self.act = act or nn.ReLU()
        self.scale = 1.0

    def forward(self, x):
        return self.act(self.norm(self.conv(x))).mean((2, 3)) * self.scale


class Opaque(nn.Module):
    """Cannot be traced: it looks at the numbers."""

    def __init__(self, power: float = 2.0, step=torch.sigmoid) -> None:
        super().__init__()
        self.power = power
        self.step = step

    def forward(self, x):
        if float(x.sum()) > 1e9:
            return x
        return self.step(x) ** self.power


class OpaqueToo(nn.Module):
    """Cannot be traced either, and computes something else."""

    def __init__(self, power: float = 2.0, step=torch.sigmoid) -> None:
        super().__init__()
        self.power = power
        self.step = step

    def forward(self, x):
        if float(x.sum()) > 1e9:
            return x
        return self.step(x) * self.power


class Tensor(nn.Module):
    """Holds a tensor that is neither a parameter nor a buffer."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = torch.tensor(factor)

    def forward(self, x):
        return x * self.factor


def opened(act: nn.Module | None = None, change=None, **how) -> Backbone:
    """The network with the same seeded weights, whatever follows them."""
    torch.manual_seed(3)
    net = Net(act, **how).eval()
    if change:
        change(net)
    return from_module(net, input=SPEC)


def cubed(x):
    return x**3


def tripled(x):
    return x * 3


DIFFERENT = {
    "activation": lambda: opened(nn.Tanh()),
    "approximate": lambda: opened(nn.GELU()),
    "approximate tanh": lambda: opened(nn.GELU(approximate="tanh")),
    "slope": lambda: opened(nn.LeakyReLU(0.2)),
    "stride": lambda: opened(stride=2),
    "padding": lambda: opened(padding=1),
    "padding mode": lambda: opened(padding=1, padding_mode="reflect"),
    "dilation": lambda: opened(dilation=2),
    "eps": lambda: opened(change=lambda net: setattr(net.norm, "eps", 1e-2)),
    "burnt in": lambda: opened(change=lambda net: setattr(net, "scale", 2.0)),
    "opaque": lambda: opened(Opaque()),
    "opaque, other number": lambda: opened(Opaque(3.0)),
    "opaque, other code": lambda: opened(OpaqueToo()),
    "opaque, other function": lambda: opened(Opaque(step=torch.tanh)),
    "opaque, own function": lambda: opened(Opaque(step=cubed)),
    "opaque, other own function": lambda: opened(Opaque(step=tripled)),
    "opaque, bound": lambda: opened(Opaque(step=functools.partial(F.leaky_relu, negative_slope=2))),
    "tensor": lambda: opened(Tensor(2.0)),
    "other tensor": lambda: opened(Tensor(3.0)),
}


def test_equal_weights_in_different_networks():
    nets = {"as it is": opened()} | {name: make() for name, make in DIFFERENT.items()}
    assert len({net.info.digest for net in nets.values()}) == 1
    seen: dict[str, str] = {}
    for name, net in nets.items():
        assert net.info.network not in seen, (name, seen.get(net.info.network))
        seen[net.info.network] = name


@pytest.mark.parametrize("name", ["approximate", "opaque", "opaque, own function", "tensor"])
def test_the_same_network_made_twice(name):
    assert DIFFERENT[name]().info == DIFFERENT[name]().info


def test_what_changes_no_number_does_not_count():
    plain = opened().info
    torch.manual_seed(4)
    other_weights = from_module(Net().eval(), input=SPEC).info
    assert other_weights.digest != plain.digest
    assert other_weights.network == plain.network
    assert opened(nn.ReLU(inplace=True)).info == plain
    assert opened(nn.Dropout(0.1)).info == opened(nn.Dropout(0.2)).info
    trained = from_module(opened().network().train(), input=SPEC)
    assert trained.info == plain
    assert from_module(copy.deepcopy(opened().network()), input=SPEC).info == plain


SOURCE = """
from torch import nn

class Own(nn.Module):
    {note}
    def forward(self, x):
        {note}
        return x {sign} 2 if float(x.sum()) < 1e9 else x  {comment}
"""


def written(folder: Path, **how: str) -> nn.Module:
    """A module whose class has been read from a file."""
    path = folder / f"own_{len(list(folder.iterdir()))}.py"
    path.write_text(SOURCE.format(**how))
    scope: dict[str, object] = {"__name__": path.stem}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    return scope["Own"]()


def test_words_about_code_do_not_count(tmp_path: Path):
    def network(**how: str) -> str:
        return opened(written(tmp_path, **how)).info.network

    bare = network(note="''", comment="", sign="+")
    assert network(note="'''Adds two.'''", comment="# two", sign="+") == bare
    assert network(note="''", comment="", sign="-") != bare


def test_code_without_a_source():
    def module(sign: str) -> nn.Module:
        scope: dict[str, object] = {"__name__": "typed"}
        text = SOURCE.format(note="''", comment="", sign=sign)
        exec(compile(text, "<typed in>", "exec"), scope)
        return scope["Own"]()

    added, again, taken = (opened(module(sign)).info.network for sign in "++-")
    assert added == again != taken


def test_how_it_is_pooled_counts():
    flow = torch.rand(2, 5, 8)
    parts = {"one": nn.Linear(8, 8), "two": nn.Sequential(nn.GELU(), nn.LayerNorm(8))}
    stages = by_hand(parts, flow)
    plain = network_of(stages)
    assert network_of(by_hand(copy.deepcopy(parts), flow)) == plain
    stages[1].info = replace(stages[1].info, prefix_tokens=1)
    assert network_of(stages) != plain
    parts["two"][1].eps = 0.1
    assert network_of(by_hand(parts, flow)) != plain


FACTS = """
import json
from regraft.backbones import backbone
names = {names}
found = [backbone(name, weights="random", size=size, cache=False) for name, size in names]
print(json.dumps([net.info.network for net in found]))
"""
NAMES = [
    ("resnet10t", 64),
    ("test_vit", 64),
    ("test_efficientnet", 64),
    ("tf_mobilenetv3_small_minimal_100", 64),
]


@pytest.mark.slow
def test_equal_in_two_processes_and_two_constructions():
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    out = subprocess.run(
        [sys.executable, "-c", FACTS.format(names=NAMES)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": other},
    )
    here = [backbone(n, weights="random", size=size, cache=False).info.network for n, size in NAMES]
    assert json.loads(out.stdout) == here
    assert len(set(here)) == len(NAMES)


def test_the_padding_of_tensorflow_is_another_network():
    torch.manual_seed(0)
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    ours = timm.create_model("efficientnet_lite0", num_classes=0).eval()
    ours.load_state_dict(theirs.state_dict())
    one, other = (from_module(net, input=SPEC).info for net in (theirs, ours))
    assert one.digest == other.digest
    assert one.network != other.network


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", 4)


def rows(data: Path, net: Backbone):
    """The pooled output of the last stage, and what the pass cost."""
    tap = Tap(len(net) - 1)
    found = compute(images(data).examples, pipeline(net, [tap], precision="f32"))
    kept = found.rows[tap_name(tap)]
    return kept[:], found.counts


def test_another_activation_is_computed_and_not_looked_up(data: Path):
    relu, _ = rows(data, opened())
    tanh, counts = rows(data, opened(nn.Tanh()))
    assert (counts.state, counts.misses) == ("cold", 12)
    assert relu.min() >= 0 > tanh.min()
    assert np.array_equal(rows(data, opened())[0], relu)


def test_a_bundle_on_another_network_is_refused(data: Path, tmp_path: Path):
    folder = regraft.fit(data, opened()).model.save(tmp_path / "bundle")
    assert regraft.load(folder, backbone=opened()).classes
    with pytest.raises(BundleError, match=r"same weights and computes something else") as caught:
        regraft.load(folder, backbone=opened(nn.Tanh()))
    assert "\n" not in str(caught.value)
    torch.manual_seed(4)
    with pytest.raises(BundleError, match="was made on the weights"):
        regraft.load(folder, backbone=from_module(Net().eval(), input=SPEC))


def test_a_named_backbone_that_changed_is_told_of_once(caplog):
    info = backbone("test_resnet", weights="random", size=64).info
    with caplog.at_level(logging.WARNING, "regraft"):
        assert from_info(info).stages
        assert not caplog.records
        old = from_info(replace(info, network="ab" * 32))
        assert old.stages
        assert old.network()
    (said,) = caplog.records
    assert "abababababab…" in said.getMessage()
    assert info.network[:12] in said.getMessage()


def test_a_record_of_another_network_is_noticed(monkeypatch):
    """timm was edited in place, without another version."""
    backbone("test_resnet", weights="random", size=64)
    warm = backbone("test_resnet", weights="random", size=64)
    made = nn.BatchNorm2d.__init__
    monkeypatch.setattr(
        nn.BatchNorm2d, "__init__", lambda self, n, eps=0.0, **how: made(self, n, eps=0.1, **how)
    )
    with pytest.raises(BackboneError, match="the layers of 'test_resnet' are not the ones"):
        _ = warm.stages
    assert backbone("test_resnet", weights="random", size=64).info.network != warm.info.network


GOOD = ImageSpec((32, 32))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"size": 32}, {}),
        ({"size": [32, 32], "mean": list(GOOD.mean), "std": list(GOOD.std)}, {}),
        ({"mean": np.array(GOOD.mean), "std": np.array(GOOD.std, np.float64)}, {}),
        ({"mean": 0.5, "std": 0.25}, {"mean": (0.5,) * 3, "std": (0.25,) * 3}),
    ],
)
def test_an_input_as_people_write_it(given: dict, meant: dict) -> None:
    made = from_module(Small().eval(), input=replace(GOOD, **given))
    assert made.input == replace(GOOD, **meant)
    assert spec_from(json.loads(json.dumps(made.input.json()))) == made.input


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mean": (0.5,)}, "mean must be 3 numbers"),
        ({"std": (0, 0, 0)}, "std must be 3 numbers"),
        ({"std": 0.0}, "std must be 3 numbers"),
        ({"mean": (float("nan"),) * 3}, "mean must be 3 numbers"),
        ({"crop": 1.5}, "crop must be a number from 0.001 to 1, got 1.5"),
        ({"size": (3, 224, 224)}, "size must be 2 numbers"),
        ({"size": 0}, "size must be 2 numbers"),
        ({"interpolation": "cubic"}, "interpolation must be one of"),
    ],
)
def test_an_input_that_no_bundle_holds_is_refused_where_it_is_made(given: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        from_module(Small().eval(), input=replace(GOOD, **given))


def test_a_mean_of_values_to_255_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    scaled = replace(GOOD, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))
    with caplog.at_level(logging.WARNING):
        from_module(Small().eval(), input=GOOD)
        assert not caplog.records
        from_module(Small().eval(), input=scaled)
    assert "divide mean and std by 255" in caplog.text
