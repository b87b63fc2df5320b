"""Stages made by hand: cuts, names, pooling, and a flow that is a pair."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from regraft.backbones.graph import by_hand
from regraft.backbones.info import StageInfo, Tap
from regraft.errors import BackboneError, CutError
from regraft.stages import Below, Stages, cut_index, pool, stage_index

NAMES = ["stem", "layer1.0", "layer1.1", "layer2.0", "pool"]


class Embedding(nn.Module):
    """Token numbers and mask in, vectors and mask out."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)

    def forward(self, flow):
        ids, mask = flow
        return self.table(ids), mask


class Layer(nn.Module):
    """Attention that ignores padding; what text encoders are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.calls = 0

    def forward(self, flow):
        self.calls += 1
        x, mask = flow
        mixed, _ = self.attention(x, x, x, key_padding_mask=~mask, need_weights=False)
        return x + mixed, mask


def text_stages() -> Stages:
    torch.manual_seed(0)
    parts = {"embeddings": Embedding(), "layers.0": Layer(), "layers.1": Layer()}
    flow = (torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 5, dtype=torch.bool))
    return by_hand(parts, flow).eval()


def text_batch():
    ids = torch.tensor([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]])
    return ids, ids > 0


@pytest.mark.parametrize(
    ("cut", "place"),
    [(0, 0), (5, 5), (-1, 4), ("end", 5), ("stem", 0), ("layer1", 1), ("layer1.1", 2), ("pool", 4)],
)
def test_a_cut_is_an_index_a_name_or_the_end(cut, place):
    assert cut_index(NAMES, cut) == place


@pytest.mark.parametrize(("at", "place"), [("end", 4), ("layer1", 2), (-1, 4), (0, 0)])
def test_at_means_the_last_stage_of_a_group(at, place):
    assert stage_index(NAMES, at) == place


def test_a_wrong_cut_names_the_close_ones():
    with pytest.raises(CutError, match=r"no stage 'layer1\.2'.*Did you mean 'layer1\.1'"):
        cut_index(NAMES, "layer1.2")
    with pytest.raises(CutError, match="stages 0 to 4"):
        cut_index(NAMES, 6)
    with pytest.raises(CutError, match="stages 0 to 4"):
        stage_index(NAMES, 5)


def test_a_pair_flows_through_stages_made_by_hand():
    stages = text_stages()
    assert [s.info.layout for s in stages] == ["NLC+mask"] * 3
    assert [s.info.shape for s in stages] == [(5, 8)] * 3
    assert [s.info.kind for s in stages] == ["Embedding", "Layer", "Layer"]
    whole, mask = stages(text_batch())
    for cut in range(4):
        x, _ = stages[cut:](stages[:cut](text_batch()))
        assert torch.equal(x, whole)
    assert torch.equal(mask, text_batch()[1])


def test_padding_does_not_count_in_the_pooled_feature():
    stages = text_stages()
    ids, mask = text_batch()
    alone, _ = stages((ids[:1, :3], mask[:1, :3]))
    pooled = pool(stages((ids, mask)), stages[-1].info)
    assert torch.allclose(pooled[:1], alone.mean(1), atol=1e-6)


def test_slices_share_their_parameters():
    stages = text_stages()
    with torch.no_grad():
        stages["layers":][0].body.attention.in_proj_weight.zero_()
    assert not stages["layers.0"].body.attention.in_proj_weight.any()
    assert stages[:1].names == ["embeddings"]
    assert len(stages["layers.1":]) == 1


def test_a_copy_shares_nothing():
    stages = text_stages()
    other = copy.deepcopy(stages)
    with torch.no_grad():
        other[0].body.table.weight.zero_()
    assert stages[0].body.table.weight.any()


def test_train_reaches_every_stage_of_a_slice():
    stages = text_stages()
    stages["layers.0":].train()
    assert [s.training for s in stages] == [False, True, True]


def test_tensors_keep_their_own_names():
    stages = text_stages()
    assert "table.weight" in stages[0].tensors()
    assert set(stages[1].tensors()) == set(dict(Layer().named_parameters()))


def test_below_runs_no_stage_above_the_highest_tap():
    stages = text_stages()
    counts = [stages[i].body for i in (1, 2)]
    before = [layer.calls for layer in counts]
    preamble = AsFlow()
    first, raw = Below(preamble, stages, [Tap(0), Tap(1, pooled=False)]).eval()(*text_batch())
    assert first.shape == (2, 8)
    assert raw[0].shape == (2, 5, 8)
    assert [layer.calls - b for layer, b in zip(counts, before, strict=True)] == [1, 0]


class AsFlow(nn.Module):
    def forward(self, *rows):
        return rows


def test_below_refuses_taps_that_are_not_there():
    with pytest.raises(CutError):
        Below(AsFlow(), text_stages(), [Tap(3)])
    with pytest.raises(BackboneError, match="at least one tap"):
        Below(AsFlow(), text_stages(), [])


@pytest.mark.parametrize(
    ("layout", "shape", "axes"),
    [("NCHW", (2, 3, 4, 5), (2, 3)), ("NHWC", (2, 4, 5, 3), (1, 2)), ("NLC", (2, 7, 3), 1)],
)
def test_pooling_is_the_mean_over_places(layout, shape, axes):
    x = torch.randn(shape, dtype=torch.bfloat16)
    info = StageInfo(0, "x", "x", 0, shape[1:], layout)
    pooled = pool(x, info)
    assert pooled.dtype == torch.float32
    assert torch.equal(pooled, x.float().mean(axes))


def test_class_and_register_tokens_are_not_places():
    x = torch.randn(2, 7, 3)
    x[:, :2] = 1000.0
    info = StageInfo(0, "x", "x", 0, (7, 3), "NLC", prefix_tokens=2)
    assert torch.equal(pool(x, info), x[:, 2:].mean(1))


def test_an_unknown_layout_is_refused():
    with pytest.raises(BackboneError, match="unknown layout 'NTC'"):
        pool(torch.zeros(2, 3, 4), StageInfo(0, "x", "x", 0, (3, 4), "NTC"))


def test_stages_made_by_hand_must_return_a_tensor():
    class Silent(nn.Module):
        def forward(self, x):
            return None

    with pytest.raises(BackboneError, match="stage '0' returns no tensor"):
        by_hand([Silent()], torch.zeros(2, 3))
    with pytest.raises(BackboneError, match="at least one module"):
        by_hand([], torch.zeros(2, 3))
