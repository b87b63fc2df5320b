"""The precision: decided by a rule on drawn rows, recorded; it steps back when an answer moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regraft.backbones.info import Tap
from regraft.engine import Trunk
from regraft.engine.precision import agreement, decide, record_path, recorded
from regraft.engine.reference import ReferenceEngine, ReferenceSession
from regraft.errors import OptionError
from regraft.inputs import ImageSpec
from regraft.pipeline import FORCED, decided, pipeline
from tests.nets import small

BOTH = ("f32", "bf16")


class Moved:
    """A session whose activations are wrong by `noise`."""

    built = True

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def run(self, rows) -> Iterator[tuple[np.ndarray, ...]]:
        random = np.random.default_rng(0)
        for row in rows:
            yield row[0], row[0] + self.noise * random.normal(size=row[0].shape).astype(np.float32)


ROWS = [(row,) for row in np.random.default_rng(1).normal(size=(16, 40)).astype(np.float32)]


@pytest.mark.parametrize(
    ("noise", "chosen"), [(0.0, "bf16"), (1e-4, "bf16"), (0.5, "f32"), (np.nan, "f32")]
)
def test_the_fastest_that_leaves_every_output_unmoved(
    noise: float, chosen: str, tmp_path: Path
) -> None:
    path = tmp_path / "record.json"
    sessions = {"f32": Moved(0.0), "bf16": Moved(noise)}
    assert decide(path, BOTH, sessions.__getitem__, ROWS) == (chosen, True)
    assert recorded(path, BOTH) == chosen
    assert set(json.loads(path.read_text())["record"]["trials"]) == {"bf16"}


def test_without_rows_nothing_is_decided(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    assert decide(path, BOTH, lambda _: Moved(0.0), []) == ("f32", False)
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"precision": "f8"}', '{"other": 1}'])
def test_a_damaged_record_is_no_record(text: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    assert recorded(path, BOTH) is None


def test_agreement_sees_what_centring_shows() -> None:
    # all rows share a large mean: without centring the cosine would hide the change
    truth = 100 + np.random.default_rng(2).normal(size=(10, 30))
    other = truth + np.random.default_rng(3).normal(size=truth.shape)
    assert agreement([(row,) for row in truth], [(row,) for row in truth]) == pytest.approx(1.0)
    assert agreement([(row,) for row in truth], [(row,) for row in other]) < 0.9
    pairs = [(row, row) for row in truth]
    worse = [(row, moved) for row, moved in zip(truth, other, strict=True)]
    assert agreement(pairs, worse) < 0.9  # one output is enough


def test_the_record_depends_on_backbone_and_machine(tmp_path: Path) -> None:
    engine = ReferenceEngine()
    one = record_path(tmp_path, engine, "cpu", {"weights": "a"})
    assert one == record_path(tmp_path, engine, "cpu", {"weights": "a"})
    assert one != record_path(tmp_path, engine, "cpu", {"weights": "b"})


class Rounding(ReferenceEngine):
    """The reference with a second precision, which rounds what comes out to `bits` bits."""

    name = "rounding"

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.opened: list[tuple[str, tuple[str, ...]]] = []

    def precisions(self, device: str) -> tuple[str, ...]:
        return BOTH

    def open(self, trunk: Trunk, folder: Path, *, device: str, precision: str, threads: int):
        self.opened.append((precision, trunk.wanted))
        exact = super().open(trunk, folder, device=device, precision="f32", threads=threads)
        return exact if precision == "f32" else Rounded(exact, self.bits)


class Rounded:
    built = False

    def __init__(self, exact: ReferenceSession, bits: int) -> None:
        self.exact, self.bits = exact, bits

    def run(self, rows):
        for outputs in self.exact.run(rows):
            scale = [2.0**self.bits / max(float(np.abs(o).max()), 1e-9) for o in outputs]
            yield tuple(np.rint(o * s) / s for o, s in zip(outputs, scale, strict=True))


@pytest.mark.parametrize(("bits", "chosen"), [(14, "bf16"), (3, "f32")])
def test_neither_data_nor_stages_have_a_say(
    bits: int, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FORCED, raising=False)
    net, engine = small(), Rounding(bits)
    first = replace(pipeline(net, [Tap(0)]), engine=engine, precision="")
    last = replace(first, taps=(Tap(3),))
    assert decided(first)[0].precision == chosen
    asked = engine.opened[0][1]
    assert decided(last)[0].precision == chosen
    assert {wanted for _, wanted in engine.opened} == {asked}  # every stage, whichever is wanted
    assert len(asked) == len(net.info.stages)


def test_auto_can_be_forced_for_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    net = small()
    monkeypatch.setenv(FORCED, "f32")
    assert pipeline(net, [Tap(0)]).precision == "f32"
    monkeypatch.setenv(FORCED, "bf16")
    made = pipeline(net, [Tap(0)])
    assert made.precision == made.engine.precisions("cpu")[-1]  # where the processor has it
    assert pipeline(net, [Tap(0)], precision="f32").precision == "f32"
    monkeypatch.setenv(FORCED, "f16")
    with pytest.raises(OptionError, match="REGRAFT_PRECISION"):
        pipeline(net, [Tap(0)])


def test_the_drawn_pictures_are_always_the_same_and_unlike_each_other() -> None:
    one, again = (ImageSpec((32, 48)).samples(6) for _ in range(2))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(one, again, strict=True))
    assert {row[0].shape for row in one} == {(32, 48, 3)}
    assert {row[0].dtype for row in one} == {np.dtype(np.uint8)}
    assert len({row[0].tobytes() for row in one}) == 6
    spreads = [float(row[0].std()) for row in one]
    assert max(spreads[1::2]) < 20 < min(spreads[::2])  # every second one has little contrast
