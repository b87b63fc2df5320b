"""Plans against each other, fastai's `fine_tune` and the tutorials' full fine-tuning.

    python bench/plans.py FOLDER [FOLDER …] --plans lpft,probe,full --seeds 3 --epochs 5
        [--variant 'lpft augment=flip'] [--fastai] [--tutorial] [--out plans.jsonl] [--report]

Every FOLDER holds train/ and test/ with class folders. Whole processes, one after the other, as a
user runs them: `regraft fit FOLDER --plan NAME epochs=E --seed S`. Each plan has a cache of its own
for each set, empty at its first seed (*cold*: even the network is converted) and full at the later
ones (*warm*). What has finished is a line of the JSONL file and is not run again, so that a night
that was interrupted goes on; what failed is told and tried again at the next start.

Differences are paired: same set, same seed. Their mean is over sets; the 95 % interval is that of
Student's t over seeds within sets, the variance pooled over the sets (S sets of K seeds have S(K-1)
degrees of freedom). It tells what another seed could have changed, not what another set could.
regraft does not score test pictures that are copies of training pictures; the others do.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shlex
import shutil
import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from speed import HERE, best_workers, process, regraft

FASTAI, TUTORIAL = "fastai fine_tune", "tutorial, full"
BATCHES = ", batches of "
#: The tutorial keeps the epoch that was best on the test part; both are shown.
BEST = "tutorial, full, best epoch on test"
#: Plans to which no epochs are given: they train nothing, or as long as the advice says.
SOLVED = ("probe", "early", "auto")
FIRST = "lpft"


@dataclass(frozen=True)
class Trial:
    """One process to run.

    Attributes:
        who: as the tables call it.
        data: the folder.
        seed: of everything random.
        epochs: of each phase that trains.
    """

    who: str
    data: Path
    seed: int
    epochs: int

    @property
    def key(self) -> tuple:
        return (self.who, self.data.name, self.seed, self.epochs)


def key_of(row: dict) -> tuple:
    return (row["who"], row["set"], row["seed"], row["epochs"])


# Running


def run(trial: Trial, workers: int, cache: Path, out: Path) -> dict:
    """A trial's line: scores on the test part, seconds of the whole process."""
    before, load = spent(), os.getloadavg()[0]
    data, seed, epochs = str(trial.data), str(trial.seed), str(trial.epochs)
    more = ["--epochs", epochs, "--seed", seed, "--workers", str(workers)]
    if trial.who == TUTORIAL or trial.who.startswith(FASTAI):
        script = "baseline_finetune.py" if trial.who == TUTORIAL else "baseline_fastai.py"
        _, fastai, batch = trial.who.partition(BATCHES)
        more += ["--batch", batch] if fastai else []
        got = process(sys.executable, str(HERE / script), data, *more)
        scores = {name: got[name] for name in ("accuracy", "log_loss", "n", "right", "best")}
    else:
        plan, *settings = shlex.split(trial.who)
        if plan not in SOLVED and not any(one.startswith("epochs=") for one in settings):
            settings.append(f"epochs={epochs}")
        got = regraft(data, cache, out, *settings, "--plan", plan, "--seed", seed)
        test = got["test"]
        scores = {name: test[name] for name in ("accuracy", "log_loss", "n")}
        scores |= {"cache": got["cache"]["state"], "laps": got["seconds"]}
        scores["epochs_run"] = len(got.get("training", {}).get("curve", []))
    told = {"who": trial.who, "set": trial.data.name, "seed": trial.seed, "epochs": trial.epochs}
    return told | scores | {"wall": got["wall"], "cpu": spent() - before, "load": load}


