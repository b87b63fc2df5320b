"""Adapt the packaged ImageNet network to scanned handwriting, then read digits it never saw.

The 1,797 digits that scikit-learn ships are written out as PNG files in class folders; a few are
kept aside. Then the two commands of any user follow. Run it with `make demo`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

HERE = Path("demo")
ASIDE = 6


def write_digits(folder: Path, aside: Path) -> None:
    """One 8×8 grey PNG per digit: folder/<class>/<number>.png, and the last few in `aside`."""
    digits = load_digits()
    pixels = (digits.images * (255 / 16)).round().astype(np.uint8)
    aside.mkdir(parents=True)
    for number, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
        home = folder / str(label)
        home.mkdir(parents=True, exist_ok=True)
        path = home / f"{number:04d}.png"
        if number >= len(pixels) - ASIDE:
            path = aside / f"really_{label}_{number:04d}.png"
        Image.fromarray(image).save(path)


def command(*arguments: str) -> None:
    """Print a regraft command and run it."""
    print(f"\n$ regraft {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "regraft", *arguments], check=True)


def main() -> None:
    if HERE.exists():
        shutil.rmtree(HERE)
    write_digits(HERE / "digits", HERE / "unseen")
    print(f"wrote scikit-learn's scanned digits to {HERE / 'digits'} as class folders")
    command("fit", str(HERE / "digits"), "--out", str(HERE / "run"))
    command("predict", str(HERE / "run"), str(HERE / "unseen"), "--top", "2")


if __name__ == "__main__":
    main()
