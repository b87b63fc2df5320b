"""What became of the network's old answers, and how much better it is on what it learned from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import regraft
from regraft.backbones import Backbone
from regraft.comparing.arms import NOTHING_FORGOTTEN
from regraft.comparing.asking import forgetting, train_accuracy
from regraft.comparing.known import Known, spread
from regraft.data import Example
from regraft.data.sources import labelled
from regraft.errors import DataError
from regraft.features import compute
from regraft.ledger import Row
from regraft.pipeline import pipeline
from tests.comparing.nets import published
from tests.nets import small
from tests.pictures import write_folder

HOW: dict[str, Any] = {"geometry": "crop", "near": False}
QUICK = {"batch": 8, "amp": "f32", "memory": "contiguous", "epochs": 2, "lr": 0.05}
#: Every stage moves, whatever validation says of it.
ALL = {"cut": 0, "wise": "1.0"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("drawn"), 14)


def known(data: Path, net: Backbone, plan: str, **how: Any) -> Known:
    settings = {"probe": None, "early": None, "lpft": QUICK | ALL}.get(plan, QUICK)
    run = regraft.fit(data, net, plan=plan, settings=settings, **(HOW | how))
    return Known.of(run, [labelled(data, "image")], net)


def ends(net: Backbone, examples: list[Example]) -> torch.Tensor:
    """(N, D) what the last stage gives, by the plain engine."""
    pipe = pipeline(net, [regraft.backbones.info.Tap(len(net) - 1)], engine="reference")
    rows = compute(examples, pipe).rows
    return torch.from_numpy(np.asarray(next(iter(rows.values()))[slice(None)]))


def test_old_answers_are_those_of_the_networks_own_classifier(data: Path) -> None:
    net = published()
    run = known(data, net, "lpft")
    examples = run.examples(run.ledger.part("test"))
    classifier = net.classifier()
    assert classifier is not None
    with torch.no_grad():
        old, new = (
            torch.log_softmax(classifier(ends(one, examples)).double(), 1)
            for one in (net, run.model.backbone)
        )
    found = forgetting(run)
    assert found.n == len(examples)
    assert found.changed == (old.argmax(1) != new.argmax(1)).double().mean().item()
    assert found.changed > 0
    kl = (new.exp() * (new - old)).sum(1).mean().item()
    assert found.kl == pytest.approx(kl, rel=1e-3)
    assert found.kl > 0.01


def test_what_trains_nothing_forgets_nothing(data: Path) -> None:
    assert forgetting(known(data, published(), "probe")) == NOTHING_FORGOTTEN
    assert forgetting(known(data, small(), "early")) == NOTHING_FORGOTTEN


def test_why_it_is_not_known(data: Path) -> None:
    assert forgetting(known(data, small(), "lpft")).why == (
        "'small' has no classifier of its own to ask"
    )
    lower = known(data, published(), "lpft", at="middle")
    assert lower.cut == 0
    found = forgetting(lower)
    assert found.why == "the head reads an earlier stage, and nothing above it was run"
    assert found.changed is None
    assert train_accuracy(lower) is not None


@pytest.mark.parametrize("plan", ["probe", "lpft", "full"])
def test_right_on_rows_that_were_learned_from(data: Path, plan: str) -> None:
    run = known(data, small(), plan)
    rows = [row for row in run.ledger.rows if row.part == "train"]
    found = compute(run.examples(rows), run.model.pipeline())
    answers = run.model.probabilities(found).argmax(axis=1)
    truth = [run.model.classes.index(row.label) for row in rows]
    assert train_accuracy(run) == (answers == truth).mean()


def test_the_features_of_the_run_itself_are_read_again(data: Path) -> None:
    for plan in ("probe", "early", "lpft"):
        run = known(data, small(), plan)
        net, rows = run.original, run.ledger.part("train")
        pipe = run.reading() if run.cut is None else run._widened(run.pipeline(net))
        counts = compute(run.examples(rows), pipe).counts
        assert (counts.hits, counts.misses) == (len(rows), 0), plan


def test_a_file_that_is_gone_or_another_is_named(data: Path, tmp_path: Path) -> None:
    home = write_folder(tmp_path / "own", 8)
    run = known(home, small(), "probe")
    row = run.ledger.part("test")[0]
    (home / row.id).write_bytes((data / row.id).read_bytes() + b"more")
    with pytest.raises(DataError, match=f"{row.id} is another file than when the run was made"):
        run.features([row])
    (home / row.id).unlink()
    with pytest.raises(DataError, match=f"{row.id} cannot be read any more: "):
        run.features([row])
    gone = Known.of(_run_of(home, run), [labelled(home, "image")], small())
    with pytest.raises(DataError, match=f"{row.id} is not in the data any more"):
        gone.features([row])


def _run_of(home: Path, run: Known) -> Any:
    return regraft.run.Run(run.model, run.report, run.settings, [], run.ledger)


def test_spread() -> None:
    rows = [Row(str(number), "", "", "train") for number in range(10)]
    assert [row.id for row in spread(rows, 4)] == ["0", "3", "6", "9"]
    assert spread(rows, 100) == rows
    assert spread([], 4) == []
