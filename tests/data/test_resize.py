"""Resizing a part of a picture: no size is a danger, and both libraries see the same."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from regraft.data.geometry import box_of
from regraft.data.resize import resize
from regraft.inputs import ImageSpec

#: Height and width of pictures, and what they became, that killed the process: the windows of the
#: first pixels reached further than that of the very first.
DEADLY = (
    (118, 206, 224, 224),
    (145, 147, 224, 224),
    (148, 258, 224, 224),
    (196, 342, 224, 224),
    (205, 445, 224, 224),
    (226, 394, 224, 224),
    (233, 812, 224, 224),
    (20, 700, 32, 64),
)
PROGRAM = f"""
import numpy as np
from regraft.data.decode_image import fitted
from regraft.inputs import ImageSpec
for height, width, tall, wide in {DEADLY}:
    grey = np.full((height, width, 3), 77, np.uint8)
    out = fitted(grey, ImageSpec((tall, wide)))
    assert out.shape == (tall, wide, 3) and (out == 77).all(), (height, width)
print("alive")
"""


def test_no_size_kills_the_process() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "alive\n", "")


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("shape", [(60, 90), (300, 411), (90, 31), (118, 206)])
def test_it_is_what_pillow_makes(shape: tuple[int, int], interpolation: str) -> None:
    random = np.random.default_rng(0)
    small = random.integers(0, 255, (9, 9, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(small).resize(shape[::-1], Image.Resampling.BICUBIC))
    top, left, height, width = box = box_of(*shape, ImageSpec((64, 96)))
    ours = resize(picture, box, (64, 96), interpolation)
    how = Image.Resampling[interpolation.upper()]
    part = (left, top, left + width, top + height)
    theirs = np.asarray(Image.fromarray(picture).resize((96, 64), how, box=part))
    apart = np.abs(ours.astype(int) - theirs)
    assert apart.max() <= 3
    assert apart.mean() < 0.3
