"""Stages from the graph: where they end, and networks that are not timm's."""

from __future__ import annotations

import copy
import warnings

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from regraft.backbones.graph import stages_of
from regraft.backbones.info import Tap
from regraft.errors import BackboneError
from regraft.stages import Below

VGG11 = [
    "features.2",
    "features.5",
    "features.7",
    "features.10",
    "features.12",
    "features.15",
    "features.17",
    "features.20",
    "head",
]
RESNET18 = ["maxpool", *(f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)), "global_pool"]


def images(batch: int = 2, size: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(0))


def same(model: nn.Module, stages, x: torch.Tensor, training: bool = False) -> bool:
    model.train(training)
    stages.train(training)
    state = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        torch.manual_seed(3)
        wanted = model(x)
        model.load_state_dict(state)
        torch.manual_seed(3)
        got = stages(x)
        model.load_state_dict(state)
    return torch.equal(wanted, got)


def shapes_only(name: str, size: int):
    """The stages of a large network, without its numbers."""
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0).eval()
    return stages_of(model, (3, size, size))


def test_stages_end_where_a_person_would_say():
    assert shapes_only("resnet18", 64).names == RESNET18


def test_stages_end_after_the_norm_and_not_before_it():
    stages = shapes_only("vgg11_bn", 64)
    last = [[m for m in s.body.modules() if not any(m.children())][-1] for s in stages[:-1]]
    assert {type(m).__name__ for m in last} <= {"ReLU", "MaxPool2d"}
    assert len(stages) == 9


@pytest.mark.parametrize("size", [32, 96])
def test_vgg_is_cut_after_every_convolution_at_any_image_size(size):
    stages = shapes_only("vgg11", size)
    assert stages.names == VGG11
    assert stages[0].info.kind == "Conv2d"
    assert stages[-1].info.layout == "NC"
    assert stages[-1].info.shape == (4096,)


def test_facts_of_a_transformer():
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64).eval()
    stages = stages_of(model, (3, 64, 64))
    assert stages.names == ["patch_embed", *(f"blocks.{i}" for i in range(12)), "norm", "pool"]
    assert stages["blocks.3"].info.shape == (17, 192)
    assert stages["blocks.3"].info.prefix_tokens == 1
    assert stages["blocks.3"].info.activation_bytes == 17 * 192 * 4
    assert stages["norm"].info.layout == "NLC"
    weights = sum(p.numel() for p in model.parameters())
    assert sum(s.info.parameters for s in stages) == weights
    linear = 17 * 192 * 192 * (3 + 1 + 4 + 4) * 2
    assert linear <= stages["blocks.3"].info.flops <= linear * 1.2


def test_the_last_axis_holds_the_channels_of_a_swin():
    with torch.device("meta"):
        model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0).eval()
    stages = stages_of(model, (3, 224, 224))
    assert {s.info.layout for s in stages[:-1]} == {"NHWC"}
    assert stages[0].info.shape == (56, 56, 96)


def test_a_learned_query_that_pools_the_tokens():
    model = timm.create_model("test_vit3", num_classes=0, img_size=64).eval()
    stages = stages_of(model, (3, 64, 64))
    assert stages.names[-1] == "attn_pool"
    assert same(model, stages, images(2, 64))


def test_rotary_tables_are_constants_of_each_stage_and_belong_to_one():
    model = timm.create_model("eva02_tiny_patch14_224", num_classes=0, depth=3, img_size=56).eval()
    stages = stages_of(model, (3, 56, 56))
    assert len(stages) >= 5
    owned = [id(t) for s in stages for t in [*s.parameters(), *s.buffers()]]
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        assert owned.count(id(tensor)) == 1, name
    assert not any("context" in key for key in stages.state_dict())
    assert same(model, stages, images(3, 56))


