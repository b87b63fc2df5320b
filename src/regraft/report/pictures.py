"""Small pictures for a page: what the network sees of a file, and what spoke for its answer."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 224  # pixels of the longer side: enough to look at, enlarged
BESIDE = 144  # of an overlay, which is smooth
QUALITY = 80
#: The colours of an overlay from little to much: viridis in nine steps, whose lightness rises
#: evenly, so that it reads in grey and with any kind of colour vision.
SCALE = (
    "#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30",
    "#fde725",
)  # fmt: skip


def thumbnail(row: NDArray[np.uint8], side: int = SIDE) -> bytes:
    """A decoded picture (H, W, 3) uint8 as a JPEG of at most `side` pixels."""
    return _jpeg(_small(row, side))


def overlay(row: NDArray[np.uint8], heat: NDArray[Any], side: int = BESIDE) -> bytes:
    """The same in grey, `heat` (h, w) from 0 to 1 laid over it in the colours of `SCALE`."""
    from PIL import Image

    small = _small(row, side)
    plain = Image.fromarray(np.asarray(heat, np.float32))
    large = plain.resize((small.shape[1], small.shape[0]), Image.Resampling.BICUBIC)
    strong = np.clip(np.asarray(large, np.float32), 0.0, 1.0)
    grey = small @ np.array([0.299, 0.587, 0.114], np.float32)
    cover = 0.35 + 0.3 * strong[..., None]
    mixed = (1 - cover) * grey[..., None] + cover * coloured(strong)
    return _jpeg(mixed.round().clip(0, 255).astype(np.uint8))


def coloured(strong: NDArray[Any]) -> NDArray[np.float32]:
    """(…) from 0 to 1 as colours (…, 3), 0 to 255."""
    steps = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in SCALE], np.float32)
    at = np.linspace(0, 1, len(SCALE))
    parts = [np.interp(strong, at, steps[:, channel]) for channel in range(3)]
    return np.stack(parts, axis=-1).astype(np.float32)


def _small(row: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    from PIL import Image

    picture = Image.fromarray(row)
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(picture)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY, subsampling=2)
    return out.getvalue()
