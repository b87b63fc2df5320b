"""A network that remembers drawn pictures knows its like, and says so the same way every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ImageOps
from torch import nn

from regraft import cache, similarity
from regraft.backbones import Backbone, from_loaded, from_module
from regraft.backbones.request import Loaded
from regraft.inputs import ImageSpec
from regraft.similarity import Similarity
from tests.nets import small
from tests.similarity.pictures import Change, blurred, digests, drawn, ends, learned, noisy


@pytest.fixture(scope="module")
def net() -> Backbone:
    return learned()


def asked(net: Backbone, count: int = 12, change: Change = lambda image: image) -> Similarity:
    examples = drawn(count, 500, change)
    return similarity.measure(net, examples, ends(examples), digests(examples), threads=1)


def test_it_knows_its_like(net: Backbone) -> None:
    found = asked(net)
    assert found.verdict == "like the source"
    assert found.method == "BatchNorm statistics"
    assert found.score > 0.9
    assert found.pictures == 36
    assert not found.rough
    assert [stage.stage for stage in found.per_stage] == [s.name for s in net.info.stages]
    assert all(s.score > 0.8 for s in found.per_stage if s.score is not None)
    assert found.distance < 4 * found.error + 0.01


@pytest.mark.parametrize(
    "worse",
    [[blurred(r) for r in (0, 2, 5, 12)], [noisy(s) for s in (0, 40, 90, 250)]],
    ids=["blur", "noise"],
)
def test_the_worse_the_pictures_the_lower_the_score(net: Backbone, worse: list[Change]) -> None:
    found = [asked(net, change=change) for change in worse]
    far = [f.distance for f in found]
    assert far == sorted(far)
    assert [f.score for f in found] == sorted((f.score for f in found), reverse=True)
    assert far[-1] - far[0] > 10 * found[-1].error or found[-1].verdict == "unlike"


def test_inverted_pictures_are_less_like(net: Backbone) -> None:
    plain, inverted = asked(net), asked(net, change=ImageOps.invert)
    assert inverted.distance > 2 * plain.distance
    assert inverted.score < plain.score


def test_a_stage_is_told_by_its_own_layer(net: Backbone) -> None:
    """Other statistics in the last layer are seen there and nowhere below."""
    network = learned().network()
    top = network.top.norm
    top.running_mean += 3 * top.running_var.sqrt()
    moved = from_module(network, input=net.input)
    before, after = asked(net).per_stage, asked(moved).per_stage
    assert [stage.distance is None for stage in before] == [False, False, False, True]
    assert after[2].distance > 0.5 > before[2].distance
    assert (*after[:2], after[3]) == (*before[:2], before[3])


def test_cached_is_uncached(net: Backbone, own_cache: Path) -> None:
    said: list[str] = []
    examples = drawn(4, 500)
    given = (net, examples, ends(examples), digests(examples))
    first = similarity.measure(*given, threads=1, say=said.append)
    again = similarity.measure(*given, threads=1, say=said.append)
    assert again == first
    assert len(said) == 1
    (path,) = (own_cache / "similarity").glob("*.json")
    path.write_bytes(path.read_bytes().replace(b'"score"', b'"sc0re"'))
    assert cache.verify() == [path]
    assert similarity.measure(*given, threads=1, say=said.append) == first
    assert len(said) == 2
    assert cache.clear()[0] == 1
    assert not path.exists()


def test_neither_order_nor_threads_nor_copies_change_it(net: Backbone) -> None:
    examples = drawn(30, 500)
    found = similarity.measure(net, examples, ends(examples), digests(examples), threads=1)
    assert found.pictures == 64
    cache.clear()
    mixed = [examples[i] for i in np.random.default_rng(1).permutation(90)] + examples[:20]
    again = similarity.measure(net, mixed, ends(mixed), digests(mixed), threads=2)
    assert again == found


def test_a_cached_answer_needs_no_torch(net: Backbone, own_cache: Path, tmp_path: Path) -> None:
    found = asked(net)
    (tmp_path / "info.json").write_text(json.dumps(net.info.json()))
    code = f"""
