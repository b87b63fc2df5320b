"""The precision is measured once, recorded, and steps back when an answer moves."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from regraft.engine.precision import FEWEST_ROWS, agreement, decide, record_path, recorded
from regraft.engine.reference import ReferenceEngine


class Moved:
    """A session whose activations are wrong by `noise` and that takes `seconds` a row."""

    built = False

    def __init__(self, noise: float, seconds: float) -> None:
        self.noise, self.seconds = noise, seconds

    def run(self, rows):
        random = np.random.default_rng(0)
        for row in rows:
            time.sleep(self.seconds)
            yield (row[0] + self.noise * random.normal(size=row[0].shape).astype(np.float32),)


ROWS = [(row,) for row in np.random.default_rng(1).normal(size=(16, 40)).astype(np.float32)]
EXACT = Moved(0.0, 0.004)


@pytest.mark.parametrize(
    ("fast", "chosen"),
    [
        (Moved(1e-4, 0.0), "bf16"),  # as good and faster
        (Moved(0.5, 0.0), "f32"),  # faster, but the answers move
        (Moved(0.0, 0.03), "f32"),  # as good, but slower
    ],
)
def test_the_fastest_that_leaves_the_answers_unmoved(
    fast: Moved, chosen: str, tmp_path: Path
) -> None:
    path = tmp_path / "record.json"
    sessions = {"f32": EXACT, "bf16": fast}
    assert decide(path, ("f32", "bf16"), sessions.__getitem__, ROWS) == chosen
    assert recorded(path, ("f32", "bf16")) == chosen
    assert set(json.loads(path.read_text())["record"]["trials"]) == {"f32", "bf16"}


def test_too_few_rows_decide_nothing(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    few = ROWS[: FEWEST_ROWS - 1]
    assert decide(path, ("f32", "bf16"), lambda _: EXACT, few) == "f32"
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"precision": "f8"}', '{"other": 1}'])
def test_a_damaged_record_is_no_record(text: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    assert recorded(path, ("f32", "bf16")) is None


def test_agreement_sees_what_centring_shows() -> None:
    # all rows share a large mean: without centring the cosine would hide the change
    truth = 100 + np.random.default_rng(2).normal(size=(10, 30))
    close, same = agreement(truth, truth.copy())
    assert close == pytest.approx(1.0)
    assert same
    far, _ = agreement(truth, truth + np.random.default_rng(3).normal(size=truth.shape))
    assert far < 0.9


def test_the_record_depends_on_backbone_and_machine(tmp_path: Path) -> None:
    engine = ReferenceEngine()
    one = record_path(tmp_path, engine, "cpu", {"weights": "a"})
    assert one == record_path(tmp_path, engine, "cpu", {"weights": "a"})
    assert one != record_path(tmp_path, engine, "cpu", {"weights": "b"})
