"""What arms will take, judged from what others took, and when one is ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from regraft.comparing import Scored, asked
from regraft.comparing.asked import Wanted, by_cost
from regraft.comparing.budget import Guarded, OverBudget, Pace
from regraft.errors import BackboneError, OptionError
from regraft.parts import HELD_OUT
from tests.nets import small

PLAIN = Scored(0, 20, 100, 0.9, 0.9, 0.5, 5.0, 2.0, 10, HELD_OUT)


def arm(name: str, *phases: tuple[int, float], net: str = "n") -> Wanted:
    found = asked(["probe", "full"], 1, None)[1 if phases else 0]
    return replace(found, name=name, phases=phases, backbone=net)


def test_cheap_arms_come_first() -> None:
    plans = ["scratch", "full", "finetune", "lora", "early", "probe"]
    names = [one.name for one in by_cost(asked(plans, 1, None, [small()]), "end", {})]
    assert names[:2] == ["probe", "early"]
    assert set(names[2:4]) == {"lora", "finetune"}
    assert names[4:] == ["full", "scratch"]
    longer = by_cost(asked(plans, 1, {"epochs": "50"}, [small()]), "end", {})
    assert [one.name for one in longer][:2] == ["probe", "early"]
    assert longer[-1].work == 50 * longer[-1].phases[0][1]


def test_backbones_are_an_axis() -> None:
    arms = asked(["probe", "lpft"], 1, None, ["resnet18", "hf-hub:timm/some.net"])
    assert [one.name for one in arms] == [
        "probe, resnet18", "lpft, resnet18", "probe, hf-hub:timm/some.net",
        "lpft, hf-hub:timm/some.net",
    ]  # fmt: skip
    assert [one.folder for one in arms][::3] == ["probe-resnet18", "lpft-hf-hub-timm-some.net"]
    assert [one.name for one in asked(["probe"], 1, None, ["a", "b"])] == ["probe, a", "probe, b"]
    odd = asked({"a/b": "probe", "a b": "probe", "..": "early"}, 1, None)
    assert [one.folder for one in odd] == ["a-b", "a-b_2", "plan"]
    with pytest.raises(OptionError, match="--backbones names 'a' twice"):
        asked(["probe"], 1, None, ["a", "a"])
    with pytest.raises(OptionError, match="two plans or more, got probe; or name several"):
        asked(["probe"], 1, None, ["a"])
    with pytest.raises(BackboneError, match="nosuch"):
        by_cost(asked(["probe"], 1, None, [small(), "nosuchnet"]), "end", {})


def test_an_arm_is_predicted_from_others() -> None:
    pace, cheap, dear = Pace(), arm("cheap", (2, 10.0)), arm("dear", (4, 50.0))
    assert pace.predict(arm("probe"), 100) is None
    assert pace.predict(cheap, 100) is None
    pace.note(arm("probe"), replace(PLAIN, seconds=0.5))
    assert pace.predict(arm("early"), 100) == 0.5
    assert pace.predict(cheap, 100) is None  # a solved head says nothing of training
    # 2 epochs of 100 rows at 10 took 4 s, and 3 s went into everything else.
    pace.note(cheap, replace(PLAIN, seconds=7.0, work=2000.0, work_seconds=4.0))
    assert pace.predict(cheap, 100) == 7.0
    assert pace.predict(dear, 100) == pytest.approx(3.0 + 4 * 50 * 100 * 4.0 / 2000)
    # The same backbone tells more than another one.
    pace.note(arm("far", (1, 10.0), net="m"), replace(PLAIN, seconds=99.0, work=1, work_seconds=98))
    assert pace.predict(dear, 100) == pytest.approx(43.0)


def event(phase: int, seconds: float, left: float) -> dict[str, float]:
    return {"phase": phase, "seconds": seconds, "left_seconds": left}


def test_an_arm_is_ended_once_its_epochs_show_that_it_does_not_fit() -> None:
    seen: list[object] = []
    fits = Guarded(1000.0, None, seen.append, ((0, 1.0), (3, 1.0), (2, 10.0)))
    fits.epoch(event(2, 5.0, 10.0))
    assert seen
    assert (fits.seconds, fits.work) == (5.0, 1.0)
    # 10 s are left in this phase, and the next one has 2 epochs at 10 times the work.
    tight = Guarded(100.0, None, None, ((0, 1.0), (3, 1.0), (2, 10.0)))
    with pytest.raises(OverBudget) as over:
        tight.epoch(event(2, 5.0, 10.0))
    assert over.value.seconds == pytest.approx(110.0, abs=5.0)
    # An epoch of the head alone says nothing of one of the stages; other arms may.
    phases = ((3, 0.001), (2, 10.0))
    Guarded(100.0, None, None, phases).epoch(event(1, 1.0, 2.0))
    Guarded(100.0, None, None, phases, 3.0).epoch(event(1, 1.0, 2.0))
    with pytest.raises(OverBudget) as over:
        Guarded(100.0, None, None, phases, 6.0).epoch(event(1, 1.0, 2.0))
    assert over.value.seconds == pytest.approx(2 + 2 * 10 * 6, abs=5.0)
    free = Guarded(None, None, None, ((3, 1.0),))
    free.epoch(event(1, 1e9, 1e9))


def test_a_pass_is_ended_once_its_pictures_show_that_it_does_not_fit() -> None:
    slow = Guarded(60.0, None, None)
    slow.pictures(1, 1000)
    slow.first = (1, slow.first[1] - 10.0)  # the first picture was 10 s ago
    with pytest.raises(OverBudget) as over:
        slow.pictures(11, 1000)
    assert over.value.seconds == pytest.approx(989, abs=60)
    # A second pass is judged by its own pictures alone.
    fast = Guarded(60.0, None, None)
    fast.pictures(1, 1000)
    fast.first = (1, fast.first[1] - 10.0)
    fast.pictures(1, 1000)
    for done in range(2, 40):
        fast.pictures(done, 1000)
    late = Guarded(60.0, None, None)
    late.start -= 61.0
    with pytest.raises(OverBudget):
        late.pictures(1, 2)
