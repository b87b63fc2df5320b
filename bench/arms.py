"""What each way of adapting is worth on each case: what an adviser would have to know beforehand.

    python bench/arms.py DATA_FOLDER --work FOLDER --out arms.jsonl [--arms probe,lpft] [--seeds 5]

Every case of `cases.py` is drawn anew for each seed, and every arm fitted on it and scored on the
case's test part, in one process so that what lies below a cut is computed once. A line per fit
holds which test rows came right, so that an oracle can be chosen on some and scored on others.
What is in the file is not run again. `bench/regret.py` compares advice with it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import regraft
from cases import cases, load
from regraft.backbones.info import Tap
from regraft.choose import checked, choose
from regraft.data import Dataset
from regraft.errors import RegraftError
from regraft.features import compute
from regraft.pipeline import pipeline, tap_name

#: The single stage that a ridge head answers best from, found on the rows to learn from.
BEST = "best"
#: Not an arm but one for each stage, 'at blocks.3.0' and so on: a head there, features frozen.
STAGES, LAST = "stages", "global_pool"
TOLD = {"seconds": {"total": 0.0}}
#: By name: the arguments of `regraft.fit`.
ARMS: dict[str, dict[str, Any]] = {
    "probe": {"plan": "probe"},
    "auto": {"plan": "probe", "at": "auto"},
    "early": {"plan": "early"},
    "lpft": {"plan": "lpft"},
    "lpft half": {"plan": "lpft", "settings": {"cut": "top:50%"}},
    "lpft best": {"plan": "lpft", "at": BEST},
    "norm": {"plan": "norm"},
    "norm best": {"plan": "norm", "at": BEST},
    "gradual": {"plan": "gradual"},
    "finetune": {"plan": "finetune"},
    "full": {"plan": "full"},
    "full best": {"plan": "full", "at": BEST},
    "scratch": {"plan": "scratch"},
}


def best_stage(learn: Dataset, how: dict[str, Any]) -> str:
    """The stage whose ridge head has the least log-loss on unseen rows; features are cached."""
    tried = regraft.fit(learn, at="auto", head="ridge", **how).tried
    single = [one for one in tried if len(one["at"]) == 1 and one["n"]]
    return str(min(single, key=lambda one: one["log_loss"])["at"][0])


def confidence(probabilities: np.ndarray) -> float | None:
    """The mean of each row's largest probability."""
    return float(probabilities.max(axis=1).mean()) if len(probabilities) else None


def every_stage(case, seed: int, given: argparse.Namespace) -> list[dict[str, Any]]:
    """A line for each stage: the head that `fit` would take there, on frozen features."""
    learn, test = load(case, seed, Path(given.data), Path(given.work))
    net = regraft.backbone()
    taps = [Tap(stage.index, True) for stage in net.info.stages]
    pipe = pipeline(net.looking("crop"), taps, threads=given.threads)
    mine, other = compute(learn.examples, pipe), compute(test.examples, pipe)
    labels = np.array([learn.classes.index(e.label) for e in mine.examples])
    truth = np.array([learn.classes.index(e.label) for e in other.examples])
    pairs = list(zip(net.info.stages, taps, strict=True))
    rows = {stage.name: mine.rows[tap_name(tap)] for stage, tap in pairs}
    found = []
    for stage, tap in pairs:
        head = choose({stage.name: rows[stage.name]}, labels, len(learn.classes), at=stage.name)
        said = head.fitted.probabilities(np.asarray(other.rows[tap_name(tap)][:]))
        right, picked = said.argmax(1) == truth, said[np.arange(len(truth)), truth]
        found.append(
            {
                "case": case.name,
                "arm": f"at {stage.name}",
                "seed": seed,
                "n": len(right),
                "accuracy": float(right.mean()),
                "log_loss": float(-np.log(np.maximum(picked, 1e-7)).mean()),
                "validation": head.table[0].accuracy,
                "seen_confidence": confidence(checked(head.fitted).probabilities),
                "confidence": confidence(said),
                "head": head.head,
                "right": np.packbits(right).tobytes().hex(),
            }
        )
    return found


def one(case, arm: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """A fit's line."""
    learn, test = load(case, seed, Path(given.data), Path(given.work))
    how = {"test": test, "geometry": "crop", "near": False, "seed": seed}
    how["threads"] = given.threads
    asked = dict(ARMS[arm])
    if asked.get("at") == BEST:
        asked["at"] = best_stage(learn, how)
    start = time.process_time()
    run = regraft.fit(learn, **how, **asked)
    report, answers = run.report, run.answers
    right = np.packbits(answers.right).tobytes().hex()
    validation, training = report["validation"] or {}, report.get("training") or {}
    return {
        "case": case.name,
        "arm": arm,
        "seed": seed,
        "n": len(answers.right),
        "accuracy": report["test"]["accuracy"],
        "log_loss": report["test"]["log_loss"],
        "validation": validation.get("accuracy"),
        "at": report["at"],
        "head": report["head"],
        "seconds": report["seconds"],
        "cpu": time.process_time() - start,
        "epochs": len(training.get("curve", [])),
        "alpha": (training.get("wise") or {}).get("alpha"),
        "right": right,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", help="the folder that holds the sets")
    arguments.add_argument("--work", required=True, help="where changed pictures are kept")
    arguments.add_argument("--out", required=True, help="finished fits, one a line")
    arguments.add_argument("--arms", default="probe,auto,early,lpft")
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--threads", type=int, help="of each fit; all processors if not given")
    arguments.add_argument("--cases", default="", help="only those whose names hold this")
    given = arguments.parse_args()
    out = Path(given.out)
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    done = {(row["case"], row["arm"], row["seed"]) for row in map(json.loads, lines)}
    for seed in range(given.seeds):
        for case in cases():
            for arm in given.arms.split(","):
                last = f"at {LAST}" if arm == STAGES else arm
                if (case.name, last, seed) in done or given.cases not in case.name:
                    continue
                try:
                    rows = every_stage(case, seed, given) if arm == STAGES else None
                    row = one(case, arm, seed, given) if rows is None else rows[-1] | TOLD
                except RegraftError as problem:
                    print(f"{case.name}, {arm}, {seed}: {problem}", file=sys.stderr)
                    continue
                with out.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(line) + "\n" for line in rows or [row])
                told = f"{row['accuracy']:.3f} in {row['seconds']['total']:.1f} s"
                print(f"{case.name}, {arm}, seed {seed}: {told}", file=sys.stderr)


if __name__ == "__main__":
    main()
