"""What the evidence of `regraft.evidence` is worth: forecasts come true, shuffled labels, time.

    python bench/evidence.py FOLDER … [--draws 12] [--shuffles 100] [--only depths growth …]

Each folder holds pictures by class (with or without train/ and test/, which are pooled here), and
scikit-learn's digits are one set more. All stages of the packaged backbone are computed once.
Prints four tables:

depths     what judging all stages costs, in seconds of one processor
scores     the regret, in points of accuracy on other rows, of taking the stage a score likes best
growth     from some of the rows the accuracy of twice as many is told; the truth is the mean over
           draws of heads fitted on that many and scored on all others
learnable  how often labels as they are, and shuffled ones, are said to be learnable
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from regraft import heads
from regraft.backbones.info import Tap
from regraft.backbones.resolve import resolve
from regraft.data.sources import labelled
from regraft.evidence import depths, growth, learnable
from regraft.features import compute
from regraft.heads.folds import folds
from regraft.pipeline import pipeline, tap_name

STAGES = ("blocks.3.1", "blocks.5.3", "bn2")  # at which curves are drawn
ROWS = (60, 100, 300, 700)  # from which twice as many are told
PER_CLASS = (5, 10, 20)
SCORES = ("accuracy", "log_loss", "knn", "log_me", "h_score")

Set = tuple[str, Mapping[str, np.ndarray], np.ndarray]


def digits(folder: Path) -> Path:
    """scikit-learn's digits as pictures of 64 x 64 pixels."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    for number, (image, label) in enumerate(zip(found.images, found.target, strict=True)):
        home = folder / "digits" / str(label)
        home.mkdir(parents=True, exist_ok=True)
        pixels = (image * (255 / 16)).astype(np.uint8)
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(
            home / f"{number}.png"
        )
    return folder / "digits"


def features(folder: Path) -> Set:
    """Name, stage -> (N, D), and (N,) classes of the pictures in a folder."""
    net = resolve(None)
    taps = [Tap(stage.index) for stage in net.info.stages]
    seen = compute(labelled(str(folder), "image").examples, pipeline(net, taps))
    names = [stage.name for stage in net.info.stages]
    n = len(seen.examples)
    rows = {
        name: np.asarray(seen.rows[tap_name(tap)][0:n])
        for name, tap in zip(names, taps, strict=True)
    }
    _, labels = np.unique([example.label for example in seen.examples], return_inverse=True)
    return folder.name, rows, labels


