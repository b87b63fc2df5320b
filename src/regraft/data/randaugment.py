"""RandAugment: a few operations at one strength, drawn from fourteen.

Cubuk, Zoph, Shlens, Le 2020, "RandAugment: Practical automated data augmentation with a reduced
search space", arXiv:1909.13719. Operations and what a magnitude of 0..30 means for each are those
of torchvision, so that numbers found with it hold here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from regraft.data import colour, warp
from regraft.data.warp import Map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

MOST = 30.0
#: At the largest magnitude: degrees, tangent of the slant, share of the side, change of a factor.
ANGLE, SLANT, SHIFT, FACTOR = 30.0, 0.3, 150 / 331, 0.9


def randaugment(
    picture: Picture, count: int, magnitude: float, random: np.random.Generator
) -> Picture:
    """`count` operations, each drawn anew and, where it has a direction, in either.

    Args:
        picture: (H, W, 3) uint8.
        count: of operations.
        magnitude: 0..30.
        random: draws.
    """
    names = tuple(OPERATIONS)
    for _ in range(count):
        name = names[int(random.integers(len(names)))]
        sign = 1.0 if random.random() < 0.5 else -1.0
        picture = OPERATIONS[name](picture, magnitude / MOST, sign)
    return picture


def _moved(make: Callable[[float, int, int], Map]) -> Callable[[Picture, float, float], Picture]:
    def change(picture: Picture, size: float, sign: float) -> Picture:
        return warp.sample(picture, make(sign * size, *picture.shape[:2]))

    return change


def _scaled(op: Callable[[Picture, float], Picture]) -> Callable[[Picture, float, float], Picture]:
    def change(picture: Picture, size: float, sign: float) -> Picture:
        return op(picture, 1 + sign * size * FACTOR)

    return change


def posterize(picture: Picture, size: float, sign: float) -> Picture:
    """Fewer bits of each level: 8 at magnitude 0, 4 at the largest."""
    bits = 8 - round(size * 4)
    return picture & np.uint8(256 - (1 << (8 - bits)))


def solarize(picture: Picture, size: float, sign: float) -> Picture:
    """Levels from a threshold on are inverted: none at magnitude 0, all at the largest."""
    levels = np.arange(256)
    return np.where(levels >= 255 * (1 - size), 255 - levels, levels).astype(np.uint8)[picture]


def sharpness(picture: Picture, factor: float) -> Picture:
    """Between smoothed (0), as it is (1) and sharpened (2)."""
    from PIL import Image, ImageEnhance

    return np.asarray(ImageEnhance.Sharpness(Image.fromarray(picture)).enhance(factor))


def autocontrast(picture: Picture, size: float, sign: float) -> Picture:
    """Each colour's darkest level becomes 0, its lightest 255."""
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.autocontrast(Image.fromarray(picture)))


def equalize(picture: Picture, size: float, sign: float) -> Picture:
    """Each colour's levels occur about equally often."""
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.equalize(Image.fromarray(picture)))


OPERATIONS: dict[str, Callable[[Picture, float, float], Picture]] = {
    "identity": lambda picture, size, sign: picture,
    "shear_x": _moved(lambda size, height, width: Map(xy=SLANT * size)),
    "shear_y": _moved(lambda size, height, width: Map(yx=SLANT * size)),
    "shift_x": _moved(lambda size, height, width: Map(x0=float(int(SHIFT * size * width)))),
    "shift_y": _moved(lambda size, height, width: Map(y0=float(int(SHIFT * size * height)))),
    "rotate": _moved(lambda size, height, width: warp.turn(math.radians(ANGLE * size))),
    "brightness": _scaled(colour.brightness),
    "saturation": _scaled(colour.saturation),
    "contrast": _scaled(colour.contrast),
    "sharpness": _scaled(sharpness),
    "posterize": posterize,
    "solarize": solarize,
    "autocontrast": autocontrast,
    "equalize": equalize,
}
