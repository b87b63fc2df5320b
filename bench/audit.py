"""What an audit costs: seconds per 10,000 pictures, cold and warm, and of the search alone.

    python bench/audit.py PHOTOS [--small SMALL] [--copies 1000]

PHOTOS and SMALL are folders of class folders; their pictures are repeated with small changes until
there are as many as asked for, so that no two files have equal bytes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def changed(image: Image.Image, seed: int) -> Image.Image:
    """The picture mirrored or not, cut and shifted: another one, of the same size."""
    random = np.random.default_rng(seed)
    width, height = image.size
    if seed % 2:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    part = random.uniform(0.5, 0.8)
    left, top = random.uniform(0, 1 - part, 2) * (width, height)
    box = (left, top, left + part * width, top + part * height)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def write(source: Path, target: Path, count: int) -> None:
    """`count` JPEG files made of those below `source`, in class folders of the same names."""
    files = sorted(p for p in source.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    for number in range(count):
        path = files[number % len(files)]
        folder = target / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            changed(image.convert("RGB"), number).save(folder / f"{number}.jpg", quality=90)


def timed(folder: Path, count: int, threads: int) -> None:
    """Print what a cold and a warm audit of `folder` take."""
    import regraft

    for state in ("cold", "warm"):
        start = time.perf_counter()
        found = regraft.audit(folder, threads=threads)
        seconds = time.perf_counter() - start
        print(
            f"  {state}  {seconds:6.2f} s, {seconds / count * 10_000:6.1f} s per 10,000; "
            f"{len(found.duplicates)} groups of duplicates",
            flush=True,
        )


def search(counts: tuple[int, ...]) -> None:
    """Print what the search for near duplicates takes among so many different pictures."""
    from regraft.data.look import NUMBERS, SIDE
    from regraft.data.near import near_groups

    random = np.random.default_rng(0)
    blocks = random.normal(128, 40, (max(counts), 6, 6)).clip(0, 255)
    fine = random.normal(0, 12, (max(counts), SIDE, SIDE))
    looks = np.zeros((max(counts), NUMBERS), np.float32)
    looks[:, :2] = 200
    looks[:, 2] = np.arange(max(counts))
    grown = blocks.repeat(SIDE // 6, axis=1).repeat(SIDE // 6, axis=2)
    looks[:, -SIDE * SIDE :] = (grown + fine).clip(0, 255).reshape(len(looks), -1)
    digests = [f"{number:064x}" for number in range(max(counts))]
    labels = [str(number % 10) for number in range(max(counts))]
    for count in counts:
        start = time.perf_counter()
        near_groups(looks[:count], digests[:count], labels[:count])
        print(f"  {count:6d} pictures  {time.perf_counter() - start:6.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--small", type=Path)
    parser.add_argument("--copies", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--search", type=int, nargs="*", default=[400, 3000, 10_000, 50_000])
    how = parser.parse_args()
    for source in filter(None, (how.photos, how.small)):
        with tempfile.TemporaryDirectory() as home:
            os.environ["REGRAFT_CACHE"] = f"{home}/cache"
            write(source, Path(home) / "data", how.copies)
            print(f"{how.copies} pictures made of {source.name}, {how.threads} threads")
            timed(Path(home) / "data", how.copies, how.threads)
    print("search alone")
    search(tuple(how.search))


if __name__ == "__main__":
    main()
