"""What is listed of backbones: every fact has a source, and nothing is made up."""

from __future__ import annotations

import io
import json

import pytest
import timm
from rich.console import Console
from torchvision.models import ResNet18_Weights

from regraft.backbones import DEFAULT, list_backbones
from regraft.backbones.listing import _data
from regraft.cli import backbones
from regraft.errors import BackboneError


def one(name):
    (found,) = [entry for entry in list_backbones(name) if entry["name"] == name]
    return found


def test_published_scores_are_those_of_the_same_weights():
    entry, published = one("resnet18.tv_in1k"), ResNet18_Weights.IMAGENET1K_V1
    scores = published.meta["_metrics"]["ImageNet-1K"]
    assert entry["top1"]["value"] == scores["acc@1"]
    assert entry["top1"]["source"] == "torchvision, the file resnet18-f37072fd.pth"
    assert entry["parameters"] == {
        "value": published.meta["num_params"],
        "source": "counted, with its classifier",
    }
    other = one("resnet18.a1_in1k")
    assert other["top1"] == {"value": None, "source": ""}
    assert other["licence"] == {"value": "apache-2.0", "source": "timm config"}


def test_every_fact_has_a_source_or_is_blank():
    entries = list_backbones()
    assert len(entries) == len(timm.list_models(pretrained=True))
    for entry in entries:
        for key, fact in entry.items():
            if key != "name":
                assert bool(fact["source"]) == (fact["value"] not in (None, "")), (entry, key)


def test_what_a_backbone_suits_is_a_rule_on_a_counted_fact():
    small, large = one(DEFAULT), one("vgg16.tv_in1k")
    assert small["suits"]["value"] == "small device"
    assert large["suits"]["value"] == "GPU"
    assert large["suits"]["source"].startswith("rule:")


@pytest.mark.parametrize(
    ("tag", "data"),
    [
        ("augreg_in21k_ft_in1k", "in21k then in1k"),
        ("a1_in1k", "in1k"),
        ("swag_ft_in1k", None),  # fine-tuned, and on what before is not in the tag
        ("openai", None),
        (None, None),
    ],
)
def test_the_training_data_is_what_the_tag_says(tag, data):
    assert _data(tag)["value"] == data


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("MobileNetV2", "mobilenetv2_100.ra_in1k"), ("resnet18.*", "resnet18.a1_in1k")],
)
def test_patterns(pattern, name):
    assert name in [entry["name"] for entry in list_backbones(pattern)]


def test_a_pattern_that_matches_nothing():
    with pytest.raises(BackboneError, match="no backbone matches 'resnet512'"):
        list_backbones("resnet512")


def test_the_table():
    data = backbones.table("tf_efficientnet_lite0")
    assert json.loads(json.dumps(data)) == data
    shown = io.StringIO()
    backbones.show(data, Console(file=shown, width=160))
    assert "tf_efficientnet_lite0.in1k" in shown.getvalue()
    assert "Apache-2.0" in shown.getvalue()
    assert "timm config" in shown.getvalue()
