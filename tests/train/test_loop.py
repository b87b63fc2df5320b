"""A plan runs its phases, keeps the best, and goes on where it stopped to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from regraft.errors import TrainingError
from regraft.plans import Phase, Recipe
from regraft.train.job import Job
from regraft.train.loop import train
from regraft.train.state import Keeper
from tests.nets import small
from tests.train.jobs import job

TWO = (
    Phase(cut=4, epochs=2, lr=3e-3, patience=0),
    Phase(cut=1, epochs=3, lr=1e-3, decay=0.7, patience=0),
)


class Stop(Exception):
    """The process ends here."""


def quiet(event: dict[str, Any]) -> None:
    """Nobody listens."""


def stop_after(epochs: int) -> Callable[[dict[str, Any]], None]:
    seen: list[int] = []

    def watch(event: dict[str, Any]) -> None:
        seen.append(1)
        if len(seen) > epochs:
            raise Stop

    return watch


def weights(made: Job) -> dict[str, torch.Tensor]:
    return made.above.snapshot()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_training_tells_the_classes_apart() -> None:
    made = job(TWO)
    done = train(made, Keeper(None), quiet)
    assert done.best["phase"] > 0
    assert done.best["accuracy"] >= 0.9
    assert len(done.curve) == 5
    assert [entry["phase"] for entry in done.curve] == [1, 1, 2, 2, 2]


def test_the_module_has_the_best_weights_of_all_phases() -> None:
    from regraft.train.score import score

    made = job((*TWO, Phase(cut=1, epochs=2, lr=0.5, patience=0)))
    done = train(made, Keeper(None), quiet)
    assert done.curve[-1]["log_loss"] > done.best["log_loss"]  # the last phase only did harm
    assert score(made, made.val, 1).log_loss == pytest.approx(done.best["log_loss"], rel=1e-6)


@pytest.mark.parametrize("recipe", [
    Recipe(batch=8),
    Recipe(batch=7, optimizer="sgd", ema=0.9, dropout=0.3, mixup=0.4, label_smoothing=0.1),
    Recipe(batch=16, batch_norm="update", accumulate=2, class_weights="auto"),
])  # fmt: skip
@pytest.mark.parametrize("stopped", [1, 3])
def test_resumed_equals_uninterrupted(tmp_path: Path, recipe: Recipe, stopped: int) -> None:
    whole = job(TWO, recipe)
    once = train(whole, Keeper(None), quiet)
    with pytest.raises(Stop):
        train(job(TWO, recipe), Keeper(tmp_path, every=0.0), stop_after(stopped))
    again = job(TWO, recipe)
    torch.manual_seed(99)
    resumed = train(again, Keeper(tmp_path, every=0.0), quiet)
    assert same(weights(whole), weights(again))
    assert once.curve == resumed.curve
    assert once.best == resumed.best


def test_channels_last_resumes_to_the_same_bits(tmp_path: Path) -> None:
    def fast() -> Job:
        made = replace(job(TWO), memory="channels_last")
        made.above.to(memory_format=torch.channels_last)
        return made

    whole = fast()
    train(whole, Keeper(None), quiet)
    with pytest.raises(Stop):
        train(fast(), Keeper(tmp_path, every=0.0), stop_after(3))
    again = fast()
    train(again, Keeper(tmp_path, every=0.0), quiet)
    assert same(weights(whole), weights(again))


def test_what_lies_below_a_phase_and_the_backbone_itself_stay_as_they_are() -> None:
    net = small()
    made = job((Phase(cut=2, epochs=1, lr=1e-2), Phase(cut=1, epochs=1, lr=1e-2)))
    first = weights(made)
    seen: list[dict[str, torch.Tensor]] = []
    train(made, Keeper(None), lambda event: seen.append(weights(made)))
    below = [n for n, s in made.above.stage_of().items() if s == 1]
    assert below
    assert all(torch.equal(first[n], seen[0][n]) for n in below)
    assert not all(torch.equal(first[n], seen[1][n]) for n in below)
    statistics = [n for n in first if "running" in n or "num_batches" in n]
    assert statistics
    assert all(torch.equal(first[n], seen[1][n]) for n in statistics)
    untouched = small()
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            net.stages.tensors().values(), untouched.stages.tensors().values(), strict=True
        )
    )


def test_batch_norm_above_the_cut_moves_only_when_asked() -> None:
    made = job((Phase(cut=1, epochs=1),), Recipe(batch=8, batch_norm="update"))
    made.above.keep_statistics = False
    first = weights(made)
    last: list[dict[str, torch.Tensor]] = []
    train(made, Keeper(None), lambda event: last.append(weights(made)))
    moved = {n for n in first if not torch.equal(first[n], last[0][n])}
    assert any("running_mean" in n for n in moved)


def test_patience_ends_a_phase() -> None:
    plan = (Phase(cut=1, epochs=20, lr=0.5, patience=2, schedule="constant"),)
    done = train(job(plan, Recipe(batch=8)), Keeper(None), quiet)
    assert len(done.curve) < 20


def test_a_rate_that_diverges_is_named() -> None:
    plan = (Phase(cut=0, epochs=3, lr=1e25, warmup=0.0),)
    with pytest.raises(TrainingError, match=r"no finite number.*lr"):
        train(job(plan, Recipe(batch=8, clip=0.0)), Keeper(None), quiet)


def test_a_solved_head_survives_divergence() -> None:
    made = replace(
        job((Phase(cut=0, epochs=3, lr=1e25, warmup=0.0),), Recipe(batch=8, clip=0.0)), solved=True
    )
    first = weights(made)
    done = train(made, Keeper(None), quiet)
    assert "1/" in done.stopped  # the rows of the batch are named
    assert same(first, weights(made))


def test_the_callers_random_state_stays() -> None:
    made = job(TWO[:1])
    torch.manual_seed(5)
    first = torch.rand(1)
    torch.manual_seed(5)
    train(made, Keeper(None), quiet)
    assert torch.equal(first, torch.rand(1))


def test_a_rotten_checkpoint_begins_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = job(TWO)
    train(whole, Keeper(None), quiet)
    with pytest.raises(Stop):
        train(job(TWO), Keeper(tmp_path, every=0.0), stop_after(3))
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)
    again = job(TWO)
    train(again, Keeper(tmp_path, every=0.0), quiet)
    assert "damaged" in caplog.text
    assert same(weights(whole), weights(again))


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")  # nothing can lie below it
    done = train(job(TWO), Keeper(tmp_path / "file", every=0.0), quiet)
    assert done.best["phase"] > 0
    assert "cannot be written" in caplog.text
