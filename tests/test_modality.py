"""Another modality is new files and registry lines: fit, save, load and predict do not change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import regraft
from regraft import inputs
from regraft.backbones.info import Tap
from regraft.data import decoders, sources
from regraft.errors import DataError
from regraft.features import compute
from regraft.pipeline import pipeline
from tests import toy_text
from tests.pictures import write_folder


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(inputs.SPECS, "toy-text", "tests.toy_text:TokenSpec")
    monkeypatch.setitem(decoders.DECODERS, "toy-text", "tests.toy_text")
    finders = ("tests.toy_text:texts", "tests.toy_text:files")
    monkeypatch.setitem(sources.SOURCES, "toy-text", finders)


def test_text_goes_the_whole_way(tmp_path: Path) -> None:
    net = toy_text.toy_backbone()
    data = toy_text.write_texts(tmp_path / "data", 20)
    (data / "sea" / "empty.txt").write_text("  ")
    run = regraft.fit(str(data), net, at="auto").save(tmp_path / "run")
    assert run.report["test"]["accuracy"] >= 0.75
    assert [s["file"] for s in run.report["audit"]["skipped"]] == ["sea/empty.txt"]
    model = regraft.load(tmp_path / "run", backbone=net)
    found = {p.file: p for p in model.predict(str(data))}
    assert found["sea/empty.txt"].error == "no word in it"
    assert sum(found[f"hill/{n:02d}.txt"].label == "hill" for n in range(20)) >= 17
    assert "Toy-text classifier" in (tmp_path / "run" / "bundle" / "README.md").read_text()


def test_stages_with_a_mask_compose_at_every_cut_and_engines_agree(tmp_path: Path) -> None:
    net = toy_text.toy_backbone()
    data = toy_text.texts(toy_text.write_texts(tmp_path / "data", 4))
    rows = [toy_text.decode(e.read(), net.input) for e in data.examples]
    flow = tuple(torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
    whole = net.stages(flow)
    for cut in range(len(net) + 1):
        x, mask = net[cut:](net[:cut](flow))
        assert torch.equal(x, whole[0])
        assert torch.equal(mask, whole[1])
    taps = [Tap(i) for i in range(3)]
    ours = compute(data.examples, pipeline(net, taps, precision="f32"))
    truth = compute(data.examples, pipeline(net, taps, engine="reference"))
    for tap in ours.rows:
        np.testing.assert_allclose(ours.rows[tap][:], truth.rows[tap][:], rtol=1e-4, atol=1e-5)


def test_data_of_another_modality_are_refused(tmp_path: Path) -> None:
    data = regraft.images(write_folder(tmp_path / "pictures", 2))
    with pytest.raises(DataError, match="of the modality 'image' and the backbone takes 'toy-"):
        regraft.fit(data, toy_text.toy_backbone())
