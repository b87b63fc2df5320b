"""A backbone with other numbers in some of its tensors is the same backbone otherwise."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from regraft.backbones import Backbone, Tap, backbone, from_module
from regraft.backbones.weights import digest_of_model
from regraft.data.sources import bare
from regraft.embed import embed
from regraft.errors import BackboneError
from regraft.features import Features, compute
from regraft.inputs import ImageSpec
from regraft.pipeline import pipeline, tap_name
from regraft.testing import check_backbone
from tests.nets import small
from tests.pictures import write_folder


def moved(net: Backbone, *stages: str, by: float = 0.25) -> dict[str, torch.Tensor]:
    """Every tensor of some stages, a little larger."""
    names = [name for stage in stages for name in net[stage].tensors()]
    held = net.stages.tensors()
    return {n: held[n] + (by if held[n].is_floating_point() else 3) for n in names}


def bits(net: Backbone) -> dict[str, bytes]:
    return {n: t.detach().numpy().tobytes() for n, t in net.stages.tensors().items()}


def features(net: Backbone, data: Path) -> Features:
    taps = [Tap(stage.index, True) for stage in net.info.stages]
    return compute(bare(data, "image").examples, pipeline(net, taps, precision="f32"))


@pytest.fixture
def net() -> Backbone:
    return small()


def test_only_what_is_named_changes_and_the_users_own_does_not(net: Backbone) -> None:
    before, facts = bits(net), net.info
    x = torch.rand(2, 3, 32, 32)
    said = net.stages(x)
    new = moved(net, "middle", "top")
    made = net.tuned(new)
    assert bits(net) == before
    assert net.info is facts
    assert digest_of_model(net.network()) == facts.digest
    assert torch.equal(net.stages(x), said)
    after = bits(made)
    assert after.keys() == before.keys()
    assert {n for n in after if after[n] != before[n]} == set(new)
    assert all(torch.equal(made.stages.tensors()[name], value) for name, value in new.items())
    assert torch.equal(made.stages["stem"](x), net.stages["stem"](x))
    assert not torch.equal(made.stages(x), said)


def test_its_facts_follow_from_the_network(net: Backbone) -> None:
    """What tuning says without cutting again is what cutting again finds."""
    made = net.tuned(moved(net, "top"))
    again = from_module(copy.deepcopy(made.network()), input=made.input, name="small")
    assert made.info.digest == again.info.digest != net.info.digest
    assert made.info.network == again.info.network == net.info.network
    assert made.info.stages == again.info.stages
    assert made.info.base == net.info.digest
    assert net.info.base == ""
    assert made.tuning is not None
    assert made.tuning.stages == ("top",)
    assert set(made.tuning.tensors) == set(net["top"].tensors())
    assert made.tuning.parameters == net.info.stages[net.index("top")].parameters
    assert "trained from top up" in repr(made)
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(made.network()(x), made.stages(x))


def test_training_it_does_not_train_what_it_was_made_from(net: Backbone) -> None:
    """A stage of which one tensor changed is a copy as a whole."""
    before = bits(net)
    made = net.tuned({"top.norm.bias": torch.full((24,), 0.5)})
    with torch.no_grad():
        for tensor in made["top"].tensors().values():
            tensor.add_(1)
    assert bits(net) == before


def test_equal_tensors_give_the_same_backbone(net: Backbone) -> None:
    assert net.tuned({}) is net
    assert net.tuned(net.stages.tensors()) is net
    assert net.tuned({n: t.detach().numpy() for n, t in net.stages.tensors().items()}) is net


def test_tuned_again_it_knows_the_first_base(net: Backbone) -> None:
    one = net.tuned(moved(net, "top"))
    two = one.tuned(moved(one, "middle"))
    assert two.info.base == net.info.digest
    assert two.tuning is not None
    assert two.tuning.stages == ("middle", "top")
    assert set(two.changed()) == {*net["middle"].tensors(), *net["top"].tensors()}
    together = net.tuned({**moved(net, "top"), **moved(net, "middle")})
    assert together.info == two.info
    assert together.tuning == two.tuning
    back = two.tuned(net.stages.tensors())
    assert back.info == net.info
    assert back.tuning is None
    assert back.changed() == {}


def test_arrays_and_other_precisions_are_taken(net: Backbone) -> None:
    value = np.linspace(0, 1, 24)
    made = net.tuned({"top.norm.bias": value})
    held = made.stages.tensors()["top.norm.bias"]
    assert held.dtype == torch.float32
    assert held.requires_grad == net.stages.tensors()["top.norm.bias"].requires_grad
    assert isinstance(held, nn.Parameter)
    np.testing.assert_array_equal(held.detach().numpy(), value.astype(np.float32))
    weight = net.stages.tensors()["top.conv.weight"].detach() * 2
    last = weight.to(memory_format=torch.channels_last)  # how it lies in memory is no other number
    assert net.tuned({"top.conv.weight": last}).info == net.tuned({"top.conv.weight": weight}).info


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("top.norm.bais", np.zeros(24), r"'top\.norm\.bais' is no tensor .*'top\.norm\.bias'"),
        ("head.weight", np.zeros(24), r"name them as backbone\.stages\.tensors\(\) does"),
        ("top.norm.bias", np.zeros(23), r"must have the shape \(24,\), got \(23,\)"),
        ("top.norm.bias", np.full(24, np.nan), "not finite numbers"),
        ("top.norm.running_var", np.full(24, np.inf), "not finite numbers"),
        ("top.norm.bias", np.zeros(24, np.int64), "must hold float32, got int64"),
        ("top.norm.num_batches_tracked", np.float32(1), "must hold int64, got float32"),
        ("top.norm.bias", "zeros", "must be a tensor or an array of numbers, got str"),
    ],
)
def test_what_does_not_fit_is_refused(net: Backbone, name: str, value: object, said: str) -> None:
    before = bits(net)
    with pytest.raises(BackboneError, match=said) as caught:
        net.tuned({"top.norm.weight": torch.ones(24), name: value})  # type: ignore[dict-item]
    assert "\n" not in str(caught.value)
    assert bits(net) == before


def test_a_geometry_and_a_size_keep_it(net: Backbone) -> None:
    made = net.tuned(moved(net, "top"))
    other = made.looking("pad")
    assert other.info.digest == made.info.digest
    assert other.tuning == made.tuning
    assert other.tuned(moved(net, "middle")).input == other.input
    larger = other.resized(64)
    assert larger.input.json()["size"] == (64, 64)
    assert larger.input.json()["geometry"] == "pad"
    assert larger.info.digest == made.info.digest
    assert larger.tuning == made.tuning
    assert bits(larger) == bits(made)


def test_a_size_that_its_tensors_do_not_fit_is_refused() -> None:
    net = backbone("test_vit", weights="random", size=64)
    place = "pos_embed"
    made = net.tuned({place: net.stages.tensors()[place] + 1})
    with pytest.raises(BackboneError, match=r"cannot be had at 96 x 96 .*'pos_embed'"):
        made.resized(96)
    top = net.tuned({"norm.bias": torch.ones(64)}).resized(96)
    assert torch.equal(top.stages.tensors()["norm.bias"], torch.ones(64))
    assert top.info.base == net.resized(96).info.digest


class Turn(nn.Module):
    """Adds a table that every block reads, as rotary positions do."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.mix(x) + table.sin())


