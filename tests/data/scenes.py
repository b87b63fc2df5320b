"""Pictures with as much to see as photos have, all different, and what people do to pictures."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageEnhance

from regraft.data.decode_image import decode_with_look
from regraft.inputs import ImageSpec

SPEC = ImageSpec((96, 96))


MARGIN = 12  # pixels


def scene(seed: int, width: int = 160, height: int = 120, style: int = 0) -> Image.Image:
    """Coloured noise at four scales and some discs; `style` sets what pictures have in common."""
    random, common = np.random.default_rng(seed), np.random.default_rng([77, style])
    pixels = np.zeros((height, width, 3))
    for cells, strength in ((2, 60), (5, 40), (11, 30), (24, 15)):
        noise = random.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        planes = [
            Image.fromarray(noise[..., c]).resize((width, height), Image.Resampling.BICUBIC)
            for c in range(3)
        ]
        pixels += np.stack([np.asarray(plane) for plane in planes], axis=2)
    pixels += 128 + common.normal(0, 20, 3)
    y, x = np.mgrid[:height, :width]
    for _ in range(4):
        centre, radius = random.uniform(0.1, 0.9, 2) * (height, width), random.uniform(8, 30)
        disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
        pixels[disc] = random.integers(0, 256, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int = 92) -> bytes:
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=quality)
    return out.getvalue()


def framed(image: Image.Image) -> Image.Image:
    """The picture with something around it, so that a camera may move."""
    around = ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    return Image.fromarray(np.pad(np.asarray(image.convert("RGB")), around, "reflect"))


def copies(image: Image.Image) -> dict[str, bytes]:
    """Files of one picture that no byte shares with another's."""
    width, height = image.size
    cut = (int(0.03 * width), int(0.02 * height), width, int(0.99 * height))
    frame = (1.01, 0.01, 0.02 * width, -0.01, 1.01, -0.02 * height)
    moved = (
        framed(image)
        .transform(framed(image).size, Image.Transform.AFFINE, frame, Image.Resampling.BICUBIC)
        .crop((MARGIN, MARGIN, width + MARGIN, height + MARGIN))
    )
    return {
        "saved again": jpeg(image, 60),
        "half the size": jpeg(image.resize((width // 2, height // 2))),
        "cropped": jpeg(image.crop(cut)),
        "brighter": jpeg(ImageEnhance.Brightness(image).enhance(1.15)),
        "darker": jpeg(ImageEnhance.Brightness(image).enhance(0.85)),
        "the next frame": jpeg(moved, 80),
        "in grey": jpeg(image.convert("L")),
    }


def look_of(raw: bytes) -> np.ndarray:
    return decode_with_look(raw, SPEC)[1]
