"""What a backbone expects to be fed, as data: part of every cache key and of every bundle.

A row is a tuple of arrays without a batch axis, made by the decoder of the modality
(`regraft.data.decoders`). `preamble` turns a batch of such rows into what stage 0 takes, so the
engine may compile it together with the stages.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

Row = tuple["np.ndarray", ...]


class InputSpec(Protocol):
    """The input of a backbone of any modality."""

    @property
    def modality(self) -> str:
        """The name of the decoder in `regraft.data.decoders`."""

    def json(self) -> dict[str, Any]:
        """The spec as plain data; equal data, equal pixels."""

    def example(self) -> Row:
        """One row of zeros with the right shapes and types."""

    def preamble(self) -> nn.Module:
        """A module: batch of rows in, the input of stage 0 out."""


@dataclass(frozen=True)
class ImageSpec:
    """Image input: what the backbone was trained with.

    Attributes:
        size: (height, width) of the network's input in pixels.
        mean: per channel, of values scaled to 0..1.
        std: per channel, of values scaled to 0..1.
        interpolation: 'bicubic', 'bilinear', 'lanczos' or 'nearest'.
        crop: share of the resized image's side that the centre crop keeps, 0 < crop <= 1.
        geometry: 'crop' (resize the shorter side, then centre crop) or 'squash'.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    crop: float = 0.875
    geometry: str = "crop"

    @property
    def modality(self) -> str:
        return "image"

    def json(self) -> dict[str, Any]:
        return {"modality": "image"} | asdict(self)

    def example(self) -> Row:
        """One black image: (H, W, 3) uint8."""
        import numpy as np

        return (np.zeros((*self.size, 3), np.uint8),)

    def preamble(self) -> nn.Module:
        """(B, H, W, 3) uint8 in, (B, 3, H, W) float32 normalised by mean and std out."""
        from regraft.preamble import NormaliseImage

        return NormaliseImage(self.mean, self.std)


def image_spec(data: dict[str, Any]) -> ImageSpec:
    """The spec that `ImageSpec.json` wrote."""
    fields = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
    fields.pop("modality", None)
    return ImageSpec(**fields)
