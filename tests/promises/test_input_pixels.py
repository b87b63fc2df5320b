"""Training and serving see the same pixels; what is frozen stays frozen, to the bit."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import regraft
from regraft.backbones import Backbone, from_module
from regraft.cli import run as command
from regraft.embed import embed
from regraft.inputs import ImageSpec
from regraft.sklearn import TransferClassifier, TransferFeatures
from tests.hostile import build
from tests.nets import Small, small

BY_NAME = {"backbone": "test_resnet", "weights": "random", "size": 64}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[str]]:
    """108 pictures of every mode, orientation and kind, all readable, and labels for them."""
    home = tmp_path_factory.mktemp("pixels")
    made = build(home)
    good = sorted(made.root.glob("*/0??.png"))
    paths = [*good, *(made.paths[name] for name in sorted(made.used))]
    return paths, [("a", "b")[n % 2] for n in range(len(paths))]


def forget(cache: Path) -> None:
    """No activations at hand: the next way has to decode and compute for itself."""
    shutil.rmtree(cache / "activations", ignore_errors=True)


@pytest.mark.slow
def test_every_way_to_the_features_sees_the_same(pictures, own_cache, tmp_path, capsys) -> None:
    """fit, predict, embed, scikit-learn and the command line: equal to the last bit."""
    paths, labels = pictures
    data = tmp_path / "data"
    names = []
    for number, (path, label) in enumerate(zip(paths, labels, strict=True)):
        (data / label).mkdir(parents=True, exist_ok=True)
        names.append(f"{label}/{number:03d}{path.suffix[:8] or '.png'}")
        (data / names[-1]).write_bytes(path.read_bytes())
    files = [data / name for name in names]
    how = {"weights": "random", "size": 64}
    embed(data, tmp_path / "api.parquet", "test_resnet", **how)
    embedded = by_name(tmp_path / "api.parquet", names)
    assert len(embedded) >= 40

    forget(own_cache)
    assert np.array_equal(TransferFeatures(**BY_NAME).fit_transform(files), embedded)

    forget(own_cache)
    line = ["embed", str(data), "--out", str(tmp_path / "cli.parquet"), "--backbone",
            "test_resnet", "--weights", "random", "--size", "64"]  # fmt: skip
    assert command(line) == 0
    assert np.array_equal(by_name(tmp_path / "cli.parquet", names), embedded)

    forget(own_cache)
    run = regraft.fit(data, test=data_of(tmp_path, paths[0]), head="ridge", plan="probe", **BY_NAME,
                      geometry="crop").save(tmp_path / "run")  # fmt: skip
    sums = run.sums().moments  # of the rows as fit's own pass saw them
    wide, second = embedded.astype(np.float64), np.array(labels) == "b"
    assert sums.n == len(files)
    assert np.allclose(sums.xy, np.stack([wide[~second].sum(0), wide[second].sum(0)], 1), 1e-12)
    assert np.allclose(sums.xx, wide.T @ wide, 1e-12)
    forget(own_cache)
    said = {one.file: one.probabilities for one in run.predict(files)}
    theirs = np.array([[said[str(f)][c] for c in ("a", "b")] for f in files])
    ours = run.model.head.probabilities(embedded)
    assert np.array_equal(theirs.astype(np.float32), ours), "predict sees what embed saw"

    forget(own_cache)
    capsys.readouterr()
    assert command(["predict", str(tmp_path / "run"), *map(str, files), "--top", "2",
                    "--json"]) == 0  # fmt: skip
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])["predictions"]
    there = {one["file"]: one["probabilities"] for one in answer}
    assert there == said


def by_name(table: Path, names: list[str]) -> np.ndarray:
    """(N, D) float32 features of a table, in the order of `names`."""
    rows = pq.read_table(table).to_pydict()
    place = {name: number for number, name in enumerate(rows["id"])}
    return np.array([rows["features"][place[name]] for name in names], np.float32)


def data_of(home: Path, path: Path) -> Path:
    """Something to test on, so that everything else is learned from."""
    from tests.pictures import picture

    for kind in ("a", "b"):
        (home / "test" / kind).mkdir(parents=True)
        picture("stripes", ord(kind)).save(home / "test" / kind / "1.png")
    return home / "test"


def digests(net: Backbone) -> dict[str, str]:
    """SHA-256 of every tensor, BatchNorm's statistics and counters too."""
    return {
        name: hashlib.sha256(tensor.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
        for name, tensor in net.network().state_dict().items()
    }


@pytest.mark.parametrize("engine", ["openvino", "torch", "reference"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "left in train mode"])
def test_frozen_means_frozen(engine: str, training: bool, tmp_path: Path) -> None:
    from tests.pictures import write_folder

    torch.manual_seed(0)
    module = Small().train(training)
    net = from_module(module, input=ImageSpec((32, 32)), name="mine")
    before = digests(net)
    assert any("running_var" in name for name in before)
    assert any("num_batches_tracked" in name for name in before)
    data = write_folder(tmp_path / "data", 5)
    run = regraft.fit(data, net, engine=engine, at="auto")
    run.predict(data)
    run.save(tmp_path / "run", standalone=True)
    made = TransferClassifier(net, engine=engine).fit(sorted(data.glob("*/*.png")), _labels(data))
    assert made.classes_.tolist() == ["checks", "dots", "stripes"]
    assert digests(net) == before
    assert not any(p.grad is not None for p in module.parameters())


def _labels(data: Path) -> list[str]:
    return [path.parent.name for path in sorted(data.glob("*/*.png"))]


def test_a_change_of_one_statistic_is_noticed() -> None:
    """The test above can fail: one batch in train mode moves BatchNorm's statistics."""
    net = small()
    before = digests(net)
    moved = copy.deepcopy(net.network()).train()
    moved(torch.rand(2, 3, 32, 32))
    other = from_module(moved.eval(), input=ImageSpec((32, 32)), name="moved")
    assert digests(other) != before
