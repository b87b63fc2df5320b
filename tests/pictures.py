"""Small data sets that a frozen network can tell apart, drawn by the tests themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("checks", "dots", "stripes")


def picture(kind: str, seed: int, side: int = 48) -> Image.Image:
    """One RGB picture of a class, different for every seed."""
    random = np.random.default_rng([seed, CLASSES.index(kind)])
    down, right = np.mgrid[:side, :side] + random.uniform(0, 20, (2, 1, 1))
    # Turned, shifted and of any width, so that no two are one picture in other colours.
    angle = random.uniform(-0.4, 0.4)
    x = right * np.cos(angle) + down * np.sin(angle) + side
    y = down * np.cos(angle) - right * np.sin(angle) + side
    step = random.uniform(5, 9)
    if kind == "stripes":
        mask = (x // step) % 2 == 0
    elif kind == "checks":
        mask = (x // step + y // step) % 2 == 0
    else:
        mask = (x % (2 * step) - step) ** 2 + (y % (2 * step) - step) ** 2 < step * 2
    light, dark = random.integers(150, 256, 3), random.integers(0, 90, 3)
    pixels = np.where(mask[..., None], light, dark) + random.integers(-8, 9, (side, side, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_folder(folder: Path, per_class: int, *, parts: tuple[str, ...] = ("",)) -> Path:
    """Class folders with `per_class` PNG pictures each, once per part ('' for a flat folder)."""
    for place, part in enumerate(parts):
        for kind in CLASSES:
            home = folder / part / kind
            home.mkdir(parents=True, exist_ok=True)
            for number in range(per_class):
                picture(kind, 1000 * place + number).save(home / f"{number:03d}.png")
    return folder
