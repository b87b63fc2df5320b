"""Near duplicates: copies found and false alarms, kind by kind and data set by data set.

    python bench/near.py DATA...

DATA are folders of labelled pictures. Of each up to 150 pictures get one copy; recall is the share
of copies in one group with their picture. False alarms are pairs among the pictures as they are.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps

from regraft.data.decode_image import decode_with_look
from regraft.data.deep import spread
from regraft.data.near import near_groups
from regraft.data.sources import labelled
from regraft.files import digest
from regraft.inputs import ImageSpec

SPEC, COPIES = ImageSpec((64, 64)), 150


def cropped(share: float) -> Callable[[Image.Image], Image.Image]:
    def crop(image: Image.Image) -> Image.Image:
        wide, high = image.size
        left, top = round(0.7 * (1 - share) * wide), round(0.2 * (1 - share) * high)
        return image.crop((left, top, left + round(share * wide), top + round(share * high)))

    return crop


def rotated(degrees: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=(128,) * 3)


KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved again, smaller": lambda image: image.resize(
        (image.width * 2 // 3, image.height * 2 // 3)
    ),
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned by 90°": lambda image: image.rotate(90, expand=True),
    "turned by 180°": lambda image: image.rotate(180),
    "mirrored and turned by 90°": lambda image: ImageOps.mirror(image).rotate(90, expand=True),
    "cropped to 90 %": cropped(0.9),
    "cropped to 80 %": cropped(0.8),
    "cropped to 60 %": cropped(0.6),
    "rotated by 5°": rotated(5),
    "rotated by 10°": rotated(10),
}


def look(raw: bytes) -> tuple[str, np.ndarray]:
    return digest(raw), decode_with_look(raw, SPEC)[1]


def copy(raw: bytes, change: Callable[[Image.Image], Image.Image]) -> bytes:
    out = io.BytesIO()
    change(Image.open(io.BytesIO(raw)).convert("RGB")).save(out, "JPEG", quality=88)
    return out.getvalue()


def main() -> None:
    with ThreadPoolExecutor() as pool:
        for name in sys.argv[1:]:
            examples = labelled(name, "image", least_classes=1).examples
            raws = [example.read() for example in examples]
            labels = [example.label for example in examples]
            looks = list(pool.map(look, raws))
            start = time.perf_counter()
            plain = near_groups(
                np.stack([one for _, one in looks]), [key for key, _ in looks], labels
            )
            took = time.perf_counter() - start
            turned = int((plain.ways > 0).sum())
            print(f"{name}: {len(raws)} pictures, {len(plain.pairs)} pairs, {turned} lie otherwise")
            print(f"    limit {plain.limit:.2f}; {took:.2f} s")
            for (one, two), way in zip(plain.pairs[:6], plain.ways, strict=False):
                print(f"    {examples[one].id} ~ {examples[two].id}, way {way}")
            chosen = spread(range(len(raws)), COPIES)
            for kind, change in KINDS.items():
                copies = [copy(raws[i], change) for i in chosen]
                made = list(pool.map(look, copies))
                every = looks + made
                groups = near_groups(
                    np.stack([one for _, one in every]),
                    [key for key, _ in every],
                    labels + [labels[i] for i in chosen],
                ).groups
                hit = np.mean([groups[i] == groups[len(raws) + n] for n, i in enumerate(chosen)])
                print(f"    {kind:28} {100 * hit:5.1f} %")


if __name__ == "__main__":
    main()
