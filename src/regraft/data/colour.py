"""Changing a picture's colours, (H, W, 3) uint8 in and out; nothing here is random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

_LUMA = np.array([0.299, 0.587, 0.114])
_LEVELS = np.arange(256, dtype=np.float64)


def brightness(picture: Picture, factor: float) -> Picture:
    """Every level times `factor`."""
    return _looked_up(picture, _LEVELS * factor)


def contrast(picture: Picture, factor: float) -> Picture:
    """Every level's distance to the mean luma times `factor`."""
    mean = round(float(_luma_mean(picture)))
    return _looked_up(picture, mean + (_LEVELS - mean) * factor)


def saturation(picture: Picture, factor: float) -> Picture:
    """Every pixel's distance to its own grey times `factor`; 0 is without colour."""
    from PIL import Image

    whole = Image.fromarray(picture)
    return np.asarray(Image.blend(whole.convert("L").convert("RGB"), whole, factor))


def blur(picture: Picture, sigma: float) -> Picture:
    """A Gaussian of `sigma` pixels, by Pillow's three boxes."""
    from PIL import Image, ImageFilter

    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma)))


def _luma_mean(picture: Picture) -> float:
    lines = picture.reshape(len(picture), -1).sum(0, dtype=np.int64)  # first along whole rows
    return float(lines.reshape(-1, 3).sum(0) @ _LUMA / (picture.size / 3))


def _looked_up(picture: Picture, levels: NDArray[np.float64]) -> Picture:
    return np.take(np.rint(levels).clip(0, 255).astype(np.uint8), picture)
