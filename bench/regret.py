"""How good advice is: its regret against an oracle, replayed over the cases of `cases.py`.

    python bench/regret.py arms.jsonl evidence.jsonl [--draws 2,3,4]

`arms.py` made the first file (what every arm scored), `gathering.py` the second (what advice sees).
The oracle of a case is the arm with the best mean over its seeds on nine tenths of the test rows,
scored on the tenth that it was not chosen on, ten times: it is not rewarded for luck. Regret is
the oracle's mean minus the mean of the arms that were advised, seed by seed, on the same rows. Its
noise is one standard error, from the test rows (paired) and the seeds. With hindsight is the same
against the arm that is best on all test rows, which is always the luckiest one too.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import regraft
from cases import cases
from gathering import lines, read
from regraft.advising import decide
from regraft.advising.forecast import Forecast

FOLDS = 10
Table = dict[str, dict[str, dict[int, np.ndarray]]]


def table(path: Path) -> Table:
    """By case, arm and seed: (n,) which test rows came right."""
    found: Table = defaultdict(lambda: defaultdict(dict))
    for row in lines(path):
        bits = np.frombuffer(bytes.fromhex(row["right"]), np.uint8)
        found[row["case"]][row["arm"]][row["seed"]] = np.unpackbits(bits)[: row["n"]].astype(bool)
    return found


def advised(row: dict[str, Any], net, trained: str) -> tuple[str, decide.Option]:
    """The arm that the rules choose from a case's evidence, and its forecast."""
    seen = read(row, net)
    depth, _ = decide.depth_of(seen)
    costs = {"probe": Forecast(1.0, 0, 1.0)}
    if seen.rows >= decide.LEAST_TRAINED and not seen.hopeless:
        costs["lpft"] = Forecast(60.0, 0, 60.0)
    picked = next(one for one in decide.options(seen, depth, costs, None) if one.chosen)
    return (trained if picked.plan == "lpft" else f"at {picked.at}"), picked


def oracle(arms: dict[str, dict[int, np.ndarray]], seeds: list[int]) -> float:
    """The best arm's mean accuracy, chosen on nine tenths of the test rows, scored on the rest."""
    means = {arm: np.mean([held[s] for s in seeds], axis=0) for arm, held in arms.items()}
    rows = len(next(iter(means.values())))
    fold = np.random.default_rng(0).permutation(rows) % FOLDS
    scores = np.zeros(rows)
    for number in range(FOLDS):
        here = fold == number
        best = max(means, key=lambda arm: means[arm][~here].mean())
        scores[here] = means[best][here]
    return float(scores.mean())


def loss_of(rule, held: Table, seen: list[dict[str, Any]], net) -> float:
    """What the stage of a rule loses against the one that is best on average, in shares of 1."""
    lost = []
    for row in seen:
        stages = {arm: runs for arm, runs in held[row["case"]].items() if arm.startswith("at ")}
        best = max(np.mean([right.mean() for right in runs.values()]) for runs in stages.values())
        lost.append(best - stages[f"at {rule(read(row, net))}"][row["seed"]].mean())
    return float(np.mean(lost))


def depth_rules(held: Table, seen: list[dict[str, Any]], net) -> None:
    """Each measure alone as the choice of depth, beside the rule that is used."""

    def alone(name: str, sign: float):
        def rule(found) -> str:
            values = [getattr(depth, name) for depth in found.depths]
            known = [-math.inf if value is None else sign * value for value in values]
            return found.depths[int(np.argmax(known))].stage

        return rule

    rules = {name: alone(name, sign) for name, sign in (*decide.MEASURES, ("h_score", 1.0))}
    rules["the last stage"] = lambda found: found.last.stage
    rules["the rule"] = lambda found: decide.depth_of(found)[0].stage
    told = ", ".join(f"{n} {100 * loss_of(r, held, seen, net):.2f}" for n, r in rules.items())
    print(f"\nPoints lost by the choice of depth over {len(seen)} draws: {told}.")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("arms")
    arguments.add_argument("evidence")
    arguments.add_argument("--trained", default="lpft best", help="the arm that 'lpft' stands for")
    arguments.add_argument("--draws", help="only these seeds; the rules' figures were set on 0, 1")
    given = arguments.parse_args()
    only = {int(seed) for seed in given.draws.split(",")} if given.draws else None
    net = regraft.backbone()
    held, seen = table(Path(given.arms)), lines(Path(given.evidence))
    print("| case | seeds | likeness | last stage | oracle | advised | regret | noise | in range |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    regrets, excess, hindsight, inside = [], [], [], []
    for name in [case.name for case in cases()]:
        own = [row for row in seen if row["case"] == name]
        rows = {row["seed"]: row for row in own if only is None or row["seed"] in only}
        stages = {arm: runs for arm, runs in held[name].items() if arm.startswith("at ")}
        seeds = sorted(set(rows) & set.intersection(*(set(r) for r in stages.values()), set(rows)))
        if not stages or not seeds:
            continue
        whole = {arm: r for arm, r in held[name].items() if set(seeds) <= set(r)}
        picks = {seed: advised(rows[seed], net, given.trained) for seed in seeds}
        got, fell = [], []
        for seed in seeds:
            arm, option = picks[seed]
            right = held[name].get(arm, {}).get(seed)
            if right is None:
                arm = f"at {option.at}"
                right = held[name][arm][seed]
            got.append(right)
            low, high = option.accuracy_ci95 or (0.0, 1.0)
            fell.append(low <= right.mean() <= high)
        best, mine = oracle(whole, seeds), float(np.mean(got))
        top = max(whole, key=lambda arm: np.mean([whole[arm][s] for s in seeds]))
        apart = np.mean([whole[top][s] for s in seeds], 0) - np.mean(got, 0)
        noise = float(apart.std() / math.sqrt(len(apart)))
        regrets.append(best - mine)
        hindsight.append(float(np.mean([whole[top][s] for s in seeds])) - mine)
        excess.append(best - mine - 2 * noise)
        inside += fell
        alike = rows[seeds[0]]["seen"]["similarity"]
        chosen = statistics.mode(arm for arm, _ in picks.values())
        last = np.mean([held[name][f"at {net.info.stages[-1].name}"][s] for s in seeds])
        print(
            f"| {name} | {len(seeds)} | {alike['verdict']} ({alike['score']}) "
            f"| {100 * last:.1f} | {100 * best:.1f} ({top}) | {100 * mine:.1f} ({chosen}) "
            f"| {100 * (best - mine):+.1f} "
            f"| {100 * noise:.1f} | {sum(fell)} of {len(fell)} |"
        )
    mean, worst = statistics.fmean(regrets), float(np.quantile(regrets, 0.95))
    print(
        f"\n{len(regrets)} cases: mean regret {100 * mean:.2f} points, 95th percentile "
        f"{100 * worst:.1f} ({100 * float(np.quantile(excess, 0.95)):.1f} beyond two standard "
        f"errors of noise); with hindsight {100 * statistics.fmean(hindsight):.2f} and "
        f"{100 * float(np.quantile(hindsight, 0.95)):.1f}; {sum(inside)} of {len(inside)} scores "
        f"in the range that was forecast ({100 * np.mean(inside):.0f} %)."
    )
    depth_rules(held, seen, net)


if __name__ == "__main__":
    main()
