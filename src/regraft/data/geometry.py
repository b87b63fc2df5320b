"""Which part of a picture the network sees, so that one resize of that part is enough.

The usual recipe of evaluation (timm, torchvision) resizes the whole picture and then throws the
margins away. Resizing only the part that stays costs half as much, but its edges fall between
source pixels: rounding them moves the picture by up to a pixel, 2 to 5 grey levels on photos. So
the part is widened here by a few pixels on each side to where an edge falls (nearly) on a whole
source pixel, and the few extra pixels of the answer are cut off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from regraft.inputs import ImageSpec

# How far, in pixels of the answer, an edge is moved outwards at most to meet a whole source pixel,
# and what is near enough, in the same unit.
REACH = 16
NEAR = 1 / 32


@dataclass(frozen=True)
class Span:
    """One axis.

    Attributes:
        start: first source pixel that is used.
        stop: source pixel after the last.
        size: how many pixels start..stop become.
        offset: where among these the answer begins.
    """

    start: int
    stop: int
    size: int
    offset: int


def spans(height: int, width: int, spec: ImageSpec) -> tuple[Span, Span]:
    """Vertical and horizontal span of a picture of this size in pixels.

    'squash' takes all of it. 'crop' is timm's recipe: the picture is resized until it covers
    `floor(size / crop)`, keeping its proportions, then the centre of `size` is cut out.
    """
    if spec.geometry == "squash":
        return Span(0, height, spec.size[0], 0), Span(0, width, spec.size[1], 0)
    tall, wide = resized(height, width, spec)
    return _span(height, tall, spec.size[0]), _span(width, wide, spec.size[1])


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


def needed(spec: ImageSpec) -> tuple[int, int]:
    """(height, width) in pixels that the whole picture needs so as not to be enlarged."""
    crop = spec.crop if spec.geometry == "crop" else 1.0
    return math.ceil(spec.size[0] / crop), math.ceil(spec.size[1] / crop)


def _span(source: int, grid: int, size: int) -> Span:
    """The span whose resized pixels hold the central `size` of `grid`."""
    first = round((grid - size) / 2)
    begin, start = _edge(first, 0, source, grid)
    end, stop = _edge(first + size, grid, source, grid)
    stop = max(stop, start + 1)
    return Span(start, min(stop, source), end - begin, first - begin)


def _edge(edge: int, limit: int, source: int, grid: int) -> tuple[int, int]:
    """(pixel of the grid, source pixel) nearest outwards of `edge` where the two meet."""
    scale = source / grid
    near = NEAR * scale
    reach = max(REACH, math.ceil(1 / scale))
    step = -1 if limit < edge else 1
    best, found = math.inf, (edge, round(edge * scale))
    for place in range(edge, limit + step, step)[: reach + 1]:
        miss = abs(place * scale - round(place * scale))
        if miss < best:
            best, found = miss, (place, round(place * scale))
        if best <= near:
            break
    return found
