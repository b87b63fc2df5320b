"""Pictures of more than 8 bits: which value is white, told by the whole data set.

A camera of 12 bits writes 16-bit files that hold values up to 4095. Were each picture scaled by its
own brightest pixel, one hot pixel would darken it all; so one white is found for a data set, before
it is decoded, and is part of the input spec from then on: prediction scales by it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from regraft.errors import BadFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from regraft.data.dataset import Dataset, Example

#: What cameras and scanners write: 8, 10, 12, 14 and 16 bits.
WHITES = (255, 1023, 4095, 16383, 65535)
FLOAT_WHITES = (1.0, *map(float, WHITES))
#: Share of pixels that may be brighter than white: dead and hot ones.
HOT = 0.001
#: A white holds values up to so much beyond it.
BEYOND = 1.02
#: Floats up to here are of 0..1: of 0..255 they would be black.
FLOAT_BEYOND = 8.0
HEADS, DECODED = 256, 64  # pictures whose headers are read, and that are decoded
_HEAD_BYTES = 32
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def bright(values: NDArray[Any]) -> float:
    """What all but the hot pixels of a picture stay below."""
    import numpy as np

    flat = values.ravel()
    place = min(int((1 - HOT) * (flat.size - 1)) + 1, flat.size - 1)
    return float(np.partition(flat, place)[place] if flat.size > 1 / HOT else flat.max())


def white_for(value: float, floats: bool) -> float:
    """The smallest usual white that holds `value`; 0 if none does."""
    if floats and value <= FLOAT_BEYOND:  # over-exposed, and not a black picture of 0..255
        return 1.0
    whites: Sequence[float] = FLOAT_WHITES if floats else WHITES
    return next((float(white) for white in whites if value <= BEYOND * white), 0.0)


def white_of(examples: Sequence[Example]) -> float:
    """The white of all pictures that have more than 8 bits; 0 if none of them does.

    A test part has no say.
    Headers of some pictures spread over the data are read, and only if one of them is deep are
    some deep ones decoded.
    """
    from regraft.data.pillow_modes import deep_values

    own = [example for example in examples if example.split != "test"] or list(examples)
    deep = [example for example in spread(own, HEADS) if _may_be_deep(example)]
    most: dict[bool, float] = {}
    for example in spread(deep, DECODED):
        try:
            values = deep_values(example.read())
        except (BadFile, OSError):  # named when it is its turn
            continue
        if values is not None and values.size and values.min() >= 0:
            floats = values.dtype.kind == "f"
            most[floats] = max(most.get(floats, 0.0), bright(values))
    if len(most) != 1:  # none, or two kinds with a white of their own
        return 0.0
    ((floats, value),) = most.items()
    return white_for(value, floats)


def note(white: float, data: Dataset) -> str:
    """One sentence of how deep pictures are scaled; '' if there are none."""
    if not white:
        return ""
    bits = {255: 8, 1023: 10, 4095: 12, 16383: 14, 65535: 16}.get(int(white))
    range_ = f"0 to {white:g}" + (f" ({bits} bits)" if bits else "")
    return (
        f"some images of {data.root} have more than 8 bits: all are scaled from {range_}, the "
        "range of the whole data set"
    )


def spread(examples: Sequence[Example], count: int) -> list[Example]:
    """At most `count` of the examples, evenly spread."""
    step = max(1, -(-len(examples) // count))
    return list(examples[::step])


def _may_be_deep(example: Example) -> bool:
    from pathlib import Path

    try:
        if isinstance(example.source, Path):
            with example.source.open("rb") as file:
                head = file.read(_HEAD_BYTES)
        else:
            head = example.read()[:_HEAD_BYTES]
    except OSError:
        return False
    if head.startswith(b"\x89PNG"):
        return head[24:25] == b"\x10"
    return head.startswith((*_TIFF, b"P5", b"P6", b"P2", b"P3"))
