"""What every engine promises, run over the registry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regraft.engine import ENGINES, engine, pick, resolve_device
from regraft.engine.openvino import GRAPH, WEIGHTS, OpenVinoEngine, is_sealed
from regraft.errors import EngineError, OptionError
from tests.engine.trunks import image_rows, image_trunk, token_rows, token_trunk

DEVICE = "cpu"


def run(name, trunk, rows, folder, threads=2):
    session = engine(name).open(trunk, folder, device=DEVICE, precision="f32", threads=threads)
    return list(session.run(iter(rows)))


@pytest.mark.parametrize("name", ENGINES)
def test_equals_the_reference(name: str, tmp_path: Path) -> None:
    rows = image_rows(19)  # no multiple of any batch size
    truth = run("reference", image_trunk(), rows, tmp_path)
    got = run(name, image_trunk(), rows, tmp_path / name)
    assert len(got) == len(truth)
    for ours, theirs in zip(got, truth, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == np.float32
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ENGINES)
def test_rows_of_two_arrays(name: str, tmp_path: Path) -> None:
    truth = run("reference", token_trunk(), token_rows(11), tmp_path)
    got = run(name, token_trunk(), token_rows(11), tmp_path / name)
    np.testing.assert_allclose(
        np.stack([r[0] for r in got]), np.stack([r[0] for r in truth]), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", ENGINES)
def test_wanted_outputs_in_the_order_asked(name: str, tmp_path: Path) -> None:
    both = run(name, image_trunk("high", "low"), image_rows(3), tmp_path / "t")
    one = run(name, image_trunk("high"), image_rows(3), tmp_path / "t")
    assert both[0][0].shape == (5,)
    assert both[0][1].shape == (8,)
    assert [len(row) for row in one] == [1, 1, 1]
    np.testing.assert_allclose(one[2][0], both[2][0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ENGINES)
def test_a_row_does_not_depend_on_its_batch_mates_or_on_threads(name: str, tmp_path: Path) -> None:
    rows = image_rows(9)
    together = run(name, image_trunk(), rows, tmp_path / "t", threads=2)
    alone = run(name, image_trunk(), rows[4:5], tmp_path / "t", threads=1)
    assert all((a == b).all() for a, b in zip(together[4], alone[0], strict=True))


@pytest.mark.parametrize("name", ENGINES)
def test_no_rows(name: str, tmp_path: Path) -> None:
    assert run(name, image_trunk(), [], tmp_path / "t") == []


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

    def never():
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
