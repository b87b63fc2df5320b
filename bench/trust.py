"""What geometry and groups change: scores of the same data looked at and divided in several ways.

    python bench/trust.py [NEU_FOLDER]

Two sets: strips of 600 x 120 pixels whose mark lies near one end, drawn here, and (if its folder is
given) the surface defects of NEU. For groups every picture is cut into four tiles: a split that
ignores whence a tile comes is compared with one that does not.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import regraft

GEOMETRIES = ("crop", "squash", "pad", "auto")


def strips(folder: Path, per_class: int = 60) -> Path:
    """Strips that tell their class by a mark that no centre crop shows."""
    random = np.random.default_rng(0)
    down, right = np.mgrid[:120, :600]
    for kind in ("bar", "dot", "ring"):
        (folder / kind).mkdir(parents=True)
        for number in range(per_class):
            pixels = random.normal(random.uniform(100, 160), 12, (120, 600, 3))
            x = random.integers(30, 90) if random.random() < 0.5 else random.integers(510, 570)
            y = random.integers(40, 80)
            far = np.hypot(down - y, right - x)
            marks = {
                "bar": (abs(down - y) < 5) & (abs(right - x) < 24),
                "dot": far < 14,
                "ring": (far < 20) & (far > 13),
            }
            pixels[marks[kind]] = random.uniform(20, 60)
            made = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            made.save(folder / kind / f"{number:03d}.png")
    return folder


def tiles(source: Path, folder: Path) -> Path:
    """Every picture below `source/<class>` as four quarters, named after it."""
    for path in sorted(
        p for p in source.rglob("*") if p.suffix.lower() in (".jpg", ".png", ".bmp")
    ):
        whole = Image.open(path).convert("RGB")
        width, height = whole.size[0] // 2, whole.size[1] // 2
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        for place in range(4):
            left, top = place % 2 * width, place // 2 * height
            part = whole.crop((left, top, left + width, top + height))
            part.save(folder / path.parent.name / f"{path.stem}-tile{place}.png")
    return folder


def by_geometry(name: str, data: Path) -> None:
    """One line per geometry: leave-one-out and test scores."""
    for geometry in GEOMETRIES:
        report = regraft.fit(data, plan="probe", head="ridge", geometry=geometry).report
        held, test = report["validation"], report["test"]
        low, high = test["accuracy_ci95"]
        print(
            f"| {name} | {geometry} ({report['geometry']['name']}) | {held['accuracy']:.3f} | "
            f"{test['accuracy']:.3f} ({low:.3f} to {high:.3f}) | {report['seconds']['total']:.1f} |"
        )


def by_group(name: str, data: Path, pattern: str) -> None:
    """One line per way to divide: a held-out fifth and cross-validation."""
    for group in (None, pattern):
        how = {"plan": "probe", "head": "ridge", "geometry": "crop", "group": group}
        test = regraft.fit(data, **how).report["test"]
        crossed = regraft.fit(data, folds="5x3", **how).report["cross_validation"]
        low, high = crossed["accuracy_ci95"]
        print(
            f"| {name} | {group or 'none'} | {test['accuracy']:.3f} of {test['n']} | "
            f"{crossed['accuracy']:.3f} ± {crossed['accuracy_sd']:.3f} ({low:.3f} to {high:.3f}) |"
        )


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        print("| set | geometry (used) | leave-one-out | test (95 %) | seconds |")
        print("| --- | --- | --- | --- | ---: |")
        by_geometry("strips, 600 x 120", strips(Path(home) / "strips"))
        if len(sys.argv) > 1:
            source = Path(sys.argv[1])
            by_geometry(source.name, source)
            print("\n| set | group | a fifth held out | 5 folds x 3 |")
            print("| --- | --- | --- | --- |")
            cut = tiles(source / "train", Path(home) / "tiles")
            by_group(f"{source.name}, in tiles", cut, r"(.*)-tile\d")


if __name__ == "__main__":
    main()