import json, sys
from pathlib import Path
from regraft.backbones.core import Backbone
from regraft.backbones.info import BackboneInfo
info = BackboneInfo.from_json(json.loads(Path({str(tmp_path / "info.json")!r}).read_text()))
net = Backbone(info, None, None)
from regraft.data import Example
from regraft.similarity import measure
import numpy as np
labels, digests = json.loads(sys.argv[1])
examples = [Example(str(i), Path("gone"), label) for i, label in enumerate(labels)]
found = measure(net, examples, np.zeros((len(labels), 24), np.float32), digests, threads=1)
print(json.dumps([found.json(), [m for m in ("torch", "timm", "scipy") if m in sys.modules]]))
"""
    examples = drawn(12, 500)
    given = json.dumps([[e.label for e in examples], digests(examples)])
    environment = dict(os.environ, REGRAFT_CACHE=str(own_cache))
    done = subprocess.run(
        [sys.executable, "-c", code, given], capture_output=True, text=True, env=environment
    )
    assert not done.returncode, done.stderr
    held, heavy = json.loads(done.stdout)
    assert Similarity.from_json(held) == found
    assert heavy == []


def test_few_pictures_are_said_to_be_rough(net: Backbone) -> None:
    for count in (1, 2):
        found = asked(net, count)
        assert found.rough
        assert f"{3 * count} pictures are few" in found.why
    examples = drawn(1, 500)[:1]
    one = similarity.measure(net, examples, ends(examples), digests(examples), threads=1)
    assert one.rough
    assert one.error == 0


def test_untrained_networks_are_unknown() -> None:
    found = asked(small())
    assert (found.verdict, found.score, found.per_stage) == ("unknown", None, ())
    assert "no BatchNorm layer with statistics of its source" in found.why
    drawn_at_random = small()
    drawn_at_random.info = replace(drawn_at_random.info, source="random")
    assert "random weights" in asked(drawn_at_random).why
    assert similarity.measure(small(), [], np.zeros((0, 24)), [], threads=1).score is None


def test_a_tuned_backbone_is_asked_below_what_was_trained(net: Backbone) -> None:
    plain = asked(net)
    top = {n: t + 0.1 for n, t in net.stages.tensors().items() if n.startswith("top.conv")}
    tuned = asked(net.tuned(top))
    first = min(i for i, s in enumerate(net.info.stages) if s.name.startswith("top"))
    assert tuned.per_stage[:first] == plain.per_stage[:first]
    assert all(stage.distance is None for stage in tuned.per_stage[first:])
    assert f"stages from '{net.info.stages[first].name}' on were trained anew" in tuned.why
    stem = {n: t + 0.1 for n, t in net.stages.tensors().items() if n.startswith("stem.conv")}
    lost = asked(net.tuned(stem))
    assert lost.verdict == "unknown"
    assert "the backbone that it was made from" in lost.why


class Classifying(nn.Module):
    """(B, 3, 16, 16) to the colour's three numbers, or with `classes` to logits; no BatchNorm."""

    def __init__(self, classes: bool) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.fc = nn.Linear(3, 3, bias=False) if classes else nn.Identity()
        if classes:
            nn.init.eye_(self.fc.weight)
            self.fc.weight.data *= 10

    def get_classifier(self) -> nn.Module:
        return self.fc

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.flat(self.pool(x)))


@pytest.mark.parametrize(
    ("colour", "verdict"),
    [((0, 0, 3), "like the source"), ((1, 1, 1), "unlike"), ((0, 0.23, 0), "unknown")],
)
def test_a_classifier_tells_where_it_is_sure_or_has_no_idea(colour: tuple, verdict: str) -> None:
    loaded = Loaded(
        Classifying(False).eval(), ImageSpec((16, 16)), "colours", whole=lambda: Classifying(True)
    )
    net = from_loaded(loaded, "file")
    examples = drawn(4)
    end = np.tile(np.array(colour, np.float32), (len(examples), 1))
    found = similarity.measure(net, examples, end, digests(examples), threads=1)
    assert found.verdict == verdict
    assert found.method == "classifier"
    assert found.rough
    p = np.exp(10 * end[0].astype(float))
    assert found.energy == pytest.approx(-np.log(p.sum()), abs=1e-3)
    p /= p.sum()
    assert found.entropy == pytest.approx(-(p * np.log(p)).sum() / np.log(3), abs=1e-3)
    assert found.confidence == pytest.approx(p.max(), abs=1e-3)
