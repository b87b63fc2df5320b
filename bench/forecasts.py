"""Whether forecasts of time come true: what advice predicts for each plan, and what the plan took.

    python bench/forecasts.py DATA_FOLDER --work FOLDER [--cases TEXT] [--seed 0] [--threads 1]
        [--plans probe,lpft]

For each case of `cases.py` (those whose names hold TEXT) the advice measures this machine (or did
so in the last hour), then every plan that it weighed is run at once, in the same process.
Errors are shares of what was predicted to what came, as logarithms: half and twice are equally
wrong. Medians are of their sizes.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path

import regraft
from cases import cases, load


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", help="the folder that holds the sets")
    arguments.add_argument("--work", required=True, help="where changed pictures are kept")
    arguments.add_argument("--cases", default="", help="only those whose names hold this")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--threads", type=int, help="all processors if not given")
    arguments.add_argument("--plans", default="", help="only these of what is weighed")
    given = arguments.parse_args()
    net = regraft.backbone().looking("crop")
    errors: dict[str, list[float]] = {}
    print("| case | plan | predicted, s | came, s | predicted, MB | came, MB |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for case in cases():
        if given.cases not in case.name:
            continue
        learn, test = load(case, given.seed, Path(given.data), Path(given.work))
        how = {"test": test, "geometry": "crop", "near": False, "seed": given.seed}
        how["threads"] = given.threads
        advice = regraft.advise(learn, net, **how)
        for option in advice.options:
            if given.plans and option.plan not in given.plans.split(","):
                continue
            run = regraft.fit(learn, net, plan=option.plan, at=option.at, depths="all", **how)
            came = run.report["seconds"]["total"]
            errors.setdefault(option.plan, []).append(abs(math.log(option.seconds / came)))
            memory = run.report["peak_memory_bytes"]
            print(
                f"| {case.name} | {option.plan} | {option.seconds:.1f} | {came:.1f} "
                f"| {option.peak_memory_bytes / 1e6:.0f} | {memory / 1e6:.0f} |",
                flush=True,
            )
    for plan, found in errors.items():
        share = math.expm1(statistics.median(found))
        print(f"\n{plan}: median error {100 * share:.0f} % over {len(found)} fits.")


if __name__ == "__main__":
    main()