def spent() -> float:
    """Seconds of the processors that all processes took that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_all(given: argparse.Namespace, contestants: list[str], file: Path) -> list[str]:
    """Run what is missing, seed by seed; what failed."""
    done = {key_of(row) for row in lines(file)}
    failed = []
    work = file.with_suffix(".work")
    for seed in range(given.seeds):
        for data in map(Path, given.folders):
            for number, who in enumerate(contestants):
                trial = Trial(who, data, seed, given.epochs)
                if trial.key in done:
                    continue
                cache = work / f"{data.name}-{number}-{shlex.split(who)[0]}"
                if seed == 0:
                    shutil.rmtree(cache, ignore_errors=True)
                try:
                    row = run(trial, loader_workers(given, data, work), cache, work / "run")
                except SystemExit as problem:
                    failed.append(f"{trial.key}: {problem}")
                    print(failed[-1], file=sys.stderr)
                    continue
                with file.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(row) + "\n")
                told = f"{row['accuracy']:.4f} in {row['wall']:.1f} s"
                print(f"{data.name}, seed {seed}, {who}: {told}", file=sys.stderr)
    if not failed:
        shutil.rmtree(work, ignore_errors=True)
    return failed


def loader_workers(given: argparse.Namespace, data: Path, work: Path) -> int:
    """The number of loader workers of the baselines, tried once for each set."""
    if given.workers is not None or not (given.fastai or given.tutorial):
        return given.workers or 0
    work.mkdir(parents=True, exist_ok=True)
    held = work / f"{data.name}.workers"
    if not held.exists():
        held.write_text(str(best_workers(str(data))))
    return int(held.read_text())


def lines(file: Path) -> list[dict]:
    """What has finished; a line that was cut off by the end of the machine is not there."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            print(f"{file}: a line is cut off and left out", file=sys.stderr)
    return rows


# Telling


def with_best(rows: Iterable[dict]) -> list[dict]:
    """The rows, and one more for the tutorial's best epoch."""
    found = []
    for row in rows:
        found.append(row)
        if row["who"] == TUTORIAL:
            scores = {name: row["best"][name] for name in ("accuracy", "log_loss")}
            found.append(row | scores | {"who": BEST})
    return found


def spread(values: list[float]) -> str:
    """Mean and standard deviation, in per cent."""
    told = f"{100 * statistics.mean(values):.1f}"
    return told + (f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else "")


def scores_table(rows: list[dict], sets: list[str], contestants: list[str]) -> None:
    seeds = 1 + max(row["seed"] for row in rows)
    print(f"\n### Accuracy on the test part, per cent, mean ± sd over {seeds} seeds (log-loss)\n")
    print(f"| | {' | '.join(sets)} | mean |\n| --- |{' ---: |' * (len(sets) + 1)}")
    for who in contestants:
        cells, means = [], []
        for name in sets:
            mine = [row for row in rows if row["who"] == who and row["set"] == name]
            if not mine:
                cells.append("")
                continue
            accuracy = [row["accuracy"] for row in mine]
            means.append(statistics.mean(accuracy))
            loss = statistics.mean(row["log_loss"] for row in mine)
            cells.append(f"{spread(accuracy)} ({loss:.3f})")
        whole = f"{100 * statistics.mean(means):.2f}" if len(means) == len(sets) else ""
        print(f"| {who} | {' | '.join(cells)} | {whole} |")


def seconds_table(rows: list[dict], sets: list[str], contestants: list[str]) -> None:
    print("\n### Seconds of the whole process: cold; mean of the warm ones (of the processors)\n")
    print(f"| | {' | '.join(sets)} |\n| --- |{' ---: |' * len(sets)}")
    for who in contestants:
        cells = []
        for name in sets:
            mine = [row for row in rows if row["who"] == who and row["set"] == name]
            cold = [row for row in mine if row["seed"] == 0]
            warm = [row for row in mine if row["seed"] > 0]
            told = [
                f"{statistics.mean(row['wall'] for row in some):.0f} "
                f"({statistics.mean(row['cpu'] for row in some):.0f})"
                for some in (cold, warm)
                if some
            ]
            cells.append("; ".join(told))
        print(f"| {who} | {' | '.join(cells)} |")


def pairs(rows: list[dict], first: str, other: str) -> list[tuple[dict, dict]]:
    """Rows of the same set and seed."""
    mine = {(row["set"], row["seed"]): row for row in rows if row["who"] == first}
    return [
        (mine[row["set"], row["seed"]], row)
        for row in rows
        if row["who"] == other and (row["set"], row["seed"]) in mine
    ]