class Turning(nn.Module):
    """Two blocks on pooled pixels, and a table that both read."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, stride=8)
        self.register_buffer("table", torch.linspace(0, 1, 16))
        self.one, self.two = Turn(), Turn()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).mean((2, 3))
        return self.two(self.one(x, self.table), self.table)


def test_a_table_that_stages_share_stays_as_it_is() -> None:
    torch.manual_seed(0)
    net = from_module(Turning().eval(), input=ImageSpec((32, 32)))
    held = net.stages.tensors()
    assert "context_0" in held  # what the upper stage knows of the table
    assert net.tuned(held) is net
    made = net.tuned({**held, "two.mix.bias": torch.ones(16)})
    assert made.tuning is not None
    assert made.tuning.tensors == ("two.mix.bias",)
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(made.stages(x), made.network()(x))
    with pytest.raises(BackboneError, match=r"'table' .*that its stages share"):
        net.tuned({"table": torch.zeros(16)})


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "test_convnext", "test_nfnet"])
def test_families_keep_the_contract(name: str) -> None:
    net = backbone(name, weights="random", size=64)
    last = [stage.name for stage in net.info.stages if stage.parameters][-2:]
    made = net.tuned(moved(net, *last, by=0.01))
    check_backbone(made)
    assert made.info.network == net.info.network


def test_engine_and_cache_know_it_from_its_base(net: Backbone, tmp_path: Path) -> None:
    """The same activations below, others above, and those of a network that came so."""
    data = write_folder(tmp_path / "data", 2)
    made = net.tuned(moved(net, "top"))
    plain, other = features(net, data), features(made, data)
    assert other.counts.misses == 6
    for stage in net.info.stages:
        rows = [found.rows[tap_name(Tap(stage.index, True))] for found in (plain, other)]
        same = np.array_equal(rows[0][0:6], rows[1][0:6])
        assert same == (stage.name in ("stem", "middle"))
    came = from_module(copy.deepcopy(made.network()), input=made.input, name="small")
    assert features(came, data).counts.hits == 6  # it is the same to the bit, so nothing is run


def test_what_reads_a_backbone_reads_it(net: Backbone, tmp_path: Path) -> None:
    from regraft.sklearn import TransferFeatures

    data = write_folder(tmp_path / "data", 2)
    made = net.tuned(moved(net, "top"))
    told = embed(data, tmp_path / "out.parquet", made)
    assert told["rows"] == 6
    paths = sorted(map(str, data.rglob("*.png")))
    x = TransferFeatures(made, precision="f32").fit_transform(paths)
    before = TransferFeatures(net, precision="f32").fit_transform(paths)
    assert x.shape == before.shape
    assert not np.array_equal(x, before)
