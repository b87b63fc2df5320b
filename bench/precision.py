"""What bf16 moves below the cut: cosine of features and answers of a ridge head, stage by stage.

    python bench/precision.py DATA...

DATA are folders with a train/ and a test/ part. One line per data set and stage.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import regraft
from regraft.backbones.info import Tap
from regraft.data.sources import labelled
from regraft.engine.precision import CHECK_ROWS, agreement
from regraft.features import compute
from regraft.pipeline import pipeline, tap_name

PENALTY = 0.1


def ridge(rows: np.ndarray, answers: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(M, K) scores of `others` (M, D), from `rows` (N, D) and their `answers` (N, K)."""
    mean, spread = rows.mean(0), rows.std(0) + 1e-6
    left, right = (rows - mean) / spread, (others - mean) / spread
    matrix = left.T @ left + PENALTY * len(left) * np.eye(left.shape[1])
    return right @ np.linalg.solve(matrix, left.T @ (answers - answers.mean(0))) + answers.mean(0)


def main() -> None:
    net = regraft.backbone()
    taps = [Tap(stage.index) for stage in net.info.stages]
    drawn = net.input.samples(CHECK_ROWS)
    outputs = [
        list(pipeline(net, taps, precision=name).open(name).run(drawn)) for name in ("f32", "bf16")
    ]
    for place, stage in enumerate(net.info.stages):
        exact, rounded = ([(row[place],) for row in rows] for rows in outputs)
        print(f"drawn pictures  {stage.name:12}  least cosine {agreement(exact, rounded):.4f}")
    for data in sys.argv[1:]:
        held, found = labelled(data, "image"), {}
        for name in ("f32", "bf16"):
            start = time.perf_counter()
            found[name] = compute(held.examples, pipeline(net, taps, precision=name))
            print(f"{data} {name}: {len(held)} pictures in {time.perf_counter() - start:.1f} s")
        examples = found["f32"].examples
        labels = np.array([example.label for example in examples])
        test = np.array([example.split == "test" for example in examples])
        answers = (labels[:, None] == np.unique(labels)).astype(float)
        for tap, stage in zip(taps, net.info.stages, strict=True):
            rows = [found[name].rows[tap_name(tap)][:].astype(float) for name in ("f32", "bf16")]
            close = agreement([(row,) for row in rows[0]], [(row,) for row in rows[1]])
            said = [ridge(r[~test], answers[~test], r[test]).argmax(1) for r in rows]
            moved = f"{np.sum(said[0] != said[1])} of {test.sum()}"
            right = [f"{np.mean(np.unique(labels)[one] == labels[test]):.3f}" for one in said]
            print(
                f"{data}  {stage.name:12}  least cosine {close:.4f}  answers moved {moved}  "
                f"accuracy {' '.join(right)}"
            )


if __name__ == "__main__":
    main()
