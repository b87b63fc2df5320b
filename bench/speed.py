"""regraft against the two frozen baselines, whole processes, in one run; prints a markdown table.

    python bench/speed.py FOLDER [FOLDER …] [--tutorial FOLDER] [--repeats 3]

Every FOLDER holds train/ and test/ with class folders. regraft is given the baselines' pixels
(`--geometry crop`), and by itself, where it compares geometries first. Order within a repeat
alternates, so that a busy minute of the machine hits all alike; medians are shown, and the numbers
that lose too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def process(*command: str, cache: Path | None = None) -> dict:
    """The JSON on the last line of a command's output, and the whole process's seconds."""
    environment = dict(os.environ, OMP_WAIT_POLICY="PASSIVE", HF_HUB_OFFLINE="1")
    if cache is not None:
        environment["REGRAFT_CACHE"] = str(cache)
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1]) | {"wall": seconds}


def regraft(data: str, cache: Path, out: Path, *more: str) -> dict:
    """A fit of a head alone, as the baselines have it, unless `more` names another plan."""
    shutil.rmtree(out, ignore_errors=True)
    plan = () if "--plan" in more else ("--plan", "probe")
    return process(
        sys.executable,
        "-m",
        "regraft",
        "fit",
        data,
        "--out",
        str(out),
        "--json",
        *plan,
        *more,
        cache=cache,
    )


def eager(data: str, workers: int, *more: str) -> dict:
    return process(
        sys.executable, str(HERE / "baseline_eager.py"), data, "--workers", str(workers), *more
    )


def best_workers(data: str) -> int:
    """The number of loader workers that serves the plain baseline best, on up to 300 images."""
    trials = {w: eager(data, w, "--most", "150")["seconds"]["features"] for w in (0, 1, 2)}
    print(
        f"loader workers tried on {Path(data).name}: "
        + ", ".join(f"{w}: {s:.1f} s" for w, s in trials.items()),
        file=sys.stderr,
    )
    return min(trials, key=trials.__getitem__)


def once(data: str, workers: int, work: Path, tutorial: bool) -> dict[str, dict]:
    """One repeat: every contestant once."""
    cache, out = work / "cache", work / "out"
    shutil.rmtree(cache, ignore_errors=True)
    crop = ("--geometry", "crop")  # the baselines' pixels
    rows = {"cold": regraft(data, cache, out, *crop)}
    rows["plain"] = eager(data, workers)
    shutil.rmtree(cache / "activations")
    rows["compiled"] = regraft(data, cache, out, *crop)
    rows["channels-last"] = eager(data, workers, "--channels-last")
    rows["warm"] = regraft(data, cache, out, *crop)
    shutil.rmtree(cache / "activations")
    rows["compiled, auto geometry"] = regraft(data, cache, out)
    rows["warm, auto geometry"] = regraft(data, cache, out)
    if tutorial:
        rows["tutorial"] = process(
            sys.executable, str(HERE / "baseline_tutorial.py"), data, "--workers", str(workers)
        )
    return rows


def accuracy(row: dict) -> float:
    return row["accuracy"] if "accuracy" in row else row["test"]["accuracy"]


def rate(row: dict) -> float | None:
    return row.get("images_per_second") if row["seconds"].get("features") else None


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folders", nargs="+")
    arguments.add_argument("--tutorial", nargs="*", default=[])
    arguments.add_argument("--repeats", type=int, default=3)
    given = arguments.parse_args()
    for data in given.folders:
        workers = best_workers(data)
        with tempfile.TemporaryDirectory() as work:
            repeats = [
                once(data, workers, Path(work), data in given.tutorial)
                for _ in range(given.repeats)
            ]
        report(Path(data).name, workers, repeats)


def report(name: str, workers: int, repeats: list[dict[str, dict]]) -> None:
    """Medians, and ratios within each repeat."""
    print(f"\n### {name} ({len(repeats)} repeats, {workers} loader workers for the baselines)\n")
    print(
        "| contestant | process s | features s | images/s | head s | accuracy |"
        " plain ÷ this | channels-last ÷ this | tutorial ÷ this |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for who in repeats[0]:
        rows = [repeat[who] for repeat in repeats]
        mid = statistics.median
        parts = [
            f"{mid(r['seconds'][p] for r in rows):.2f}" if p in rows[0]["seconds"] else ""
            for p in ("features", "head")
        ]
        speed = f"{mid(rate(r) for r in rows):.0f}" if rate(rows[0]) else ""
        ratios = [
            f"{mid(r[other]['wall'] / r[who]['wall'] for r in repeats):.1f}"
            if other in repeats[0]
            else ""
            for other in ("plain", "channels-last", "tutorial")
        ]
        print(
            f"| {who} | {mid(r['wall'] for r in rows):.2f} | {parts[0]} | {speed} | {parts[1]} |"
            f" {accuracy(rows[0]):.4f} | {' | '.join(ratios)} |"
        )
    for state in ("cold", "compiled"):
        for other in ("plain", "channels-last"):
            values = [
                repeat[state]["images_per_second"] / repeat[other]["images_per_second"]
                for repeat in repeats
            ]
            print(
                f"\nFeatures alone, {state}, against {other}: {statistics.median(values):.1f}× "
                f"({min(values):.1f} to {max(values):.1f})"
            )


if __name__ == "__main__":
    main()
