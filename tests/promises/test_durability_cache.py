"""A rotten cache entry is found, named and made again; a stale one is never used."""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import regraft
from regraft.backbones.info import Tap
from regraft.cache import verify
from regraft.data import images
from regraft.data.decoders import decoder
from regraft.engine.openvino import OpenVinoEngine
from regraft.engine.precision import decide, recorded
from regraft.features import compute
from regraft.pipeline import pipeline
from tests.nets import small
from tests.pictures import picture, write_folder

FAULTS = 40


@pytest.fixture(scope="module")
def net():
    return small()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", 3)


def rot(path: Path, random: np.random.Generator) -> str:
    """Spoil one file of the cache in one of four ways."""
    content = bytearray(path.read_bytes())
    kind = ("flip", "truncate", "zero", "delete")[random.integers(4)]
    place = int(random.integers(len(content)))
    if kind == "flip":
        content[place] ^= 1 << int(random.integers(8))
    elif kind == "truncate":
        del content[place:]
    elif kind == "zero":
        span = slice(place, min(place + 512, len(content)))
        if not any(content[span]):
            span = slice(0, 64)
        content[span] = b"\0" * (span.stop - span.start)
    if kind == "delete":
        path.unlink()
    else:
        path.write_bytes(content)
    return kind


class Steady:
    """A session whose answers do not depend on the precision."""

    built = False

    def run(self, rows: Any) -> Any:
        return iter([(np.full(3, float(row[0]), np.float32),) for row in rows])


@pytest.mark.slow
def test_forty_faults_change_nothing_and_are_named(
    data: Path, net, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = own_cache / "precision" / "record.json"
    checks = [(np.float32(n),) for n in range(8)]

    def everything() -> tuple[bytes, dict[str, Any]]:
        """What the cache is for: activations, a trunk, a backbone's facts, a precision."""
        found = compute(images(data).examples, pipeline(net, [Tap(3)], engine="openvino"))
        facts = regraft.backbone("test_efficientnet", weights="random", size=32).info
        if recorded(record, ("f32", "bf16")) is None:
            decide(record, ("f32", "bf16"), lambda name: Steady(), checks)
        return found.rows["003"][:].tobytes(), facts.json()

    truth = everything()
    random = np.random.default_rng(0)
    faults: dict[str, int] = {}
    while sum(faults.values()) < FAULTS:
        files = sorted(p for p in own_cache.rglob("*") if p.is_file())
        folder = ("activations", "trunks", "backbones", "precision")[sum(faults.values()) % 4]
        if folder == "trunks":  # only looked at when something is to be computed
            shutil.rmtree(own_cache / "activations")
        path = random.choice([p for p in files if folder in p.parts])
        before = path.read_bytes()
        kind = rot(path, random)
        padding = path.suffix == ".safetensors" and verify() == [] and path.exists()
        spelling = path.suffix in (".xml", ".json") and verify() == [] and path.exists()
        if padding or spelling:  # only spaces after a header or between words were hit
            assert re.sub(rb"\s", b"", before) != b""
        caplog.clear()
        with caplog.at_level(logging.WARNING, "regraft"):
            assert everything() == truth
        whole_entry_gone = kind == "delete" and folder != "trunks"
        if not (whole_entry_gone or padding or spelling):
            assert "is damaged" in caplog.text, (folder, kind)
            name = path.parent.name if folder == "trunks" else path.name
            assert name in caplog.text
        assert verify() == []
        faults[folder] = faults.get(folder, 0) + 1
    assert faults == dict.fromkeys(("activations", "trunks", "backbones", "precision"), 10)


def misses(data: Path, net, **how: Any) -> int:
    return compute(images(data).examples, pipeline(net, [Tap(3)], **how)).counts.misses


def test_one_pixel_is_another_picture(data: Path, net) -> None:
    path = data / "dots" / "000.png"
    assert misses(data, net) == 9
    pixels = np.array(Image.open(path))
    pixels[5, 5, 0] ^= 1
    Image.fromarray(pixels).save(path)
    assert misses(data, net) == 1
    path.rename(data / "dots" / "another name.png")
    assert misses(data, net) == 0


@pytest.mark.parametrize(
    "change",
    [{"interpolation": "bilinear"}, {"geometry": "squash"}, {"crop": 0.5}, {"mean": (0, 0, 0)}],
    ids=lambda change: next(iter(change)),
)
def test_another_look_at_the_picture_is_a_miss(change: dict[str, Any], data: Path, net) -> None:
    from regraft.backbones import from_module

    assert misses(data, net) == 9
    spec = replace(net.input, **change)
    assert misses(data, from_module(net.network(), input=spec, name="small")) == 9
    assert misses(data, net) == 0


@pytest.mark.parametrize("package", ["pillow", "simplejpeg", "cykooz_resizer"])
def test_another_version_of_a_decoder_is_a_miss(
    package: str, data: Path, net, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert misses(data, net) == 9
    made = decoder("image")
    before = made.fingerprint(net.input)
    assert package in before
    monkeypatch.setattr(made, "fingerprint", lambda spec: before | {package: "999"})
    assert misses(data, net) == 9


def test_another_version_of_the_engine_is_a_miss(
    data: Path, net, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert misses(data, net, engine="openvino") == 9
    before = OpenVinoEngine.fingerprint

    def newer(self: OpenVinoEngine, device: str, precision: str) -> dict[str, str]:
        return before(self, device, precision) | {"version": "2099.1"}

    monkeypatch.setattr(OpenVinoEngine, "fingerprint", newer)
    assert misses(data, net, engine="openvino") == 9


def test_a_record_of_another_release_is_not_believed(own_cache: Path, net) -> None:
    first = regraft.backbone("test_efficientnet", weights="random", size=32).info
    (path,) = own_cache.glob("backbones/*.json")
    from regraft.files import sealed, unsealed

    body = unsealed(path.read_bytes())
    body["versions"]["timm"] = "0.0.1"
    body["info"]["digest"] = "0" * 64
    path.write_bytes(sealed(body))
    again = regraft.backbone("test_efficientnet", weights="random", size=32).info
    assert again == first
    assert json.loads(path.read_bytes())["record"]["versions"]["timm"] != "0.0.1"


def test_what_was_cached_equals_what_is_computed_anew(data: Path, net, own_cache: Path) -> None:
    run = regraft.fit(data, net, head="ridge", plan="probe")
    picture("dots", 99).save(data / "dots" / "new.png")
    mixed = run.predict(data)
    shutil.rmtree(own_cache)
    assert run.predict(data) == mixed
