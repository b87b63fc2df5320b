"""How fast and in how much memory a ridge head streams rows that do not fit in memory.

    python bench/ridge_stream.py --rows 1000000

Rows are generated block by block whenever they are read, so nothing lies on disk or in memory.
Measured in one run: generating alone, the bare sums (float64 XᵀX of the same blocks and nothing
else), and `heads.fit`: both passes, the penalty, exact leave-one-out of every row, calibration.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from regraft import heads
from regraft.heads.rows import CHUNK, spans


class Generated:
    """(n, dim) float32 rows: a centre per class plus noise, block by block from the seed."""

    def __init__(self, n: int, dim: int, n_classes: int, seed: int = 0) -> None:
        self.shape, self.seed = (n, dim), seed
        self.kept = (-1, np.empty((0, dim), np.float32))
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, n_classes, n)
        self.centres = (0.01 * rng.normal(size=(n_classes, dim))).astype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def block(self, number: int) -> np.ndarray:
        """One block of rows; the last one is kept, as a disk's page cache would."""
        if number != self.kept[0]:
            self.kept = (number, self._made(number))
        return self.kept[1]

    def _made(self, number: int) -> np.ndarray:
        start = number * CHUNK
        stop = min(start + CHUNK, len(self))
        rng = np.random.Generator(np.random.SFC64((self.seed, number)))
        rows = rng.random((stop - start, self.shape[1]), dtype=np.float32)
        rows += self.centres[self.labels[start:stop]]
        return rows

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, step = part.indices(len(self))
        blocks = []
        for number in range(start // CHUNK, -(-stop // CHUNK)):
            first = number * CHUNK
            blocks.append(self.block(number)[max(start - first, 0) : stop - first])
        rows = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return rows[::step]


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds; the latter tell a busy machine from slow code."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def peak_bytes() -> int:
    """The most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read(rows: Generated) -> None:
    for part in spans(len(rows)):
        rows[part]


def bare_sums(rows: Generated) -> None:
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for part in spans(len(rows)):
        wide = rows[part].astype(np.float64)
        total += wide.T @ wide


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--rows", type=int, default=200_000)
    ask.add_argument("--dim", type=int, default=1280)
    ask.add_argument("--classes", type=int, default=10)
    given = ask.parse_args()
    rows = Generated(given.rows, given.dim, given.classes)
    generating = seconds(lambda: read(rows))
    sums = seconds(lambda: bare_sums(rows))
    before = peak_bytes()
    fitted: list[heads.FittedHead] = []
    whole = seconds(lambda: fitted.append(heads.fit("ridge", rows, rows.labels, given.classes)))
    seen = fitted[0].validation
    print(
        json.dumps(
            {
                "rows": given.rows,
                "dim": given.dim,
                "classes": given.classes,
                "seconds": {
                    name: {"wall": round(wall, 2), "processor": round(processor, 2)}
                    for name, (wall, processor) in {
                        "generating": generating,
                        "bare_sums": sums,
                        "fit_with_leave_one_out": whole,
                    }.items()
                },
                "fit_over_bare_sums": {
                    "wall": round(whole[0] / sums[0], 2),
                    "processor": round(whole[1] / sums[1], 2),
                },
                "bytes_of_the_rows": 4 * given.rows * given.dim,
                "peak_memory_bytes": {"bare_sums": before, "fit": peak_bytes()},
                "leave_one_out": {"n": seen.n, "accuracy": seen.accuracy} if seen else None,
                "penalty": fitted[0].settings["penalty"],
                "numpy": np.__version__,
            }
        )
    )


if __name__ == "__main__":
    sys.exit(main())
