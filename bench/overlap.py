"""How much of what decoding and the trunk allow is reached end to end; prints a markdown table.

    python bench/overlap.py FOLDER [FOLDER …] [--repeats 5]

Decoding alone, the trunk alone on decoded rows, and both together as `fit` runs them, in turns in
one process. If both share the same cores, together they cannot beat 1 / (1/decode + 1/trunk); the
last column is the share of that which is reached.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folders", nargs="+")
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--most", type=int, default=400, help="images per folder")
    given = arguments.parse_args()
    print("| images | decode/s | trunk/s | both/s | 1/(1/decode+1/trunk) | reached |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as home:
        os.environ["REGRAFT_CACHE"] = home
        for folder in given.folders:
            rows = [measure(folder, given.most, Path(home)) for _ in range(given.repeats + 1)][1:]
            decode, trunk, both = (statistics.median(r[i] for r in rows) for i in range(3))
            bound = statistics.median(1 / (1 / r[0] + 1 / r[1]) for r in rows)
            shares = sorted(r[2] * (1 / r[0] + 1 / r[1]) for r in rows)
            print(
                f"| {Path(folder).name} | {decode:.0f} | {trunk:.0f} | {both:.0f} | {bound:.0f} |"
                f" {100 * statistics.median(shares):.0f} % ({100 * shares[0]:.0f} to "
                f"{100 * shares[-1]:.0f}) |"
            )


def measure(folder: str, most: int, home: Path) -> tuple[float, float, float]:
    """Images per second of decoding, of the trunk, and of both together."""
    import regraft
    from regraft.backbones.info import Tap
    from regraft.features import compute
    from regraft.loading import Loader
    from regraft.pipeline import pipeline

    examples = regraft.images(folder).examples
    examples = examples[:: max(1, len(examples) // most)][:most]
    net = regraft.backbone()
    pipe = pipeline(net, [Tap(len(net) - 1)], precision="f32")
    start = time.perf_counter()
    rows = [one.rows[0][1] for one in Loader(pipe.info.input, pipe.threads).each(examples)]
    decode = len(rows) / (time.perf_counter() - start)
    session = pipe.open("f32")
    list(session.run(rows[:8]))
    start = time.perf_counter()
    list(session.run(rows))
    trunk = len(rows) / (time.perf_counter() - start)
    shutil.rmtree(home / "activations", ignore_errors=True)
    start = time.perf_counter()
    compute(examples, pipe)
    return decode, trunk, len(rows) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
