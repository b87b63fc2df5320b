"""A plan against a backbone: numbers for names, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from regraft.errors import CutError, OptionError, RegraftError
from regraft.plans import PLANS, Phase, Recipe, planned, resolve
from regraft.plans.resolve import check_recipe
from tests.plans.facts import flat, masked, residual

NET = residual()
AT = len(NET.stages) - 1


@pytest.mark.parametrize("name", sorted(PLANS))
@pytest.mark.parametrize("net", [residual(), flat()], ids=["residual", "flat"])
def test_every_named_plan_becomes_numbers(name: str, net) -> None:
    at = len(net.stages) - 1
    found = resolve(planned(name).phases, net, at)
    cuts = [phase.cut for phase in found]
    assert all(type(cut) is int and 0 <= cut <= at + 1 for cut in cuts)
    assert cuts == sorted(cuts, reverse=True)
    assert resolve(found, net, at) == found
    assert all(phase.solve or phase.epochs > 0 for phase in found)


def test_what_a_plan_resolves_to() -> None:
    def cuts(name: str) -> list[int | str]:
        return [phase.cut for phase in resolve(PLANS[name](), NET, AT)]

    assert cuts("probe") == cuts("early") == [8]
    assert cuts("finetune") == cuts("lpft") == cuts("lora") == [8, 5]
    assert cuts("gradual") == [8, 5, 3, 1]
    assert cuts("full") == cuts("scratch") == [0]


ONE = Phase(cut="layer3", epochs=1)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ((), "at least one phase"),
        ((ONE, replace(ONE, cut="layer9")), "no stage 'layer9'. Did you mean"),
        ((replace(ONE, cut="layer2"), ONE), "phase 2: the cut rises from 3 (layer2.0) to 5"),
        ((ONE, Phase(epochs=1)), "phase 2: the cut rises from 5 (layer3.0) to 8 (end)"),
        ((replace(ONE, epochs=0),), "epochs must be 1 or more where something is trained"),
        ((replace(ONE, epochs=-1),), "epochs must be a whole number, 0 or more, got -1"),
        ((replace(ONE, epochs=1.5),), "epochs must be a whole number"),
        ((replace(ONE, epochs=True),), "epochs must be a whole number"),
        ((Phase(solve=True, epochs=2),), "epochs must be 0 where the head is solved, got 2"),
        ((Phase(solve=True, cut="layer3"),), "cut must be 'end' where the head is solved"),
        ((Phase(solve=True, adapter="lora"),), "so it trains no adapter 'lora'"),
        ((replace(ONE, lr=-1.0),), "lr must be a number, 0 or more, got -1.0"),
        ((replace(ONE, lr=float("nan")),), "lr must be a number, 0 or more, got nan"),
        ((replace(ONE, lr=float("inf")),), "lr must be a number, 0 or more, got inf"),
        ((replace(ONE, lr="fast"),), "lr must be a number"),
        ((replace(ONE, decay=0.0),), "decay must be a number, more than 0 and at most 1"),
        ((replace(ONE, warmup=1.0),), "warmup must be a number, 0 or more and less than 1"),
        ((replace(ONE, schedule="cosin"),), "got 'cosin'. Did you mean 'cosine'?"),
        ((replace(ONE, adapter="lorra"),), "got 'lorra'. Did you mean 'lora'?"),
        ((replace(ONE, rank=0),), "rank must be a whole number, 1 or more, got 0"),
        ((replace(ONE, patience=-1),), "patience must be"),
        ((Phase(epochs=1, adapter="norm"),), "leaves no stage to train"),
        ((ONE, replace(ONE, scratch=True)), "belongs into the first phase"),
        (({"cut": 3},), "must be a regraft.plans.Phase"),
    ],
)
def test_what_is_refused(plan: tuple, said: str) -> None:
    with pytest.raises(RegraftError) as caught:
        resolve(plan, NET, AT)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rate_that_is_surely_too_large_is_tried() -> None:
    assert resolve((replace(ONE, lr=1e9),), NET, AT)[0].lr == 1e9
    assert resolve((replace(ONE, lr=0),), NET, AT)[0].lr == 0


def test_a_mask_passes_no_cut() -> None:
    text = masked()
    assert resolve((replace(ONE, cut=0),), text, 2)[0].cut == 0
    assert resolve(PLANS["lpft"](), text, 2)[1].cut == 0
    with pytest.raises(CutError, match="passes a mask on"):
        resolve((replace(ONE, cut=1),), text, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch": 0}, "batch must be a whole number, 1 or more, got 0"),
        ({"batch": 32.0}, "batch must be a whole number"),
        (
            {"torch_threads": 1025},
            "torch_threads must be a whole number, 0 or more and at most 1024",
        ),
        ({"compile": "on", "checkpoint": True}, "compile must be off or auto where checkpoint"),
        ({"accumulate": 33}, "accumulate must be at most the batch (32), got 33"),
        ({"label_smoothing": 1.0}, "label_smoothing must be a number, 0 or more and less than 1"),
        ({"views": 65}, "views must be a whole number, 0 or more and at most 64"),
        ({"val": 0.0}, "val must be a number, more than 0 and less than 1"),
        ({"optimizer": "adam"}, "got 'adam'. Did you mean 'adamw'?"),
        ({"class_weights": "yes"}, "class_weights must be 'none' or 'auto'"),
        ({"checkpoint": 1}, "checkpoint must be true or false, got 1"),
        ({"wise": "1.5"}, "wise must be off, auto, or a number from 0 to 1"),
        ({"wise": "nan"}, "wise must be off"),
        ({"ewc_source": "pictures"}, "only together with ewc"),
        ({"l2sp": float("nan")}, "l2sp must be"),
        ({"ema": 1.0}, "ema must be"),
        ({"momentum": -0.1}, "momentum must be"),
        ({"keep": "some"}, "keep must be"),
    ],
)
def test_a_recipe_out_of_range(change: dict, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_recipe(replace(Recipe(), **change))
    assert said in str(caught.value)


def test_a_recipe_in_range() -> None:
    for change in ({}, {"wise": "0.5"}, {"views": 0}, {"ewc": 1, "ewc_source": "x"}, {"batch": 1}):
        check_recipe(replace(Recipe(), **change))


def test_a_solved_phase_is_at_the_end_of_any_backbone() -> None:
    plan = (Phase(solve=True, cut=3), Phase(cut=1, epochs=1))
    assert [phase.cut for phase in resolve(plan, NET, AT)] == [AT + 1, 1]
