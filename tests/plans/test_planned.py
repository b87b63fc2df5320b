"""What was asked for: a name, a file or phases, with single settings that win."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from regraft.errors import OptionError
from regraft.plans import PLANS, Phase, Planned, Recipe, finetune, gradual, lpft, planned
from regraft.plans.layers import layers_of, leaves
from regraft.plans.named import told
from tests.nets import small


def test_a_setting_reaches_every_phase_that_it_is_for() -> None:
    made = planned("gradual", None, {"epochs": "7", "batch": "8"})
    assert [phase.epochs for phase in made.phases] == [7, 7, 7, 7]
    assert made.recipe == Recipe(batch=8)
    adapted = planned("lpft", None, {"adapter": "lora", "rank": 4, "decay": 0.5}).phases
    assert adapted[0] == Phase(solve=True)
    assert (adapted[1].adapter, adapted[1].rank, adapted[1].decay) == ("lora", 4, 0.5)
    assert planned("lpft", None, {"cut": "3"}).phases[1].cut == 3
    assert planned("lpft", None, {"cut": "top:3"}).phases[1].cut == "top:3"
    assert planned("lpft", None, {"only": "*.bias"}).phases[1].only == "*.bias"


def test_lr_is_that_of_the_last_phase_and_the_others_keep_their_proportion() -> None:
    head, stages = planned("finetune", None, {"lr": "1e-3"}).phases
    assert (head.lr, stages.lr) == (pytest.approx(2e-2), 1e-3)
    assert finetune(lr=1e-3)[0].lr == pytest.approx(head.lr)
    assert {phase.lr for phase in planned("gradual", None, {"lr": 0}).phases} == {0.0}


def test_the_tutorials_two_steps_differ_10_to_100_times() -> None:
    head, stages = finetune()
    assert (head.cut, stages.cut) == ("end", "auto")
    assert 10 <= head.lr / stages.lr <= 100


def test_one_phase_by_its_number() -> None:
    made = planned("finetune", None, {"phase.2.lr": "2e-5", "phase.1.epochs": 3}).phases
    assert (made[0].epochs, made[1].lr, made[0].lr) == (3, 2e-5, finetune()[0].lr)


def test_a_plans_own_parameter() -> None:
    assert [phase.cut for phase in planned("gradual", None, {"steps": "2"}).phases] == [
        "end", "group:1", "group:2",
    ]  # fmt: skip
    assert gradual(steps=1)[1].patience == 2
    with pytest.raises(OptionError, match="steps must be a whole number, 1 or more, got '0'"):
        planned("gradual", None, {"steps": "0"})
    with pytest.raises(OptionError, match="there is no setting 'steps'"):
        planned("lpft", None, {"steps": "2"})


def test_settings_win_over_the_recipe_and_both_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("batch = 4\nclip = 0.5\n[[phase]]\ncut = 'top:1'\nepochs = 2\n")
    made = planned(str(path), None, {"batch": "16"})
    assert made == Planned("my", (Phase("top:1", 2),), Recipe(batch=16, clip=0.5))
    assert planned(str(path), Recipe(clip=2.0)).recipe == Recipe(clip=2.0)
    assert planned(made, None, {"clip": 3}).recipe == Recipe(batch=16, clip=3.0)
    assert planned([Phase("end", 2)]).name == "own"


@pytest.mark.parametrize(
    ("plan", "settings", "said"),
    [
        ("lpt", {}, "--plan must be one of auto, probe, early"),
        ("lpt", {}, "Did you mean 'lpft'?"),
        ("lpft", {"epchs": "3"}, "no setting 'epchs'. Did you mean 'epochs'?"),
        ("lpft", {"lr": "fast"}, "lr must be a number, 0 or more, got 'fast'"),
        ("lpft", {"epochs": "0"}, "epochs must be 1 or more where something is trained"),
        ("lpft", {"batch": "0"}, "batch must be a whole number, 1 or more"),
        ("lpft", {"checkpoint": "maybe"}, "checkpoint must be true or false, got 'maybe'"),
        ("lpft", {"phase.3.lr": "1"}, "there is no phase 3: this plan has 2"),
        ("lpft", {"phase.0.lr": "1"}, "there is no phase 0"),
        ("lpft", {"phase.x.lr": "1"}, "must be spelled like phase.2.lr"),
        ("lpft", {"phase.2": "1"}, "must be spelled like phase.2.lr"),
        ("lpft", {"phase.2.rte": "1"}, "phase 2: there is no setting 'rte'."),
        ("lpft", {"solve": "true"}, "solve must name its phase"),
        ("gradual", {"cut": "layer1"}, "cut must name its phase"),
        ("probe", {"lr": "1"}, "lr has no effect"),
        ("nowhere.toml", {}, "nowhere.toml cannot be read"),
        ([], {}, "at least one phase"),
    ],
)  # fmt: skip
def test_what_is_refused(plan, settings: dict, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        planned(plan, None, settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_early_lets_the_stage_be_measured() -> None:
    assert planned("early").at("end") == "early"
    assert planned("early").at("blocks.4") == "blocks.4"
    assert planned("lpft").at("end") == "end"
    assert [name for name in PLANS if not planned(name).trains] == ["probe", "early"]


def test_every_plan_says_what_it_does() -> None:
    for name in PLANS:
        assert told(name).endswith((".", "rate."))
        assert "\n" not in told(name)


def test_layers_of_a_network_lie_in_its_stages() -> None:
    net = small()
    names = [path for path, _ in leaves(net.network())]
    assert names[:3] == ["stem.conv", "stem.norm", "middle.conv"]
    assert layers_of(net) == [0, 0, 1, 1, 2, 2, None, None]
    found = planned("lpft", None, {"cut": "last:4"}).resolved(net, len(net) - 1)
    assert net.info.stages[found[1].cut].name == net.info.stages[2].name
    assert planned(lpft(cut="layer:0")).resolved(net, len(net) - 1)[1].cut == 0


def test_plans_load_nothing_heavy() -> None:
    code = (
        "import sys, regraft.plans as p; p.planned('lpft', None, {'lr': '1'});"
        "print([m for m in ('torch', 'numpy', 'timm', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
