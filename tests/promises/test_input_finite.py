"""What is not a finite number reaches neither weights nor answers: it stops, named."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import regraft
from regraft import heads
from regraft.backbones import from_module
from regraft.errors import BackboneError, BadInput, DataError, HeadError
from regraft.heads.fitted import FittedHead
from regraft.inputs import ImageSpec
from regraft.sklearn import TransferClassifier
from tests.nets import Small
from tests.pictures import picture, write_folder

LABELS = np.arange(40) % 3
ROWS = (np.random.default_rng(0).normal(size=(40, 6)) + LABELS[:, None]).astype(np.float32)


def one(value: float) -> np.ndarray:
    """The rows with `value` in one place of row 7."""
    rows = ROWS.copy()
    rows[7, 2] = value
    return rows


@cache
def usual(head: str) -> FittedHead:
    """The head on rows without a fault."""
    return heads.fit(head, ROWS, LABELS, 3)


REFUSED = {
    "nan": one(np.nan),
    "inf": one(np.inf),
    "-inf": one(-np.inf),
    "one 3e38": one(3e38),
    "all 1e38": np.full_like(ROWS, 1e38),
    "all about 1e37": ROWS * np.float32(1e37),
}
USED = {
    "constant": np.full_like(ROWS, 3),
    "zero": np.zeros_like(ROWS),
    "one 1e15": one(1e15),
    "about 1e14": ROWS * np.float32(1e14),
    "about 1e-14": ROWS * np.float32(1e-14),
    "about 1e-38": ROWS * np.float32(1e-38),
    "not normal": ROWS * np.float32(1e-44),
}


@pytest.mark.parametrize("head", heads.HEADS)
@pytest.mark.parametrize("case", REFUSED)
def test_a_row_that_is_no_number_is_named_by_every_head(head: str, case: str) -> None:
    rows = REFUSED[case]
    number = 0 if case.startswith("all") else 7
    with pytest.raises(HeadError, match=f"Row {number} of the features .* not a finite number"):
        heads.fit(head, rows, LABELS, 3)
    fitted = usual(head)
    with pytest.raises(HeadError, match=f"Row {number} of the features .* not a finite number"):
        fitted.probabilities(rows)


@pytest.mark.parametrize("head", heads.HEADS)
@pytest.mark.parametrize("case", USED)
def test_odd_rows_give_finite_weights_and_answers(head: str, case: str) -> None:
    rows = USED[case]
    fitted = heads.fit(head, rows, LABELS, 3)
    assert all(np.isfinite(a).all() for a in fitted.arrays().values() if a.dtype.kind == "f")
    p = fitted.probabilities(rows)
    assert np.isfinite(p).all()
    assert np.abs(p.sum(axis=1) - 1).max() < 1e-5
    if case in ("about 1e14", "about 1e-14"):
        expected = usual(head).probabilities(ROWS)
        assert (p.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.9
    for far in (1e15, -1e15):  # an answer or a refusal, never a NaN
        with suppress(HeadError):
            assert np.isfinite(fitted.probabilities(np.full((2, 6), far))).all()


def test_scikit_learn_hears_a_value_error() -> None:
    made = TransferClassifier(head="ridge").fit(ROWS, LABELS)
    for rows in REFUSED.values():
        with pytest.raises(ValueError, match=r"NaN|infinity|finite number"):
            TransferClassifier().fit(rows, LABELS)
        with pytest.raises(ValueError, match=r"NaN|infinity|finite number"):
            made.predict(rows)
    assert issubclass(BadInput, ValueError)


class Breaks(Small):
    """Not a number for bright pictures."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.mean(dim=(1, 2, 3))[:, None]
        return super().forward(x) + torch.log(torch.relu(1.5 - bright)).clamp(max=0) * 0


def broken_net():
    torch.manual_seed(0)
    return from_module(Breaks().eval(), input=ImageSpec((32, 32)), name="breaks")


def white(path: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (32, 32), (255, 255, 255)).save(path)
    return path


def test_a_network_that_gives_no_number_costs_that_picture(tmp_path: Path) -> None:
    data, net = write_folder(tmp_path / "data", 6), broken_net()
    white(data / "dots" / "white.png")
    run = regraft.fit(data, net, head="ridge", plan="probe")
    skipped = [(s["file"], s["reason"]) for s in run.report["audit"]["skipped"]]
    assert [name for name, _ in skipped] == ["dots/white.png"]
    assert "not a finite number" in skipped[0][1]
    assert all(np.isfinite(a).all() for a in run.model.head.arrays().values())
    json.dumps(run.report, allow_nan=False)
    picture("dots", 90).save(tmp_path / "fine.png")
    fine, bad = run.predict([tmp_path / "fine.png", white(tmp_path / "white.png")])
    assert fine.label
    assert bad.label is None
    assert "not a finite number" in bad.error
    json.dumps([vars(fine), vars(bad)], allow_nan=False)
    # and again from the cache
    assert run.predict([tmp_path / "white.png"])[0].error == bad.error


def test_a_network_of_no_numbers_is_refused(tmp_path: Path) -> None:
    net = Small().eval()
    with torch.no_grad():
        net.top.conv.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(BackboneError, match=r"'broken' hold values .* \(top\.conv\.weight\)"):
        from_module(net, input=ImageSpec((32, 32)), name="broken")


def test_a_network_that_breaks_for_every_picture_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for kind in ("a", "b"):
        (data / kind).mkdir(parents=True)
        white(data / kind / "1.png")
    with pytest.raises(DataError, match="not a finite number"):
        regraft.fit(data, broken_net())
