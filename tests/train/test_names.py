"""What `only` chooses."""

from __future__ import annotations

import copy
from fnmatch import fnmatchcase

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from regraft.backbones.graph import by_hand
from regraft.errors import OptionError
from regraft.stages import Stages
from regraft.train.names import choose, parameters, select
from tests.nets import small

HOMES = {
    f"{block}.{layer}.{kind}": block
    for block in ("layer1.0", "layer1.1", "layer4.0", "layer4.1", "layer40")
    for layer in ("conv1", "conv10", "norm")
    for kind in ("weight", "bias")
}


def test_stages_layers_and_patterns() -> None:
    assert select(HOMES, "layer4") == [*(n for n in HOMES if n.startswith("layer4.")), "head"]
    assert select(HOMES, "layer4.1.conv1") == [
        "layer4.1.conv1.weight",
        "layer4.1.conv1.bias",
        "head",
    ]
    assert select(HOMES, "*.norm.*, !layer1, !head") == [
        f"{block}.norm.{kind}"
        for block in ("layer4.0", "layer4.1", "layer40")
        for kind in ("weight", "bias")
    ]
    assert select(HOMES, "") == [*HOMES, "head"]
    assert select(HOMES, "!*.bias") == [*(n for n in HOMES if n.endswith("weight")), "head"]
    assert select(HOMES, "head") == ["head"]


ITEMS = st.sampled_from(
    ["layer1", "layer4.0", "layer40", "layer1.1.norm", "*.bias", "*conv1.*", "layer4.?.norm.*"]
)


@given(st.lists(ITEMS, max_size=4), st.lists(ITEMS, max_size=3), st.booleans())
def test_an_item_adds_or_takes_away_whatever_the_order(
    added: list[str], taken: list[str], head: bool
) -> None:
    def holds(name: str, item: str) -> bool:
        return fnmatchcase(name, item) or f"{name}.".startswith(f"{item}.")

    expected = [
        name
        for name in HOMES
        if (not added or any(holds(name, item) for item in added))
        and not any(holds(name, item) for item in taken)
    ] + (["head"] if head else [])
    items = [*added, *(f"!{item}" for item in taken), *([] if head else ["!head"])]
    for order in (items, items[::-1]):
        if expected:
            assert select(HOMES, " , ".join(order)) == expected
        else:
            with pytest.raises(OptionError, match="leaves nothing"):
                select(HOMES, ",".join(order))


@pytest.mark.parametrize(
    ("only", "close"),
    [("layer5", "'layer4"), ("layer4.0.conv2", "'layer4.0.conv1'"), ("!hed", "'head'")],
)
def test_what_matches_nothing_is_refused_with_what_is_close(only: str, close: str) -> None:
    with pytest.raises(OptionError, match=f"Did you mean .*{close}"):
        select(HOMES, only)


def test_names_are_those_of_the_stages() -> None:
    stages = copy.deepcopy(small().stages)["middle":]
    assert choose(stages, "", ["head.0.weight"]) == [*parameters(stages), "head.0.weight"]
    assert choose(stages, "top, !*.norm.*") == ["top.conv.weight", "top.conv.bias"]


class _Tied(nn.Module):
    def __init__(self, name: str, weight: nn.Parameter) -> None:
        super().__init__()
        self.register_parameter(f"{name}_weight", weight)
        self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(4)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self._parameters.values()
        return x @ weight + bias


def _tied() -> Stages:
    weight = nn.Parameter(torch.eye(4))
    parts = {name: _Tied(name, weight) for name in ("low", "high")}
    return by_hand(parts, torch.rand(2, 4))


def test_what_stages_share_goes_together() -> None:
    assert choose(_tied(), "high") == ["low_weight", "high_weight", "high_bias"]
    assert choose(_tied(), "!low") == ["high_bias"]
