"""What bf16 below the cut moves: cosine of features, and answers and log-loss of regraft's heads.

    python bench/precision.py DATA...

DATA are folders with a train/ and a test/ part, a folder per class in each. Fit and prediction both
run in the precision that REGRAFT_PRECISION names: `predict` does not take that of the fit.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import regraft
from regraft.backbones.info import Tap
from regraft.data.sources import labelled
from regraft.engine.precision import CHECK_ROWS, agreement
from regraft.features import compute
from regraft.pipeline import FORCED, pipeline, tap_name

BOTH = ("f32", "bf16")
STAGES = ("bn1", "blocks.4.1", "blocks.5.3", "end")


def answers(data: str, head: str, at: str, precision: str) -> tuple[list[str | None], float, float]:
    """The label of each test picture, the accuracy and the log-loss in nats."""
    os.environ[FORCED] = precision
    run = regraft.fit(data, head=head, at=at, plan="probe", near=False)
    files = sorted(path for path in Path(data, "test").rglob("*") if path.is_file())
    found = [one.label for one in run.predict(files)]
    right = sum(label == path.parent.name for label, path in zip(found, files, strict=True))
    told = run.report["test"]
    if abs(right / len(files) - told["accuracy"]) > 1e-9:
        raise SystemExit(f"{data}: the answers are not those of the report")
    return found, told["accuracy"], told["log_loss"]


def main() -> None:
    net = regraft.backbone()
    taps = [Tap(stage.index) for stage in net.info.stages]
    drawn = net.input.samples(CHECK_ROWS)
    outputs = [list(pipeline(net, taps, precision=one).open(one).run(drawn)) for one in BOTH]
    for place, stage in enumerate(net.info.stages):
        exact, rounded = ([(row[place],) for row in rows] for rows in outputs)
        print(f"drawn pictures  {stage.name:12}  least cosine {agreement(exact, rounded):.4f}")
    for data in sys.argv[1:]:
        held, found = labelled(data, "image"), {}
        for name in BOTH:
            start = time.perf_counter()
            found[name] = compute(held.examples, pipeline(net, taps, precision=name))
            print(f"{data} {name}: {len(held)} pictures in {time.perf_counter() - start:.1f} s")
        for tap, stage in zip(taps, net.info.stages, strict=True):
            left, right = ([(row,) for row in found[one].rows[tap_name(tap)][:]] for one in BOTH)
            print(f"{data}  {stage.name:12}  least cosine {agreement(left, right):.4f}")
        for head in ("ridge", "logistic"):
            for at in STAGES:
                exact, rounded = (answers(data, head, at, one) for one in BOTH)
                moved = sum(a != b for a, b in zip(exact[0], rounded[0], strict=True))
                print(
                    f"{data}  {head:8}  {at:10}  answers moved {moved} of {len(exact[0])}  "
                    f"accuracy {exact[1]:.3f} {rounded[1]:.3f}  "
                    f"log-loss {exact[2]:.4f} {rounded[2]:.4f}"
                )


if __name__ == "__main__":
    main()
