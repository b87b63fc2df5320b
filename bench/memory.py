"""Peak memory of a whole `regraft fit` on many generated photos; prints one line.

python bench/memory.py [--images 20000]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image


def write(folder: Path, count: int) -> None:
    """`count` JPEGs of 320×240 in four classes, each with other bytes."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:240, :320]
    for number in range(count):
        kind = number % 4
        home = folder / f"class{kind}"
        home.mkdir(parents=True, exist_ok=True)
        phase, tint = random.uniform(0, 6.3), random.uniform(0.5, 1, 3)
        wave = np.sin(x * (0.05 + 0.03 * kind) + phase) * np.cos(y * 0.07 + phase)
        pixels = (127 + 100 * wave[..., None] * tint).astype(np.uint8)
        Image.fromarray(pixels).save(home / f"{number:06d}.jpg", quality=80)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--images", type=int, default=20_000)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as home:
        write(Path(home) / "photos", given.images)
        for _ in range(2):
            environment = dict(os.environ, REGRAFT_CACHE=f"{home}/cache")
            command = [sys.executable, "-m", "regraft", "fit", f"{home}/photos", "--json"]
            command += ["--plan", "probe"]
            done = subprocess.run(
                command, cwd=home, env=environment, capture_output=True, text=True, check=True
            )
            report = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{given.images} images, {report['cache']['state']}: peak "
                f"{report['peak_memory_bytes'] / 1e6:.0f} MB, {report['seconds']['total']:.1f} s, "
                f"head {report['head']} {report['seconds']['head']:.1f} s"
            )


if __name__ == "__main__":
    main()
