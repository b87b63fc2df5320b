"""`regraft inspect`: the data and the table."""

from __future__ import annotations

import io
import json

from rich.console import Console

from regraft.backbones import at_hand, backbone
from regraft.cli import inspect


def test_the_data():
    data = json.loads(json.dumps(inspect.inspect("test_resnet", size=64, layers=True)))
    assert (data["name"], data["source"]) == ("test_resnet", "random")
    assert data["parameters"] == sum(stage["parameters"] for stage in data["stages"])
    assert [stage["index"] for stage in data["stages"]] == list(range(len(data["stages"])))
    keys = {"index", "name", "kind", "parameters", "shape", "layout", "flops", "activation_bytes"}
    assert keys <= set(data["stages"][0])
    assert data["layer_count"] == len(data["layers"])
    assert data["layers"][0] == {
        "index": 0,
        "name": "conv1.0",
        "type": "Conv2d",
        "parameters": data["layers"][0]["parameters"],
    }
    assert sum(layer["parameters"] for layer in data["layers"]) == data["parameters"]


def test_work_is_counted():
    data = inspect.inspect("test_resnet", size=64)
    found = backbone("test_resnet", weights="random", size=64)
    stem = found.network().conv1[0]
    out, into, height, width = stem.weight.shape
    side = 64 // stem.stride[0]
    assert data["stages"][0]["flops"] >= 2 * out * into * height * width * side * side
    larger = inspect.inspect("test_resnet", size=128)
    assert larger["stages"][1]["flops"] == 4 * data["stages"][1]["flops"]


def test_what_is_not_on_this_machine_is_shown_without_a_download():
    assert at_hand()
    assert not at_hand("test_resnet")
    shown = io.StringIO()
    data = inspect.inspect("test_resnet", size=64, layers=True)
    inspect.show(data, Console(file=shown, width=120))
    assert "not downloaded: shown with random weights" in shown.getvalue()
    assert "layer1.0" in shown.getvalue()
    assert f"{data['layer_count']} layers" in shown.getvalue()


def test_the_packaged_one_is_shown_with_its_licence():
    shown = io.StringIO()
    inspect.show(inspect.inspect("tf_efficientnet_lite0"), Console(file=shown, width=120))
    assert "licence Apache-2.0, revision" in shown.getvalue()
    assert "blocks.6.0" in shown.getvalue()
