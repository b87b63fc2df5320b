"""A fit that trains, at its corners: divergence, going on elsewhere, rare classes, mixed phases."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import regraft
from regraft.errors import OptionError, TrainingError
from regraft.heads.layers import Affine
from regraft.pipeline import pipeline
from regraft.plans import Phase, Recipe
from regraft.train.started import note
from regraft.training import Training
from tests.nets import small
from tests.pictures import write_folder

FAST = Recipe(batch=8, amp="f32", memory="contiguous")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 pictures of each of 3 classes, but 6 of the last, with ids that any such folder has."""
    folder = write_folder(tmp_path_factory.mktemp("drawn"), 12)
    for path in sorted((folder / "stripes").iterdir())[6:]:
        path.unlink()
    return folder


def fit(data: Path, plan: Any = "lpft", **how: Any) -> regraft.Run:
    how = {"recipe": FAST, "geometry": "crop", "near": False} | how
    return regraft.fit(data, small(), plan=plan, **how)


def test_an_epoch_whose_validation_is_no_number_is_told_as_none(data: Path) -> None:
    plan = (Phase(solve=True), Phase(cut=0, epochs=3, lr=1e25, warmup=0.0, schedule="constant"))
    recipe = Recipe(amp="f32", memory="contiguous", clip=0.0, wise="auto")
    said: list[str] = []
    run = fit(data, plan, recipe=recipe, say=said.append)
    json.dumps(run.report, allow_nan=False)
    told = run.report["training"]
    assert told["curve"][0]["log_loss"] is None
    assert told["best"]["phase"] == 0
    assert any("training stopped" in line and told["stopped"] in line for line in said)
    assert "" not in said


def test_rare_classes_are_made_up_for_once(data: Path) -> None:
    plain, even = (fit(data, finish=True, balance=balance).model.head for balance in (0.0, 1.0))
    ends = [head.layers.chain[-1] for head in (plain, even)]
    assert all(isinstance(end, Affine) for end in ends)
    assert np.array_equal(ends[0].bias, ends[1].bias)  # type: ignore[union-attr]
    assert not np.allclose(plain.calibration.bias, even.calibration.bias)


def stop(event: dict[str, Any]) -> None:
    raise KeyboardInterrupt


def test_other_data_or_another_geometry_do_not_go_on(data: Path, tmp_path: Path) -> None:
    learn, check = (shutil.copytree(data, tmp_path / name) for name in ("learn", "check"))
    for path in check.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"1")  # no copies of what is trained on
    left = tmp_path / "run.unfinished"
    how: dict[str, Any] = {"test": check, "unfinished": left, "settings": {"epochs": 1}}
    with pytest.raises(KeyboardInterrupt):
        fit(learn, watch=stop, **how)
    with pytest.raises(OptionError, match="'geometry'"):
        fit(learn, geometry="squash", **how)
    file = learn / "dots" / "003.png"
    file.write_bytes(file.read_bytes() + b"2")
    with pytest.raises(TrainingError, match=r"1 changed \(dots/003.png\)"):
        fit(learn, **how)


def test_what_an_earlier_attempt_kept_is_what_there_is(tmp_path: Path) -> None:
    asked = Training("own", (Phase(cut=1, epochs=1),), FAST, 3, tmp_path)
    pipe = pipeline(small(), ())
    assert asked.kept(pipe, 10, 10)[0].recipe.keep == "full"
    note(tmp_path, {}, {}, {"recipe": asdict(FAST) | {"keep": "half", "views": 3}})
    found, why = asked.kept(pipe, 10, 10)
    assert (found.recipe.keep, found.recipe.views, why) == ("half", 3, "")
    assert found.begun == asked.asked()


def test_a_batch_that_shrinks_has_no_more_parts_than_rows(data: Path) -> None:
    run = fit(data, recipe=Recipe(accumulate=32, amp="f32", memory="contiguous"), finish=True)
    assert run.settings["accumulate"] == run.settings["batch"] < 32


def test_only_what_a_phase_begins_from_scratch_is_random(data: Path) -> None:
    plan = (Phase(cut=2, epochs=1, scratch=True), Phase(cut=1, epochs=1))
    made = fit(data, plan, finish=True, seed=1).model.backbone  # 0 made the network itself
    for cut, alike in ((1, True), (2, False)):
        name = f"{('middle', 'top')[cut - 1]}.conv.weight"
        own, before = made.stages.tensors()[name], small().stages.tensors()[name]
        assert torch.equal(own, before) is alike


@pytest.mark.slow
def test_lora_may_come_after_a_phase_that_trains_all(data: Path) -> None:
    plan = (Phase(cut=2, epochs=1, lr=1e-2), Phase(cut=1, epochs=1, adapter="lora", rank=2))
    run = fit(data, plan)
    assert [entry["phase"] for entry in run.report["training"]["curve"]] == [1, 2]
    first = run.report["training"]["rates"][0]
    assert sum(line["parameters"] for line in first if line["stage"] != "head") > 0


@pytest.mark.parametrize(("batch", "accumulate"), [(1, 1), (4, 4)])
def test_steps_on_single_rows_are_refused_where_batchnorm_counts(
    data: Path, batch: int, accumulate: int
) -> None:
    how = {"epochs": 1, "batch": batch, "accumulate": accumulate}
    with pytest.raises(OptionError, match="needs 2 rows or more at a time"):
        fit(data, "full", settings=how | {"batch_norm": "update"})
    with pytest.raises(OptionError, match="needs 2 rows or more at a time"):
        fit(data, "scratch", settings=how)
    fit(data, "full", settings=how | {"batch_norm": "keep"})


def test_a_piece_of_one_row_goes_by_the_statistics_so_far(data: Path) -> None:
    ends: set[int] = set()
    for batch in (4, 5, 6):
        how = {"epochs": 1, "batch": batch, "accumulate": 2, "batch_norm": "update", "lr": 1e-3}
        run = fit(data, "full", settings=how)
        assert np.isfinite(run.report["training"]["curve"][0]["train_loss"])
        ends.add(run.report["train"]["n"] % batch)
    assert ends & {1, 2, 3}  # some last batch had a piece of one row
