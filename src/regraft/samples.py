"""Drawn pictures to measure a choice on that must not depend on whose data come first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pictures(size: tuple[int, int], count: int) -> list[tuple[NDArray[np.uint8]]]:
    """`count` pictures, (H, W, 3) uint8 each, the same ones always.

    Like photos their power falls with the square of the frequency (Field 1987). Every second one
    is grey and of little contrast, as plates, tissue and X-rays are: there rounding shows most.

    Args:
        size: (height, width) in pixels.
        count: how many.
    """
    height, width = size
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    falling = 1 / np.maximum(np.hypot(down, across), 1 / max(size))
    falling[0, 0] = 0
    rows = []
    for number in range(count):
        random = np.random.Generator(np.random.PCG64(number))
        grey = number % 2 == 1
        noise = random.standard_normal((1 if grey else 3, height, width))
        shared = 0.0 if grey else random.standard_normal((1, height, width))
        waves = np.fft.irfft2(np.fft.rfft2(noise + 2 * shared) * falling, (height, width))
        waves /= max(float(waves.std()), 1e-12)
        middle, spread = random.uniform(80, 176), (12.0 if grey else 50.0)
        pixels = np.rint(middle + spread * waves).clip(0, 255).astype(np.uint8)
        planes = np.broadcast_to(pixels, (3, height, width))
        rows.append((np.ascontiguousarray(planes.transpose(1, 2, 0)),))
    return rows
