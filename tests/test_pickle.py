"""Runs, models and backbones go through a pickle, into other processes too, and answer the same."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import regraft
from regraft.backbones import Backbone
from regraft.errors import BackboneError
from tests.nets import small
from tests.pictures import picture, write_folder

NAMED = {"weights": "random", "size": 32, "plan": "probe", "geometry": "crop", "near": False}


def copied(thing):
    return pickle.loads(pickle.dumps(thing))


def moved(net: Backbone, part: str) -> Backbone:
    """With other numbers in the tensors whose names begin so."""
    own = net.stages.tensors()
    return net.tuned({n: t + 0.01 for n, t in own.items() if n.startswith(part) and "num" not in n})


def test_a_run_answers_and_is_saved_as_before(tmp_path: Path, own_cache: Path) -> None:
    data = write_folder(tmp_path / "data", 6)
    run = regraft.fit(data, "test_resnet", head="ridge", **NAMED)
    body, truth = pickle.dumps(run), run.predict(data)
    shutil.rmtree(own_cache)  # nothing of it is in the cache alone
    same = pickle.loads(body)
    assert repr(same) == repr(run)
    run.save(tmp_path / "a")
    same.save(tmp_path / "b")
    for name in ("bundle/head.safetensors", "bundle/config.json", "sums.safetensors", "tried.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert "<img" in (tmp_path / "b" / "report.html").read_text()
    assert same.predict(data) == truth
    assert copied(same).predict(data) == truth


def test_a_model_answers_in_another_process(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", 5)
    model = regraft.fit(data, "test_resnet", **NAMED).model
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    code = (
        "import pickle, sys; from pathlib import Path\n"
        "m = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "print([one.label for one in m.predict(sys.argv[2])])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.pkl"), str(data)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str([one.label for one in model.predict(data)])


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_backbones_keep_facts_and_weights(own: bool, trained: bool) -> None:
    net = small() if own else regraft.backbone("test_resnet", weights="random", size=64)
    net = moved(net, "top." if own else "layer4.") if trained else net.looking("pad")
    same = copied(net)
    assert same.info == net.info
    assert same.tuning == net.tuning
    assert same.stages.names == net.stages.names
    for name, tensor in net.stages.tensors().items():
        assert np.array_equal(same.stages.tensors()[name].detach(), tensor.detach()), name
    assert same.changed().keys() == net.changed().keys()
    assert same.resized(96).info.digest == net.resized(96).info.digest
    assert copied(same).info == net.info


def test_a_file_of_weights_is_not_needed_again(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    net = regraft.backbone("test_resnet", weights="random", size=32)
    save_file(net.network().state_dict(), tmp_path / "w.safetensors")
    net = regraft.backbone("test_resnet", weights=tmp_path / "w.safetensors", size=32)
    same = copied(net)
    (tmp_path / "w.safetensors").unlink()
    assert same.info == net.info
    assert same.stages.tensors().keys() == net.stages.tensors().keys()


def test_other_weights_in_its_place_are_refused() -> None:
    net = small()
    rebuilt, (info, tuning, _) = net.__reduce__()[:2]
    with pytest.raises(BackboneError, match="digest"):
        _ = rebuilt(info, tuning, small(seed=1).network()).stages


def test_a_run_on_rows_in_memory_is_pickled_without_them() -> None:
    datasets = pytest.importorskip("datasets")
    drawn = [(kind, n) for kind in ("dots", "stripes") for n in range(8)]
    rows = datasets.Dataset.from_dict(
        {"image": [picture(*one) for one in drawn], "label": [kind for kind, _ in drawn]}
    ).cast_column("image", datasets.Image())
    run = regraft.fit(rows, "test_resnet", **NAMED)
    new = [picture("dots", 99), picture("stripes", 99)]
    assert copied(run).predict(new) == run.predict(new)
