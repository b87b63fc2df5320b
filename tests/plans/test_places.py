"""Where a cut lies, in all the words for it."""

from __future__ import annotations

import pytest

from regraft.errors import CutError
from regraft.plans.places import cut_of, groups
from tests.plans.facts import flat, info, residual

NET = residual()
TOP = len(NET.stages) - 1


def name(cut: int | str, at: int = TOP, layers: list[int | None] | None = None) -> str:
    found = cut_of(cut, NET.stages, at, None if layers is None else lambda: layers)
    return "end" if found == at + 1 else NET.stages[found].name


@pytest.mark.parametrize(
    ("cut", "stage"),
    [
        ("end", "end"), (0, "stem"), (3, "layer2.0"), (-2, "layer3.1"), ("layer2", "layer2.0"),
        ("layer2.1", "layer2.1"), ("top:1", "layer3.1"), ("top:3", "layer2.1"),
        ("top:7", "stem"), ("top:1%", "layer3.1"), ("top:30%", "layer3.0"), ("top:100%", "stem"),
        ("group:1", "layer3.0"), ("group:2", "layer2.0"), ("auto", "layer3.0"),
        (len(NET.stages), "end"),
    ],
)  # fmt: skip
def test_a_place_has_many_names(cut: int | str, stage: str) -> None:
    assert name(cut) == stage


@pytest.mark.parametrize(("cut", "stage"), [("top:1", "layer2.0"), ("group:1", "layer2.0"),
                                            ("end", "end"), ("top:100%", "stem")])  # fmt: skip
def test_what_lies_above_at_is_not_counted(cut: str, stage: str) -> None:
    assert name(cut, at=3) == stage


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        ("layer9", "no stage 'layer9'. Did you mean"),
        (99, "no stage 99"),
        ("top:0", "must be top:1 to top:7 here"),
        ("top:8", "must be top:1 to top:7 here"),
        ("top:0%", "top:1% to top:100%"),
        ("top:101%", "top:1% to top:100%"),
        ("top:half", "must be spelled like top:3 or top:30%"),
        ("group:2%", "must be spelled like group:1"),
        ("group:9", "must be group:1 to group:4 here"),
        ("last:0", "must be last:1 to last:3"),
        ("last:4", "this backbone has 3 layers"),
        ("layer:3", "must be layer:0 to layer:2"),
    ],
)
def test_a_place_that_does_not_exist(cut: int | str, said: str) -> None:
    with pytest.raises(CutError) as caught:
        name(cut, layers=[0, None, 1])
    assert said in str(caught.value)


@pytest.mark.parametrize("cut", ["layer3", "layer3.0", "pool", 5])
def test_a_cut_above_at(cut: int | str) -> None:
    with pytest.raises(CutError, match=r"lies above 'layer2\.0'"):
        cut_of(cut, NET.stages, 3)


def test_layers_are_counted_as_tutorials_do() -> None:
    layers = [0, 0, None, 1, 2, None, 3, 4, 5, None, 6, 6, None]
    assert name("last:3", layers=layers) == "layer3.1"
    assert name("last:5", layers=layers) == "layer3.0"
    assert name("last:1", layers=layers) == "end"  # it has no tensors
    assert name("layer:0", layers=layers) == "stem"
    assert name("layer:4", layers=layers) == "layer1.1"
    assert name("layer:5", layers=layers) == "layer2.0"
    assert name("last:13", layers=layers, at=4) == "stem"
    with pytest.raises(CutError, match="needs the network itself"):
        name("last:3")


def test_a_group_is_what_lies_in_one_module() -> None:
    def names(net) -> list[str]:
        return [net.stages[i].name for i in groups(net.stages)]

    assert names(residual()) == ["stem", "layer1.0", "layer2.0", "layer3.0"]
    assert names(flat()) == ["patch", "blocks.0", "blocks.4", "blocks.8"]
    nested = info(("stages.0.down", 9, 9), ("stages.0.blocks.0", 9, 9), ("stages.1.down", 9, 9),
                  ("stages.1.blocks.0", 9, 9), ("head", 0, 0))  # fmt: skip
    assert names(nested) == ["stages.0.down", "stages.1.down"]


def test_auto_trains_enough_and_no_more() -> None:
    def auto(net, at: int | None = None) -> str:
        last = len(net.stages) - 1 if at is None else at
        return net.stages[cut_of("auto", net.stages, last)].name

    assert auto(flat()) == "blocks.8"  # a third of the work
    heavy_head = info(("features.0", 10, 500), ("features.1", 10, 300), ("features.2", 10, 200),
                      ("fc", 1000, 5))  # fmt: skip
    assert auto(heavy_head) == "features.2"  # its parameters cost no work, so they are not enough
    assert auto(info(("only", 5, 5))) == "only"
    assert auto(residual(), at=4) == "layer2.0"