def interval(values: dict[str, list[float]]) -> tuple[float, float, int]:
    """Mean over sets, half of its 95 % interval, degrees of freedom; see the top of this file."""
    from scipy.stats import t

    means = {name: statistics.mean(held) for name, held in values.items()}
    freedom = sum(len(held) - 1 for held in values.values())
    if not freedom:
        return statistics.mean(means.values()), math.nan, 0
    squares = sum((x - means[name]) ** 2 for name, held in values.items() for x in held)
    variance = squares / freedom * sum(1 / len(held) for held in values.values()) / len(values) ** 2
    return statistics.mean(means.values()), t.ppf(0.975, freedom) * math.sqrt(variance), freedom


def differences_table(rows: list[dict], contestants: list[str], first: str) -> None:
    print(f"\n### {first} minus the others, paired (points of accuracy; log-loss; other ÷ it)\n")
    print("| | accuracy, 95 % | log-loss, 95 % | pairs | wall, cold | wall, warm | processors |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for who in contestants:
        both = pairs(rows, first, who)
        if who == first or not both:
            continue
        cells = []
        for name, scale in (("accuracy", 100), ("log_loss", 1)):
            values: dict[str, list[float]] = {}
            for mine, other in both:
                values.setdefault(mine["set"], []).append(scale * (mine[name] - other[name]))
            mean, half, freedom = interval(values)
            told = f"{mean - half:+.2f} to {mean + half:+.2f}, {freedom} df" if freedom else "no"
            cells.append(f"{mean:+.2f} ({told})")
        cells.append(str(len(both)))
        cold = [pair for pair in both if pair[0]["seed"] == 0]
        warm = [pair for pair in both if pair[0]["seed"] > 0]
        cells += [ratio(cold, "wall"), ratio(warm, "wall"), ratio(both, "cpu")]
        print(f"| {who} | {' | '.join(cells)} |")


def ratio(both: list[tuple[dict, dict]], what: str) -> str:
    """Geometric mean, and the range, of how many times longer the other takes."""
    values = [other[what] / mine[what] for mine, other in both]
    if not values:
        return ""
    mean = statistics.geometric_mean(values)
    return f"{mean:.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folders", nargs="+")
    arguments.add_argument("--plans", default="lpft,probe", help="names with commas")
    arguments.add_argument("--variant", action="append", default=[], help="'NAME KEY=VALUE …'")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--epochs", type=int, default=5)
    arguments.add_argument("--fastai", action="store_true")
    arguments.add_argument("--fastai-batch", type=int, default=64, help="fastai's own default: 64")
    arguments.add_argument("--tutorial", action="store_true")
    arguments.add_argument(
        "--workers", type=int, help="of the baselines' loaders; tried if not given"
    )
    arguments.add_argument("--out", default="plans.jsonl", help="finished trials, one a line")
    arguments.add_argument("--report", action="store_true", help="only tell what has finished")
    given = arguments.parse_args()
    contestants = [*filter(None, given.plans.split(",")), *given.variant]
    contestants += [FASTAI + BATCHES + str(given.fastai_batch)] * given.fastai
    contestants += [TUTORIAL] * given.tutorial
    file = Path(given.out)
    failed = [] if given.report else run_all(given, contestants, file)
    sets = [Path(folder).name for folder in given.folders]
    asked = {(who, name) for who in contestants for name in sets}
    rows = [row for row in lines(file) if (row["who"], row["set"]) in asked]
    rows = [row for row in rows if row["seed"] < given.seeds and row["epochs"] == given.epochs]
    rows = with_best(rows)
    shown = [*contestants, *([BEST] if given.tutorial else [])]
    if rows:
        scores_table(rows, sets, shown)
        seconds_table(rows, sets, shown)
        if FIRST in contestants:
            differences_table(rows, shown, FIRST)
    if failed:
        raise SystemExit("\n".join(["", f"{len(failed)} trials failed:", *failed]))


if __name__ == "__main__":
    main()