def draw(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """About n rows, spread over the classes."""
    count = max(2, round(len(labels) / n))
    if n > len(labels) / 2:
        rest = draw(labels, len(labels) - n, seed)
        return np.setdiff1d(np.arange(len(labels)), rest)
    return np.flatnonzero(folds(labels, count, seed=seed) == 0)


def correct(rows: np.ndarray, labels: np.ndarray, some: np.ndarray) -> float:
    """The accuracy on all other rows of a head fitted on some."""
    rest = np.setdiff1d(np.arange(len(labels)), some)
    head = heads.fit("ridge", rows[some], labels[some], int(labels.max()) + 1)
    return float((head.probabilities(rows[rest]).argmax(axis=1) == labels[rest]).mean())


def table(columns: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Print a table of Markdown."""
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for line in lines:
        print("| " + " | ".join(f"{x:.3g}" if isinstance(x, float) else str(x) for x in line), "|")
    print(flush=True)


def time_of_depths(sets: Sequence[Set], draws: int, shuffles: int) -> None:
    lines = []
    for name, rows, labels in sets:
        for n in (300, 1000, 2000):
            if n > len(labels):
                continue
            some = np.random.default_rng(0).permutation(len(labels))[:n]
            few, truth = {stage: x[some] for stage, x in rows.items()}, labels[some]
            k = int(labels.max()) + 1
            times = [time.process_time()]
            depths(few, truth, k)
            times.append(time.process_time())
            growth(few["bn2"], truth, k)
            times.append(time.process_time())
            learnable(few, truth, k)
            spent = np.diff([*times, time.process_time()]).tolist()
            lines.append((name, n, k, *spent))
    table(("set", "rows", "classes", "depths s", "growth at bn2 s", "learnable s"), lines)


def regret_of_scores(sets: Sequence[Set], draws: int, shuffles: int) -> None:
    lines = []
    for name, rows, labels in sets:
        k = int(labels.max()) + 1
        for per in (10, 40):
            lost = []
            for seed in range(max(2, draws // 4)):
                some = draw(labels, per * k, seed)
                found = depths({s: x[some] for s, x in rows.items()}, labels[some], k)
                truth = np.array([correct(x, labels, some) for x in rows.values()])
                lost.append([truth.max() - truth[_best(found, score)] for score in SCORES])
            lines.append((name, per, *(100 * np.mean(lost, axis=0))))
    table(("set", "rows per class", *SCORES), lines)


def _best(found: Sequence[object], score: str) -> int:
    sign = -1.0 if score == "log_loss" else 1.0
    return int(np.argmax([sign * getattr(depth, score) for depth in found]))


def truth_of_growth(sets: Sequence[Set], draws: int, shuffles: int) -> None:
    lines = []
    for name, every, labels in sets:
        k = int(labels.max()) + 1
        for n in ROWS:
            if 2.5 * n > len(labels) or n < 4 * k:
                continue
            told = []
            for stage in STAGES:
                rows = every[stage]
                seeds = range(1000, 1000 + 2 * draws)
                truth = np.mean([correct(rows, labels, draw(labels, 2 * n, s)) for s in seeds])
                for seed in range(draws):
                    some = draw(labels, n, seed)
                    found = growth(rows[some], labels[some], k, seed=seed)
                    low, high = found.doubled_ci95
                    still = found.points[-1].accuracy - truth
                    told.append((found.doubled - truth, still, low <= truth <= high, high - low))
            error, still, held, wide = np.array(told, float).T
            off, change = np.abs(error).mean(), np.abs(still).mean()
            means = [100 * x for x in (error.mean(), off, change, held.mean(), wide.mean())]
            lines.append((name, n, *means))
    table(
        ("set", "rows", "bias", "mean error", "of no change", "held %", "width of interval"), lines
    )


def rates_of_learnable(sets: Sequence[Set], draws: int, shuffles: int) -> None:
    lines = []
    for name, every, labels in sets:
        k = int(labels.max()) + 1
        for per in PER_CLASS:
            true, false, enough = [], [], []
            for seed in range(shuffles):
                rng = np.random.default_rng(seed)
                some = np.concatenate(
                    [rng.permutation(np.flatnonzero(labels == c))[:per] for c in range(k)]
                )
                rows = {stage: x[some] for stage, x in every.items()}
                mixed = rng.permutation(labels[some])
                false.append(learnable(rows, mixed, k, seed=10_000 + seed).learnable)
                if seed < shuffles // 4:
                    found = learnable(rows, labels[some], k, seed=10_000 + seed)
                    true.append(found.learnable)
                    enough.append(found.enough)
            lines.append((name, per, *(float(np.mean(x)) for x in (true, enough, false))))
    table(("set", "rows per class", "learnable", "enough to tell", "learnable if shuffled"), lines)


TABLES = {
    "depths": time_of_depths,
    "scores": regret_of_scores,
    "growth": truth_of_growth,
    "learnable": rates_of_learnable,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--shuffles", type=int, default=100)
    parser.add_argument("--only", nargs="*", choices=sorted(TABLES), default=list(TABLES))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        sets = [features(folder) for folder in (*given.folders, digits(Path(home)))]
    for name in given.only:
        print(f"{name}\n")
        TABLES[name](sets, given.draws, given.shuffles)


if __name__ == "__main__":
    main()
