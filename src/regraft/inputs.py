"""What a backbone expects to be fed, as data: part of every cache key and of every bundle.

A row is a tuple of arrays without a batch axis, made by the decoder of the modality
(`regraft.data.decoders`). `preamble` turns a batch of such rows into what stage 0 takes, so the
engine may compile it together with the stages.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from regraft.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

Row = tuple["np.ndarray", ...]

INTERPOLATIONS = ("bicubic", "bilinear", "lanczos", "nearest")
GEOMETRIES = ("crop", "squash", "pad")
MOST_PIXELS_A_SIDE = 8192
#: No mean of values from 0 to 1 is larger; of values from 0 to 255 every one is.
LARGEST_MEAN = 1.0


class InputSpec(Protocol):
    """The input of a backbone of any modality."""

    @property
    def modality(self) -> str:
        """The name of the decoder in `regraft.data.decoders`."""

    def json(self) -> dict[str, Any]:
        """The spec as plain data; equal data, equal pixels."""

    def example(self) -> Row:
        """One row of zeros with the right shapes and types."""

    def samples(self, count: int) -> list[Row]:
        """Up to `count` rows that the network may meet, always the same ones, from no data set."""

    def preamble(self) -> nn.Module:
        """A module: batch of rows in, the input of stage 0 out."""

    def traced(self) -> dict[str, Any]:
        """What of `json` the preamble and the shape of a row depend on: the rest is the decoder's.

        It is part of the key of a compiled trunk, which serves every way of decoding.
        """


@dataclass(frozen=True)
class ImageSpec:
    """Image input: what the backbone was trained with.

    Attributes:
        size: (height, width) of the network's input in pixels.
        mean: per channel, of values scaled to 0..1.
        std: per channel, of values scaled to 0..1.
        interpolation: 'bicubic', 'bilinear', 'lanczos' or 'nearest'.
        crop: share of the resized image's side that the centre crop keeps, 0 < crop <= 1.
        geometry: what becomes of the picture's proportions: 'crop' (resize, then cut out the
            centre), 'squash' (all of it, stretched) or 'pad' (all of it, margins in `mean`).
        white: the value that is white in pictures of more than 8 bits, e.g. 4095; 0 where each is
            scaled by itself. See `regraft.data.deep`.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    crop: float = 0.875
    geometry: str = "crop"
    white: float = 0.0

    def checked(self) -> ImageSpec:
        """The same in tuples: one number stands for all channels or both sides.

        Raises:
            OptionError: a value that no bundle could hold.
        """
        try:
            size = _numbers("size", _several(self.size, 2), 2, int, 1, MOST_PIXELS_A_SIDE)
            mean = _numbers("mean", _several(self.mean, 3), 3, float, -1e3, 1e3)
            std = _numbers("std", _several(self.std, 3), 3, float, 1e-6, 1e3)
            crop = _numbers("crop", [self.crop], 1, float, 1e-3, 1.0)[0]
            white = _numbers("white", [self.white], 1, float, 0.0, 1e9)[0]
            _one_of("interpolation", self.interpolation, INTERPOLATIONS)
            _one_of("geometry", self.geometry, GEOMETRIES)
        except ValueError as problem:
            raise OptionError(f"an image input's {problem}.") from problem
        return replace(self, size=size, mean=mean, std=std, crop=crop, white=white)

    @property
    def modality(self) -> str:
        return "image"

    def json(self) -> dict[str, Any]:
        held = {"modality": "image"} | asdict(self)
        return held if self.white else {key: held[key] for key in held if key != "white"}

    def example(self) -> Row:
        """One black image: (H, W, 3) uint8."""
        import numpy as np

        return (np.zeros((*self.size, 3), np.uint8),)

    def samples(self, count: int) -> list[Row]:
        """Drawn pictures, (H, W, 3) uint8 each: see `regraft.samples`."""
        from regraft.samples import pictures

        return [*pictures(self.size, count)]

    def preamble(self) -> nn.Module:
        """(B, H, W, 3) uint8 in, (B, 3, H, W) float32 normalised by mean and std out."""
        from regraft.preamble import NormaliseImage

        return NormaliseImage(self.mean, self.std)

    def traced(self) -> dict[str, Any]:
        return {"modality": "image", "size": self.size, "mean": self.mean, "std": self.std}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ImageSpec:
        """The spec that `json` wrote.

        Raises:
            ValueError: a field is missing, unknown, or has a value that it cannot have.
        """
        if {"white", *data} != {"modality", *(field.name for field in fields(cls))}:
            raise ValueError(f"an image input has other fields than {', '.join(sorted(data))}")
        for name, count in (("size", 2), ("mean", 3), ("std", 3)):
            if not isinstance(data[name], list | tuple) or len(data[name]) != count:
                raise ValueError(f"{name} must be {count} numbers, got {data[name]!r:.60}")
        try:
            named = {field.name for field in fields(cls)} & set(data)
            return cls(**{name: data[name] for name in named}).checked()
        except OptionError as problem:
            raise ValueError(str(problem)) from problem


#: Modality -> the class of its input spec. Another modality is one line here, one in
#: `regraft.data.decoders`, one in `regraft.data.sources`, and the files they name.
SPECS: dict[str, str] = {"image": "regraft.inputs:ImageSpec"}


def spec_from(data: Any) -> InputSpec:
    """The input spec that some `InputSpec.json` wrote.

    Raises:
        ValueError: no modality of ours, or fields that its spec refuses.
    """
    modality = data.get("modality") if isinstance(data, dict) else None
    if not isinstance(modality, str) or modality not in SPECS:
        raise ValueError(f"modality must be one of {', '.join(SPECS)}, got {modality!r}")
    module, _, name = SPECS[modality].partition(":")
    made: InputSpec = getattr(import_module(module), name).from_json(data)
    return made


def _several(value: Any, count: int) -> Any:
    """A number as so many, an array as a list; anything else as it is."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [value] * count if isinstance(value, int | float) else value


def _numbers(
    name: str, value: Any, count: int, kind: type, low: float, high: float
) -> tuple[Any, ...]:
    """`value` as a tuple of `count` numbers between `low` and `high`; an int may be a float."""
    kinds = (int,) if kind is int else (int, float)
    good = (
        isinstance(value, list | tuple)
        and len(value) == count
        and all(type(number) in kinds and low <= number <= high for number in value)
    )
    if not good:
        what = f"{count} numbers" if count > 1 else "a number"
        got = value[0] if count == 1 and isinstance(value, list) else value
        raise ValueError(f"{name} must be {what} from {low:g} to {high:g}, got {got!r:.60}")
    return tuple(kind(number) for number in value)


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r:.60}")