class Basic(nn.Module):
    """A residual block as the textbooks write it, with one ReLU module for everything."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + x)


class MyResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.bn = nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Basic(8), Basic(8), Basic(8))
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = F.relu(self.bn(self.conv(x)))
        x = self.blocks(x).mean((2, 3))
        return self.fc(F.dropout(x, 0.5, self.training))


def test_a_network_of_ones_own():
    model = MyResNet()
    stages = stages_of(model, (3, 32, 32))
    assert stages.names == ["bn", "blocks.0", "blocks.1", "blocks.2", "fc"]
    assert stages.training
    for training in (False, True):  # the dropout is a function: it must follow train()
        assert same(model, stages, images(4, 32), training)
        assert same(model, stages, images(3, 48), training)


def test_a_stage_does_not_change_what_it_is_given():
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(3, 4, 3)
            self.two = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1))

        def forward(self, x):
            return self.two(self.one(x))

    model = InPlace().eval()
    stages = stages_of(model, (3, 16, 16))
    taps = [Tap(i, pooled=False) for i in range(len(stages))]
    with torch.no_grad():
        flows = Below(nn.Identity(), stages, taps)(images(2, 16))
        for cut, flow in enumerate(flows[:-1]):
            before = flow.clone()
            assert torch.equal(stages[cut + 1 :](flow), model(images(2, 16)))
            assert torch.equal(flow, before)


def test_a_parameter_that_blocks_share_keeps_them_together():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 4, stride=4)
            self.blocks = nn.Sequential(Basic(8), Basic(8), Basic(8))
            self.blocks[2].conv2.weight = self.blocks[1].conv2.weight

        def forward(self, x):
            return self.blocks(self.stem(x)).mean((2, 3))

    model = Shared()
    stages = stages_of(model, (3, 32, 32))
    assert "blocks.0" in stages.names
    assert "blocks.1" not in stages.names
    assert same(model, stages, images(2, 32), training=True)


def test_what_a_stage_needs_of_sizes_below_comes_from_the_flow():
    class Windows(nn.Module):
        """Remembers the batch and the image size over a block, as window attention does."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 2, stride=2)
            self.first = nn.Linear(4, 4)
            self.last = nn.Linear(4, 2)

        def forward(self, x):
            b, _, h, w = x.shape
            x = self.stem(x).flatten(2).transpose(1, 2)
            x = self.first(x)
            x = self.last(x)
            return x.reshape(b, h // 2, w // 2, 2).mean((1, 2))

    model = Windows()
    stages = stages_of(model, (3, 16, 24))
    x = torch.randn(5, 3, 16, 24)
    with torch.no_grad():
        assert torch.equal(stages(x), model(x))
        with pytest.raises(BackboneError, match="other image size with backbone"):
            stages(torch.randn(5, 3, 24, 16)[:, :, :8])


def test_an_auxiliary_output_follows_train():
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low = nn.Conv2d(3, 4, 3)
            self.aux = nn.Linear(4, 2)
            self.high = nn.Conv2d(4, 6, 3)

        def forward(self, x):
            x = self.low(x)
            extra = self.aux(x.mean((2, 3))) if self.training else None
            x = self.high(x).mean((2, 3))
            return (x, extra) if self.training else x

    model = TwoHeads()
    stages = stages_of(model, (3, 16, 16))
    x = images(2, 16)
    answer, extra = stages.train()(x)
    wanted, other = model.train()(x)
    assert torch.equal(answer, wanted)
    assert torch.equal(extra, other)
    assert torch.equal(stages.eval()(x), wanted)


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


def test_a_network_is_cut_around_a_module_that_does_not_trace():
    parts = (nn.Conv2d(3, 3, 3), Untraceable(), nn.Sequential(Untraceable(), nn.Conv2d(3, 4, 1)))
    model = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    stages = stages_of(model, (3, 8, 8))
    assert stages.names == ["0", "1", "2.0", "2.1", "4"]
    x = images(2, 8)
    for training in (False, True):
        assert same(model, stages, x, training)


def test_what_does_not_trace_is_refused_in_one_sentence():
    with pytest.raises(BackboneError, match=r"Untraceable cannot be cut.*nn\.Sequential") as caught:
        stages_of(Untraceable(), (3, 8, 8))
    assert "\n" not in str(caught.value)


def test_cutting_leaves_no_trace_on_the_network():
    model = MyResNet().train()
    model.blocks[1].eval()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stages_of(model, (3, 32, 32))
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_stages_train_by_themselves():
    model = MyResNet()
    stages = stages_of(model, (3, 32, 32))
    below, above = stages[:3].eval(), stages[3:].train()
    with torch.no_grad():
        flow = below(images(4, 32))
    above(flow).sum().backward()
    grads = {name for name, p in model.named_parameters() if p.grad is not None}
    above_cut = ("blocks.2", "fc")
    assert grads == {n for n, _ in model.named_parameters() if n.startswith(above_cut)}
