"""What every engine promises, run over the registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regraft.engine import ENGINES, Activations, engine, pick, resolve_device
from regraft.engine.contract import check_engine, image_rows, image_trunk
from regraft.engine.openvino import GRAPH, WEIGHTS, OpenVinoEngine, is_sealed
from regraft.engine.reference import ReferenceEngine
from regraft.errors import EngineError, OptionError

DEVICE = "cpu"


def run(name, trunk, rows, folder, threads=2):
    session = engine(name).open(trunk, folder, device=DEVICE, precision="f32", threads=threads)
    return list(session.run(iter(rows)))


@pytest.mark.parametrize("name", ENGINES)
def test_contract(name: str) -> None:
    check_engine(engine(name), DEVICE)


class Broken:
    """The reference with one promise broken."""

    name = "broken"

    def __init__(self, change: Callable[[list[Activations]], list[Activations]]) -> None:
        self._whole, self._change = ReferenceEngine(), change
        self.precisions = self._whole.precisions

    def open(self, *arguments: Any, **how: Any) -> Any:
        whole = self._whole.open(*arguments, **how)
        change = self._change
        return SimpleNamespace(built=True, run=lambda rows: iter(change(list(whole.run(rows)))))


@pytest.mark.parametrize(
    "change",
    [
        lambda out: out[::-1],
        lambda out: out[:-1],
        lambda out: [row[::-1] for row in out],
        lambda out: [tuple(a.astype(np.float64) for a in row) for row in out],
        lambda out: [tuple(a * 1.01 for a in row) for row in out],
        lambda out: [tuple(a + np.float32(1e-7 * len(out)) for a in row) for row in out],
    ],
    ids=["order", "lost", "outputs", "type", "value", "batch-mates"],
)
def test_the_contract_notices(change: Callable[[list[Activations]], list[Activations]]) -> None:
    with pytest.raises(EngineError, match=r"'broken': .* gives other activations than it must"):
        check_engine(Broken(change), DEVICE)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ENGINES)
def test_an_error_while_reading_rows_comes_through(name: str, tmp_path: Path) -> None:
    def broken():
        yield from image_rows(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(name, image_trunk(), broken(), tmp_path / "t")


def test_a_compiled_trunk_needs_no_module(tmp_path: Path) -> None:
    first = run("openvino", image_trunk(), image_rows(2), tmp_path / "t")
    trunk = image_trunk("high")

    def never(names):
        raise AssertionError("the module was built again")

    session = OpenVinoEngine().open(
        type(trunk)(trunk.key, trunk.outputs, trunk.wanted, never, trunk.example),
        tmp_path / "t",
        device=DEVICE,
        precision="f32",
        threads=1,
    )
    assert not session.built
    np.testing.assert_allclose(next(session.run(image_rows(1)))[0], first[0][1], rtol=1e-5)


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS])
def test_a_damaged_trunk_is_compiled_again(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "t"
    truth = run("openvino", image_trunk(), image_rows(1), folder)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    assert not is_sealed(folder)
    got = run("openvino", image_trunk(), image_rows(1), folder)
    assert is_sealed(folder)
    assert (got[0][1] == truth[0][1]).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t"]


def test_weights_are_kept_in_full_precision(tmp_path: Path) -> None:
    run("openvino", image_trunk(), [], tmp_path / "t")
    assert "f16" not in (tmp_path / "t" / GRAPH).read_text()


def test_unknown_engine_names_the_close_one() -> None:
    with pytest.raises(OptionError, match=r"Did you mean 'openvino'\?"):
        engine("openvin")


def test_devices() -> None:
    assert resolve_device("auto") in ("cpu", "cuda")
    assert resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(OptionError, match="got 'gpu'"):
        resolve_device("gpu")
    assert pick("cpu").name == "openvino"


def test_a_device_that_is_not_there_says_so() -> None:
    import torch

    if torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(EngineError, match="use --device cpu"):
        pick("mps")
