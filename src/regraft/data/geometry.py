"""Which part of a picture the network sees, so that one resize of that part is enough.

The usual recipe of evaluation (timm, torchvision) resizes the whole picture and then throws the
margins away. Resizing only what stays gives the same pixels at half the cost, if the part's edges,
which fall between source pixels, are not rounded: that would move photos by up to a pixel, 2 to 5
grey levels on average.
"""

from __future__ import annotations

import math

from regraft.inputs import ImageSpec

Box = tuple[float, float, float, float]


def box_of(height: int, width: int, spec: ImageSpec) -> Box:
    """(top, left, height, width) in source pixels of what becomes `spec.size`.

    'squash' and 'pad' take all of it. 'crop' is timm's recipe: the picture is resized until it
    covers `floor(size / crop)`, keeping its proportions, then the centre of `size` is cut out.
    """
    if spec.geometry != "crop":
        return 0, 0, height, width
    tall, wide = resized(height, width, spec)
    top, part_height = _part(height, tall, spec.size[0])
    left, part_width = _part(width, wide, spec.size[1])
    return top, left, part_height, part_width


def resized(height: int, width: int, spec: ImageSpec) -> tuple[int, int]:
    """(height, width) of the whole picture before the centre is cut out, with timm's rounding."""
    goal = tuple(math.floor(side / spec.crop) for side in spec.size)
    if goal[0] == goal[1]:
        short = goal[0]
        if height <= width:
            return short, int(short * width / height)
        return int(short * height / width), short
    scale = min(height / goal[0], width / goal[1])
    return max(round(height / scale), spec.size[0]), max(round(width / scale), spec.size[1])


def inside(height: int, width: int, spec: ImageSpec) -> tuple[int, int]:
    """(height, width) that the whole picture takes within `spec.size`, its proportions kept."""
    scale = min(spec.size[0] / height, spec.size[1] / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def lost(height: int, width: int, spec: ImageSpec) -> float:
    """The share of the picture's area that `spec` never looks at, 0..1."""
    _, _, tall, wide = box_of(height, width, spec)
    return 1.0 - tall * wide / (height * width)


def needed(spec: ImageSpec) -> tuple[int, int]:
    """(height, width) in pixels that the whole picture needs so as not to be enlarged.

    It is what a crop needs in every geometry, so that all see the same decoded picture: looks, and
    with them what is kept together in a split, do not depend on the geometry.
    """
    return math.ceil(spec.size[0] / spec.crop), math.ceil(spec.size[1] / spec.crop)


def _part(source: int, whole: int, size: int) -> tuple[float, float]:
    """Start and length in source pixels of the central `size` of `whole` pixels."""
    scale = source / whole
    start = round((whole - size) / 2) * scale
    return start, min(size * scale, source - start)
