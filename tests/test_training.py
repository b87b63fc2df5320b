"""fit with a plan: from folders to a model whose upper stages have learned, and back from disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import regraft
from regraft.errors import OptionError, TrainingError
from regraft.files import unsealed
from regraft.plans import Phase, Recipe
from tests.nets import small
from tests.pictures import write_folder

EPOCHS = {"epochs": 2}
FAST = Recipe(batch=8, amp="f32", memory="contiguous")
SLOW = ["finetune", "gradual", "full", "scratch", "bitfit", "norm", "lora"]
TRAINING = ["lpft", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 pictures of each of 3 classes to learn from, and as many to test on."""
    return write_folder(tmp_path_factory.mktemp("drawn"), 22, parts=("train", "test"))


def fit(data: Path, plan: Any = "lpft", **how: Any) -> regraft.Run:
    how = {"recipe": FAST, "settings": EPOCHS, "geometry": "crop", "near": False} | how
    return regraft.fit(data, small(), plan=plan, **how)


def tensors(run: regraft.Run) -> dict[str, torch.Tensor]:
    return run.model.backbone.stages.tensors()


@pytest.mark.parametrize("plan", TRAINING)
def test_every_plan_makes_a_model_that_comes_back_from_disk(
    plan: str, data: Path, tmp_path: Path
) -> None:
    run = fit(data, plan).save(tmp_path / "run")
    told = run.report["training"]
    assert told["plan"] == plan
    assert told["curve"]
    assert told["parameters"] > 0
    again = regraft.load(tmp_path / "run", backbone=small())
    scores = again.evaluate(data)
    # The report's are from the stages in torch, these from the engine, perhaps in bf16.
    assert scores["accuracy"] == pytest.approx(run.report["test"]["accuracy"], abs=0.02)
    assert scores["log_loss"] == pytest.approx(run.report["test"]["log_loss"], abs=1e-2)
    json.dumps(run.report, allow_nan=False)


@pytest.mark.parametrize("phase", [
    Phase(cut=1, epochs=2, lr=1e-2),
    pytest.param(Phase(cut=0, epochs=2, lr=1e-2), marks=pytest.mark.slow),
    pytest.param(Phase(cut=1, epochs=2, lr=1e-2, only="top"), marks=pytest.mark.slow),
    pytest.param(Phase(cut=1, epochs=2, lr=1e-2, adapter="lora", rank=2), marks=pytest.mark.slow),
    Phase(cut=1, epochs=2, lr=1e-2, adapter="bitfit"),
])  # fmt: skip
def test_what_is_frozen_is_the_same_to_the_bit(phase: Phase, data: Path) -> None:
    net = small()
    before = {n: t.clone() for n, t in net.stages.tensors().items()}
    run = regraft.fit(data, net, plan=[phase], recipe=FAST, geometry="crop", near=False)
    assert all(torch.equal(before[n], t) for n, t in net.stages.tensors().items())
    after = tensors(run)
    assert all(torch.equal(before[n], after[n]) for n in net[: phase.cut].tensors())
    statistics = {n for n in before if "running" in n or "tracked" in n}
    assert all(torch.equal(before[n], after[n]) for n in statistics)
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    assert moved
    if phase.adapter == "bitfit":
        assert all(n.endswith("bias") for n in moved)
    if phase.only:
        assert all(n.startswith("top.") for n in moved)


@pytest.mark.parametrize("cut", [0, 2])
def test_kept_flows_train_as_live_ones_do(cut: int, data: Path) -> None:
    how = {"settings": EPOCHS | {"cut": cut}, "precision": "f32"}
    kept = fit(data, recipe=Recipe(batch=8, amp="f32", memory="contiguous", keep="full"), **how)
    live = fit(data, recipe=Recipe(batch=8, amp="f32", memory="contiguous", keep="live"), **how)
    assert all(torch.equal(t, tensors(live)[n]) for n, t in tensors(kept).items())
    assert kept.report["training"]["curve"] == live.report["training"]["curve"]


def test_augmented_views_below_a_cut_train_as_live_ones_do(data: Path) -> None:
    def made(keep: str) -> regraft.Run:
        recipe = Recipe(batch=8, amp="f32", memory="contiguous", augment="flip, rotate=15", views=2)
        return fit(data, recipe=recipe, settings=EPOCHS | {"cut": 2, "keep": keep})

    kept, live = made("full"), made("live")
    # Live rows see a new view in every epoch, kept ones draw among two.
    assert kept.report["training"]["curve"] != live.report["training"]["curve"]
    plain = fit(data, settings=EPOCHS | {"cut": 2})
    assert kept.report["training"]["curve"] != plain.report["training"]["curve"]


