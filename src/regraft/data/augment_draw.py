"""A random version of a picture: all numbers drawn from one generator, then the pixels.

Whatever moves pixels about is one map from places to places, so a picture is sampled once however
much happens to it; colours follow, erasing is last.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.data import colour, warp
from regraft.data.warp import Map

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Szegedy et al. 2015 (arXiv:1409.4842): a crop's proportions, width over height.
RATIO = (3 / 4, 4 / 3)
# Zhong et al. 2020 (arXiv:1708.04896): an erased rectangle's share of the area, and proportions.
ERASED, ERASED_RATIO = (0.02, 1 / 3), (0.3, 1 / 0.3)
TRIES = 10

Numbers = dict[str, Any]


def draw(
    numbers: Numbers, picture: NDArray[np.uint8], random: np.random.Generator
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, see `regraft.data.augment`."""
    height, width = picture.shape[:2]
    out = warp.sample(picture, _geometry(numbers, height, width, random))
    if "randaugment" in numbers:
        from regraft.data.randaugment import randaugment

        count, magnitude = numbers["randaugment"]
        out = randaugment(out, count, magnitude, random)
    out = _coloured(numbers, out, random)
    if _happens(numbers, "erase", random):
        out = _erased(out, random)
    return out


def _geometry(numbers: Numbers, height: int, width: int, random: np.random.Generator) -> Map:
    """From places in the new picture to places in the old one, in pixels from the middle."""
    steps = []
    if "crop" in numbers:
        top, left, tall, wide = _box(height, width, (numbers["crop"], 1.0), RATIO, random)
        down, right = top + tall / 2 - height / 2, left + wide / 2 - width / 2
        steps.append(Map(tall / height, 0, down, 0, wide / width, right))
    flip, upside = _happens(numbers, "flip", random), _happens(numbers, "vflip", random)
    if flip or upside:
        steps.append(Map(-1 if upside else 1, 0, 0, 0, -1 if flip else 1, 0))
    if "rotate" in numbers:
        steps.append(warp.turn(math.radians(_around(numbers, "rotate", random))))
    if "shear" in numbers:
        slant = math.tan(math.radians(_around(numbers, "shear", random)))
        steps.append(Map(1, 0, 0, slant, 1, 0))
    if "zoom" in numbers:
        taller, wider = (1 + _around(numbers, "zoom", random) for _ in range(2))
        steps.append(Map(1 / taller, 0, 0, 0, 1 / wider, 0))
    if "shift" in numbers:
        down, right = (side * _around(numbers, "shift", random) for side in (height, width))
        steps.append(Map(1, 0, down, 0, 1, right))
    return warp.joined(steps)


def _coloured(
    numbers: Numbers, picture: NDArray[np.uint8], random: np.random.Generator
) -> NDArray[np.uint8]:
    if "brightness" in numbers:
        picture = colour.brightness(picture, 1 + _around(numbers, "brightness", random))
    if "contrast" in numbers:
        picture = colour.contrast(picture, 1 + _around(numbers, "contrast", random))
    if "saturation" in numbers:
        picture = colour.saturation(picture, 1 + _around(numbers, "saturation", random))
    if _happens(numbers, "gray", random):
        picture = colour.saturation(picture, 0.0)
    if "blur" in numbers:
        picture = colour.blur(picture, random.uniform(0, numbers["blur"]))
    return picture


def _erased(picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    top, left, tall, wide = _box(height, width, ERASED, ERASED_RATIO, random)
    out = picture.copy()
    rows, columns = slice(top, top + tall), slice(left, left + wide)
    out[rows, columns] = random.integers(0, 256, (tall, wide, 3), np.uint8)
    return out


def _box(
    height: int,
    width: int,
    share: tuple[float, float],
    ratio: tuple[float, float],
    random: np.random.Generator,
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a rectangle inside, in pixels.

    Args:
        height: of the picture.
        width: of the picture.
        share: of the area, from and to.
        ratio: width over height, from and to, drawn evenly in its logarithm.
        random: draws.
    """
    low, high = (math.log(one) for one in ratio)
    tall, wide = height, width
    for _ in range(TRIES):
        area = height * width * random.uniform(*share)
        proportion = math.exp(random.uniform(low, high))
        tall, wide = round(math.sqrt(area / proportion)), round(math.sqrt(area * proportion))
        if 1 <= tall <= height and 1 <= wide <= width:
            break
    tall, wide = min(max(tall, 1), height), min(max(wide, 1), width)
    top = int(random.integers(0, height - tall + 1))
    return top, int(random.integers(0, width - wide + 1)), tall, wide


def _around(numbers: Numbers, name: str, random: np.random.Generator) -> float:
    """Evenly between minus and plus the op's number."""
    return float(random.uniform(-numbers[name], numbers[name]))


def _happens(numbers: Numbers, name: str, random: np.random.Generator) -> bool:
    return name in numbers and bool(random.random() < numbers[name])
