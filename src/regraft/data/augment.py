"""Augmentation: what may happen at random to a picture, as one line of text.

    'flip, rotate=15, zoom=0.2' ─► Augment ─► geometry and colour (augment_draw) ─► pixels (warp, …)

It works on the decoded row, (H, W, 3) uint8, and keeps its shape, so that the same views can be
made once and kept below a cut or made anew in every epoch. Scaling pixels to what the network
expects is the preamble's and always there. The order in the text does not matter; what is done
first is fixed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from regraft.data import resize
from regraft.errors import OptionError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REVISION = 1  # raise it whenever any pixel of any view may change: kept views are then made anew

#: Ready-made texts. 'tutorial' is what the Keras tutorials on small data sets do to their photos
#: (shear there is 0.2 radians).
PRESETS = {
    "light": "flip, rotate=10, zoom=0.1, shift=0.05, brightness=0.1, contrast=0.1",
    "tutorial": "flip, rotate=40, zoom=0.2, shift=0.2, shear=11.5, brightness=0.2",
}


@dataclass(frozen=True)
class Op:
    """One thing that may happen.

    Attributes:
        does: what, and what its number means.
        least: below which the number must not lie; a least of 0 is itself refused.
        most: above which it must not lie.
        usual: the number where none is given; None if one must be.
    """

    does: str
    least: float
    most: float
    usual: float | None = None


#: In the order in which they happen.
OPS = {
    "crop": Op("a part of at least this share of the area, resized (Szegedy et al. 2015)", 0, 1),
    "flip": Op("left and right change places with this probability", 0, 1, 0.5),
    "vflip": Op("top and bottom change places with this probability", 0, 1, 0.5),
    "rotate": Op("turned by up to so many degrees", 0, 180),
    "zoom": Op("height and width scaled, each by 1 - this to 1 + this", 0, 0.9),
    "shift": Op("moved by up to this share of height and width", 0, 0.9),
    "shear": Op("slanted by up to so many degrees", 0, 60),
    "randaugment": Op("so many ops:at this magnitude, 0..30 (Cubuk et al. 2020)", 0, 30),
    "brightness": Op("scaled by 1 - this to 1 + this", 0, 1),
    "contrast": Op("distance to the mean grey scaled by 1 - this to 1 + this", 0, 1),
    "saturation": Op("distance to its own grey scaled by 1 - this to 1 + this", 0, 1),
    "gray": Op("without colour with this probability", 0, 1, 0.1),
    "blur": Op("blurred by a Gaussian of up to so many pixels (Chen et al. 2020)", 0, 16),
    "erase": Op("a rectangle of noise with this probability (Zhong et al. 2020)", 0, 1, 0.25),
}
MOST_OPS = 14
ELSEWHERE = {
    "rescale": "pixels are always scaled as the backbone expects them; leave it out.",
    "mixup": "it mixes rows of a batch; use --mixup.",
    "cutmix": "it mixes rows of a batch; use --cutmix.",
}


@dataclass(frozen=True)
class Augment:
    """What may happen to a picture.

    Attributes:
        numbers: for each op, in the order of `OPS`, its number; of randaugment (ops, magnitude).
    """

    numbers: tuple[tuple[str, float | tuple[int, float]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.numbers)

    def __str__(self) -> str:
        """The canonical spelling: equal texts, equal views; '' if nothing happens."""
        return ", ".join(_spelled(name, number) for name, number in self.numbers)

    def apply(self, picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        """A random version of a picture, (H, W, 3) uint8; the picture stays as it is.

        The same for equal generators, whatever else runs.
        """
        from regraft.data.augment_draw import draw

        return draw(dict(self.numbers), picture, random)


@lru_cache(64)
def parse(text: str) -> Augment:
    """The augmentation that a line of text names: names with commas, 'name=number', or presets.

    What is named after a preset changes what the preset says.

    Raises:
        OptionError: an unknown name, twice, or a number that it cannot have.
    """
    found: dict[str, float | tuple[int, float]] = {}
    mine: set[str] = set()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, given, value = (word.strip() for word in part.partition("="))
        if name in PRESETS and not given:
            found |= dict(parse(PRESETS[name]).numbers)
            continue
        if name in ELSEWHERE:
            raise OptionError(f"--augment {name}: {ELSEWHERE[name]}")
        if name not in OPS:
            known = ", ".join([*OPS, *PRESETS])
            raise OptionError(
                f"--augment must name some of {known}, got '{name}'."
                + did_you_mean(name, [*OPS, *PRESETS, *ELSEWHERE])
            )
        if name in mine:
            raise OptionError(f"--augment names '{name}' twice; keep one of them.")
        mine.add(name)
        found[name] = _pair(value) if name == "randaugment" else _number(name, value, bool(given))
    return Augment(tuple((name, found[name]) for name in OPS if name in found))


def _number(name: str, value: str, given: bool) -> float:
    op = OPS[name]
    if not given and op.usual is not None:
        return op.usual
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not op.least < number <= op.most:
        got = f"got '{value}'" if value else "got none"
        raise OptionError(
            f"--augment {name} must be a number above {op.least:g} and up to {op.most:g} "
            f"({op.does}), {got}."
        )
    return number


def _pair(value: str) -> tuple[int, float]:
    """The ops and the magnitude of randaugment; the paper's usual ones if nothing is said."""
    if not value:
        return 2, 9.0
    count, _, size = value.partition(":")
    try:
        pair = int(count), float(size or 9)
    except ValueError:
        pair = 0, 0.0
    if not (1 <= pair[0] <= MOST_OPS and 0 <= pair[1] <= OPS["randaugment"].most):
        raise OptionError(
            f"--augment randaugment must be OPS:MAGNITUDE, 1 to {MOST_OPS} and 0 to 30, "
            f"e.g. randaugment=2:9, got '{value}'."
        )
    return pair


def _spelled(name: str, number: float | tuple[int, float]) -> str:
    if isinstance(number, tuple):
        return f"{name}={number[0]}:{_plain(number[1])}"
    return name if number == OPS[name].usual else f"{name}={_plain(number)}"


def _plain(number: float) -> str:
    """The shortest text that is read as this very number."""
    return repr(number).removesuffix(".0")


def fingerprint() -> dict[str, Any]:
    """What decides a view besides its text and the decoder's libraries: part of a cache key."""
    return {"revision": REVISION} | resize.fingerprint("bilinear")