def test_the_same_again_is_the_same_to_the_bit(data: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        batch=8, amp="f32", memory="contiguous", ema=0.9, dropout=0.2, mixup=0.3, l2sp=0.1
    )
    one, other = (fit(data, "gradual", recipe=recipe).save(tmp_path / n) for n in "ab")
    for path in sorted((tmp_path / "a" / "bundle").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / "bundle" / path.name).read_bytes(), path.name
    assert one.report["training"]["curve"] == other.report["training"]["curve"]


def test_validation_rows_are_not_trained_on(data: Path) -> None:
    run = fit(data)
    held = run.report["validation"]
    assert held["kind"] == "held out"
    assert held["n"] == pytest.approx(0.15 * 66, abs=3)
    assert run.report["train"]["n"] == 66  # the model has seen them all, to choose or to learn


def test_an_interrupted_fit_goes_on(data: Path, tmp_path: Path) -> None:
    whole = fit(data, "gradual")
    folder = tmp_path / "run.unfinished"

    def stop(event: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(data, "gradual", unfinished=folder, watch=stop)
    assert (folder / "started.json").exists()
    again = fit(data, "gradual", unfinished=folder)
    assert all(torch.equal(t, tensors(again)[n]) for n, t in tensors(whole).items())


def test_what_was_measured_is_not_measured_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another choice would be other bits; 7 steps an epoch, so that all of it is measured."""
    from regraft.train import candidates, speed

    folder, threads = tmp_path / "run.unfinished", torch.get_num_threads()
    how: dict[str, Any] = {
        "recipe": Recipe(batch=8, compile="off"),
        "settings": {"epochs": candidates.WORTH // 7 + 1, "patience": 0},
        "unfinished": folder,
        "threads": 2,
    }

    def stop(event: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(data, watch=stop, **how)
    chosen = unsealed((folder / "started.json").read_bytes())["chosen"]["recipe"]
    assert chosen["torch_threads"] in (1, 2)
    assert chosen["allocator"] in ("keep", "system")
    assert torch.get_num_threads() == 2, "as it was asked for, whatever training computed with"

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(speed, "choose", never)
    again = fit(data, finish=True, **how)
    assert {key: again.settings[key] for key in chosen} == chosen
    torch.set_num_threads(threads)


def test_changed_data_do_not_pass_for_the_same(data: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(data, tmp_path / "data")
    folder = tmp_path / "run.unfinished"
    fit(copy, unfinished=folder)
    gone = next((copy / "train" / "dots").iterdir())
    gone.unlink()
    with pytest.raises(TrainingError, match=rf"1 gone \(.*{gone.name}\)"):
        fit(copy, unfinished=folder)


@pytest.mark.parametrize("guard", [{"l2sp": 10.0}, {"wise": "auto"}, {"wise": "0.3"}])
def test_what_holds_training_back(guard: dict[str, Any], data: Path) -> None:
    def away(run: regraft.Run) -> float:
        base = small().stages.tensors()
        with torch.no_grad():
            return sum(float((t - base[n]).float().norm()) for n, t in tensors(run).items())

    plan = [Phase(cut=1, epochs=2, lr=1e-2)]
    free, held = fit(data, plan, settings={}), fit(data, plan, settings=guard)
    if guard.get("wise") != "auto":
        assert away(held) < away(free)
    if "wise" in guard:
        assert held.report["training"]["wise"]["alpha"] <= 1.0
        curve = held.report["training"]["wise"]["curve"]
        assert [point["alpha"] for point in curve] == [i / 10 for i in range(11)]


@pytest.mark.parametrize("guard", ["ewc", "lwf"])
def test_a_network_without_a_source_classifier_refuses(guard: str, data: Path) -> None:
    with pytest.raises(OptionError, match=f"{guard} .*classifier"):
        fit(data, settings=EPOCHS | {guard: 1.0})


@pytest.mark.parametrize(("how", "told"), [
    ({"settings": {"epochs": 1, "batch": 4096}}, "batch must be at most"),
    ({"at": "auto"}, "--at must name one stage"),
    ({"folds": "3"}, "--folds"),
    ({"settings": {"cut": "top:9"}}, "top"),
])  # fmt: skip
def test_what_cannot_be_had(how: dict[str, Any], told: str, data: Path) -> None:
    with pytest.raises(regraft.errors.RegraftError, match=told):
        fit(data, **how)


def test_phases_of_ones_own(data: Path) -> None:
    plan = (Phase(cut="end", epochs=1, lr=1e-2), Phase(cut="top", epochs=1), Phase(cut=0, epochs=1))
    run = fit(data, plan, settings={})
    assert [e["phase"] for e in run.report["training"]["curve"]] == [1, 2, 3]
    assert run.model.plan["name"] == "own"


def test_early_reads_an_earlier_stage(data: Path) -> None:
    run = fit(data, "early", settings={}, recipe=None)
    assert run.model.at[0] != small().info.stages[-1].name
    assert "training" not in run.report
    rows = run.predict(data / "test")
    assert np.isclose(sum(rows[0].probabilities.values()), 1.0)
