"""The contract over the registry, and that it notices what is broken."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regraft.backbones import backbone, from_module
from regraft.errors import BackboneError
from regraft.inputs import ImageSpec
from regraft.testing import check_backbone

# timm's own miniatures of the families; the families themselves are among the slow ones
QUICK = [
    ("test_resnet", 64),
    ("test_efficientnet", 64),
    ("test_convnext", 64),
    ("test_vit", 64),
    ("test_byobnet", 64),
    ("resnet18", 64),
]
SLOW = [
    ("tf_efficientnet_lite0", 64),
    ("mobilenetv2_100", 64),
    ("convnext_atto", 64),
    ("vit_tiny_patch16_224", 64),
    ("regnetx_002", 64),
    ("vgg16_bn", 32),
    ("resnet50", 64),
    ("resnet101", 64),
    ("inception_v3", 128),
    ("efficientnet_b0", 64),
    ("efficientnet_b7", 64),
    ("vit_small_patch14_dinov2", 56),
    ("vit_small_patch16_dinov3", 64),
    ("swin_tiny_patch4_window7_224", 112),
    ("densenet121", 64),
    ("eva02_tiny_patch14_224", 56),
    ("deit3_small_patch16_224", 64),
    ("beit_base_patch16_224", 64),
    ("mixer_s32_224", 64),
    ("cait_xxs24_224", 64),
    ("xcit_nano_12_p16_224", 64),
    ("mobilevit_xxs", 64),
    ("levit_128s", 64),
    ("pit_ti_224", 64),
    ("coatnet_nano_rw_224", 64),
    ("maxvit_rmlp_pico_rw_256", 256),
    ("hrnet_w18_small", 64),
    ("dla34", 64),
    ("inception_next_atto", 64),
    ("ghostnet_050", 64),
]


@pytest.mark.parametrize(("name", "size"), QUICK)
def test_a_family_keeps_the_contract(name, size):
    check_backbone(name, size=size)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), SLOW)
def test_every_family_keeps_the_contract(name, size):
    check_backbone(name, size=size)


SMALL = ImageSpec((32, 32))


class Block(nn.Module):
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x):
        return F.dropout(F.relu(self.norm(self.conv(x))), 0.3, self.training)


class Mine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.low, self.middle, self.high = Block(3, 6), Block(6, 8), Block(8, 10)

    def forward(self, x):
        return self.high(self.middle(self.low(x))).mean((2, 3))


def mine():
    torch.manual_seed(0)
    return from_module(Mine(), input=SMALL, name="mine")


def test_a_network_of_ones_own_keeps_the_contract():
    check_backbone(mine())
    check_backbone(mine(), size=48, batch=3)


def test_a_sequential_keeps_the_contract():
    parts = nn.Sequential(Block(3, 4), Block(4, 6), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    check_backbone(from_module(parts, input=SMALL))


def test_a_backbone_by_name_with_its_weights_keeps_the_contract():
    check_backbone(backbone(), size=64, modes=("eval",))


def test_a_network_with_an_auxiliary_head_keeps_the_contract():
    class WithAux(Mine):
        def __init__(self) -> None:
            super().__init__()
            self.aux = nn.Linear(8, 3)

        def forward(self, x):
            x = self.middle(self.low(x))
            top = self.high(x).mean((2, 3))
            return (top, self.aux(x.mean((2, 3)))) if self.training else top

    check_backbone(from_module(WithAux(), input=SMALL))


def broken(change):
    """A backbone whose stage 1 was changed after it was cut."""
    found = mine()
    stage = found.stages[1]
    stage.body = change(stage.body)
    return found


class Wrapped(nn.Module):
    """A body with something done to it that keeps its tensors' names out of the way."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner


def test_a_stage_that_drops_a_module_is_noticed():
    class Drops(Wrapped):
        def forward(self, x):
            return F.relu(self.inner.middle.conv(x))

    with pytest.raises(BackboneError, match="in eval mode the stages must answer like the network"):
        check_backbone(broken(Drops))


def test_a_batchnorm_that_stays_in_eval_mode_is_noticed():
    class Frozen(Wrapped):
        def train(self, mode: bool = True):
            super().train(mode)
            for module in self.inner.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
            return self

        def forward(self, x):
            return self.inner(x)

    with pytest.raises(BackboneError, match="in train mode"):
        check_backbone(broken(Frozen))


def test_dropout_that_does_not_follow_train_is_noticed():
    def stuck(body):
        body.modes = {True: body.modes[False], False: body.modes[False]}
        return body

    with pytest.raises(BackboneError, match="in train mode the stages must answer"):
        check_backbone(broken(stuck))


def test_batchnorm_statistics_that_are_not_kept_are_noticed():
    class Forgets(Wrapped):
        def forward(self, x):
            kept = {n: b.clone() for n, b in self.inner.named_buffers()}
            out = self.inner(x)
            for n, b in self.inner.named_buffers():
                b.copy_(kept[n])
            return out

    with pytest.raises(BackboneError, match=r"the buffer 'middle\.norm\.\w+' .*must change"):
        check_backbone(broken(Forgets))


def test_a_stage_that_changes_its_input_is_noticed():
    class InPlace(Wrapped):
        def forward(self, x):
            return self.inner(x.mul_(1.5).div_(1.5).add_(1).sub_(1))

    with pytest.raises(BackboneError, match=r"stage 'middle' must not change the flow"):
        check_backbone(broken(InPlace))


def test_a_tensor_in_no_stage_or_in_two_is_noticed():
    found = mine()
    found.stages[1].body.middle.norm = nn.BatchNorm2d(8)
    with pytest.raises(BackboneError, match=r"'middle\.norm\.weight'.*is in no stage"):
        check_backbone(found)
    found = mine()
    found.stages[1].body.extra = found.stages[0].body.low
    with pytest.raises(BackboneError, match=r"'low\.conv\.weight'.*the stages low, middle"):
        check_backbone(found)
