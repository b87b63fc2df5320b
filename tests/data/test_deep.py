"""Pictures of more than 8 bits: one white for a data set, kept with the model."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regraft
from regraft.data import images
from regraft.data.decode_image import decode
from regraft.data.deep import bright, white_for, white_of
from regraft.inputs import ImageSpec
from tests.nets import small
from tests.pictures import CLASSES, picture, write_folder

SPEC = ImageSpec((48, 48))


def grey(peak: float, kind: str = "dots", seed: int = 0) -> np.ndarray:
    """(48, 48) float from 0 to about `peak`."""
    values = np.asarray(picture(kind, seed).convert("L"), float)
    return values / values.max() * peak


def png(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.rint(values).astype(np.uint16)).save(out, "PNG")
    return out.getvalue()


def tiff(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values.astype(np.float32)).save(out, "TIFF")
    return out.getvalue()


def colour_png(values: np.ndarray) -> bytes:
    """(h, w, 3) as a PNG of 16 bits a channel, which Pillow does not write."""
    height, width, _ = values.shape
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, data: bytes) -> bytes:
        sums = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sums

    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def mean(raw: bytes, spec: ImageSpec = SPEC) -> float:
    return float(decode(raw, spec)[0].mean())


@pytest.mark.parametrize("peaks", [(255, 256), (1023, 1024), (4095, 4096), (16383, 16384)])
def test_a_little_more_exposure_is_a_little_brighter(peaks: tuple[int, int]) -> None:
    one, other = (mean(png(grey(peak))) for peak in peaks)
    assert abs(one - other) < 2


def test_floats_likewise() -> None:
    assert abs(mean(tiff(grey(1.0))) - mean(tiff(grey(1.0001)))) < 1
    assert abs(mean(tiff(grey(1.0))) - mean(tiff(grey(255.0)))) < 1
    assert mean(tiff(grey(1.2))) >= mean(tiff(grey(1.0)))  # over-exposed is not black


def test_one_hot_pixel_changes_nothing() -> None:
    values = grey(3900)
    before = decode(png(values), SPEC)[0].astype(int)
    values[0, 0] = 60000
    assert np.abs(decode(png(values), SPEC)[0].astype(int) - before)[8:, 8:].max() <= 1


def test_colours_of_16_bits_are_as_greys() -> None:
    values = grey(4095)
    assert abs(mean(colour_png(np.repeat(values[..., None], 3, 2))) - mean(png(values))) < 1
    known = ImageSpec((48, 48), white=65535.0)
    assert mean(colour_png(np.repeat(values[..., None], 3, 2)), known) < 20


def test_the_white_is_that_of_the_whole_data_set(tmp_path: Path) -> None:
    for number, peak in enumerate((900, 2000, 3500)):
        home = tmp_path / ("a" if number else "b")
        home.mkdir(exist_ok=True)
        (home / f"{number}.png").write_bytes(png(grey(peak, seed=number)))
    examples = images(tmp_path).examples
    assert white_of(examples) == 4095
    assert white_of(examples[:0]) == 0
    assert white_of(images(write_folder(tmp_path / "plain", 2)).examples) == 0
    (tmp_path / "a" / "float.tif").write_bytes(tiff(grey(1.0)))
    assert white_of(images(tmp_path, least_classes=1).examples) == 0  # two kinds: each by itself


def test_what_holds_a_value() -> None:
    assert [white_for(v, False) for v in (0, 255, 260, 261, 4176, 70000)] == [
        255, 255, 255, 1023, 4095, 0
    ]  # fmt: skip
    assert [white_for(v, True) for v in (0.5, 1.0, 1.03, 8.0, 9.0, 300)] == [
        1, 1, 1, 1, 255, 1023
    ]  # fmt: skip
    assert bright(np.arange(100)) == 99  # too few for a thousandth


def test_a_model_keeps_the_white_of_its_data(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for kind in CLASSES:
        (tmp_path / "deep" / kind).mkdir(parents=True)
        for n in range(6):
            values = grey(random.uniform(2500, 7000), kind, n)
            (tmp_path / "deep" / kind / f"{n}.png").write_bytes(png(values))
    said: list[str] = []
    run = regraft.fit(tmp_path / "deep", small(), plan="probe", near=False, say=said.append)
    assert any("scaled from 0 to 16383 (14 bits)" in line for line in said)
    run.save(tmp_path / "run")
    config = json.loads((tmp_path / "run" / "bundle" / "config.json").read_text())
    assert config["backbone"]["input"]["white"] == 16383.0
    model = regraft.load(tmp_path / "run", backbone=small())
    values = grey(3000, "dots", 99)
    (calm,) = model.predict(png(values))
    values[0, 0] = 9000
    (hot,) = model.predict(png(values))
    assert calm.label == hot.label
    assert calm.probabilities == pytest.approx(hot.probabilities, abs=0.01)
    assert any("14 bits" in note for note in regraft.audit(tmp_path / "deep").notes)


def test_pictures_of_8_bits_leave_no_trace(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", 3)
    run = regraft.fit(tmp_path / "data", small(), plan="probe", near=False)
    assert "white" not in run.model.backbone.input.json()
