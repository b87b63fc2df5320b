"""Moving the pixels of a picture about: one affine map, sampled once, edges mirrored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from regraft.data.resize import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Map:
    """From a place in the new picture to one in the old, both in pixels from the middle.

    old y = yy * y + yx * x + y0
    old x = xy * y + xx * x + x0
    """

    yy: float = 1.0
    yx: float = 0.0
    y0: float = 0.0
    xy: float = 0.0
    xx: float = 1.0
    x0: float = 0.0

    def then(self, first: Map) -> Map:
        """`self` of what `first` gives."""
        return Map(
            self.yy * first.yy + self.yx * first.xy,
            self.yy * first.yx + self.yx * first.xx,
            self.yy * first.y0 + self.yx * first.x0 + self.y0,
            self.xy * first.yy + self.xx * first.xy,
            self.xy * first.yx + self.xx * first.xx,
            self.xy * first.y0 + self.xx * first.x0 + self.x0,
        )


def turn(angle: float) -> Map:
    """A rotation by `angle` radians."""
    c, s = math.cos(angle), math.sin(angle)
    return Map(c, -s, 0, s, c, 0)


def joined(steps: Sequence[Map]) -> Map:
    """What is done to a picture step after step, as one map."""
    whole = Map()
    for step in steps:
        whole = whole.then(step)
    return whole


def sample(picture: NDArray[np.uint8], place: Map) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: the picture as `place` shows it, bilinear, what lies outside mirrored."""
    if place == Map():
        return picture
    if place.yx == 0 == place.xy:
        return _upright(picture, place)
    return _slanted(picture, place)


def _upright(picture: NDArray[np.uint8], place: Map) -> NDArray[np.uint8]:
    """Where rows stay rows: flips, and a box that the quick resizer brings to size."""
    height, width = picture.shape[:2]
    tall, wide = height * abs(place.yy), width * abs(place.xx)
    top, left = height / 2 + place.y0 - tall / 2, width / 2 + place.x0 - wide / 2
    wider, up, over = _padded(picture, (top, left, top + tall, left + wide))
    out = resize(wider, (top + up, left + over, tall, wide), (height, width), "bilinear")
    return np.ascontiguousarray(out[:: -1 if place.yy < 0 else 1, :: -1 if place.xx < 0 else 1])


def _slanted(picture: NDArray[np.uint8], place: Map) -> NDArray[np.uint8]:
    from PIL import Image

    height, width = picture.shape[:2]
    ys, xs = [], []
    for y in (-height / 2, height / 2):
        for x in (-width / 2, width / 2):
            ys.append(place.yy * y + place.yx * x + place.y0 + height / 2)
            xs.append(place.xy * y + place.xx * x + place.x0 + width / 2)
    wider, up, over = _padded(picture, (min(ys) - 1, min(xs) - 1, max(ys) + 1, max(xs) + 1))
    # Pillow counts from the corner and x first.
    y0 = place.y0 + height / 2 + up - place.yy * height / 2 - place.yx * width / 2
    x0 = place.x0 + width / 2 + over - place.xy * height / 2 - place.xx * width / 2
    numbers = (place.xx, place.xy, x0, place.yx, place.yy, y0)
    turned = Image.fromarray(wider).transform(
        (width, height), Image.Transform.AFFINE, numbers, Image.Resampling.BILINEAR
    )
    return np.asarray(turned)


def _padded(
    picture: NDArray[np.uint8], edges: tuple[float, float, float, float]
) -> tuple[NDArray[np.uint8], int, int]:
    """The picture with mirrored margins, so that top, left, bottom and right edges lie in it.

    Returns:
        It, and how many rows above and columns left of the old ones were added.
    """
    height, width = picture.shape[:2]
    up, over = max(0, -math.floor(edges[0])), max(0, -math.floor(edges[1]))
    down = max(0, math.ceil(edges[2]) - height)
    right = max(0, math.ceil(edges[3]) - width)
    if up or down:
        picture = picture[_mirrored(-up, height + down, height)]
    if over or right:
        before, after = _mirrored(-over, 0, width), _mirrored(width, width + right, width)
        picture = np.concatenate([picture[:, before], picture, picture[:, after]], axis=1)
    return np.ascontiguousarray(picture), up, over


def _mirrored(start: int, stop: int, side: int) -> NDArray[np.intp]:
    """Places from `start` to `stop` with those outside 0..side - 1 mirrored at the edges."""
    places = np.arange(start, stop) % (2 * side)
    return np.minimum(places, 2 * side - 1 - places)
