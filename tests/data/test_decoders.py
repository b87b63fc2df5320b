"""Another modality is one file and one line."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from regraft.data import decoders
from regraft.errors import OptionError

TOY = '''
"""Text as its bytes, with a padding mask."""
import numpy as np
from regraft.errors import BadFile

name = "toy-text"

def fingerprint(spec):
    return {"decoder": name, "revision": 1}

def decode(raw, spec):
    if not raw:
        raise BadFile("empty file")
    codes = np.zeros(spec.length, np.int64)
    codes[: len(raw)] = list(raw[: spec.length])
    return codes, codes > 0
'''


@dataclass(frozen=True)
class TextSpec:
    length: int = 8
    modality: str = "toy-text"

    def json(self) -> dict[str, Any]:
        return {"modality": self.modality, "length": self.length}


def test_a_toy_modality_needs_one_module_and_one_line(tmp_path, monkeypatch) -> None:
    (tmp_path / "toy_text_decoder.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(decoders.DECODERS, "toy-text", "toy_text_decoder")
    spec = TextSpec()
    toy = decoders.decoder(spec.modality)
    codes, mask = toy.decode(b"hi", spec)
    assert toy.name == "toy-text"
    assert codes.tolist() == [104, 105, 0, 0, 0, 0, 0, 0]
    assert np.array_equal(mask, codes > 0)


def test_an_unknown_modality_names_the_close_ones() -> None:
    with pytest.raises(OptionError, match=r"not 'images'\. Did you mean 'image'\?"):
        decoders.decoder("images")


def test_listing_is_light_and_decoding_needs_no_torch() -> None:
    code = """
import sys
from regraft.data import images, files, Dataset, Example, Skipped, decoder
assert not {"numpy", "PIL", "torch", "datasets"} & set(sys.modules), "listing"
import numpy, simplejpeg
from regraft.inputs import ImageSpec
decoder("image").fingerprint(ImageSpec((224, 224)))
heavy = {"PIL.Image", "cykooz_resizer", "importlib.metadata"}
assert not heavy & set(sys.modules), "the fingerprint, all that a warm run needs"
photo = simplejpeg.encode_jpeg(numpy.zeros((300, 400, 3), numpy.uint8))
decoder("image").decode(photo, ImageSpec((224, 224)))
assert not {"torch", "timm", "torchvision", "datasets", "scipy"} & set(sys.modules), "decoding"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
