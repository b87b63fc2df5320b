"""What `regraft advise` measures on each case of `cases.py`, kept so that rules can be replayed.

python bench/gathering.py DATA_FOLDER --work FOLDER --out evidence.jsonl [--seeds 5]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import regraft
from cases import cases, load
from regraft.advising.evidence import Evidence, gather
from regraft.backbones import Backbone
from regraft.backbones.info import Tap
from regraft.evidence.depths import Depth
from regraft.evidence.growth import Growth, Point
from regraft.evidence.learnable import Learnable
from regraft.outcome import Clock
from regraft.pipeline import Pipeline, pipeline
from regraft.prepare import Wanted, prepare
from regraft.similarity import Similarity

KEPT = ("counts", "test", "depths", "growth", "learnable", "similarity", "shift")


def seen(case, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """A case's line."""
    learn, test = load(case, seed, Path(given.data), Path(given.work))
    clock = Clock()

    def pipe_of(net: Backbone) -> Pipeline:
        taps = [Tap(stage.index, True) for stage in net.info.stages]
        return pipeline(net, taps, threads=given.threads)

    net = regraft.backbone().looking("crop")
    wanted = Wanted(pipe_of, None, "crop", seed, True, False, 0.5, False)
    ready = prepare(learn, test, net, wanted, lambda line: None, None, clock.lap)
    found = gather(ready, net, seed, clock.lap)
    held = {name: value for name, value in vars(found).items() if name != "info"}
    for name in ("growth", "learnable", "similarity"):
        held[name] = asdict(held[name])
    held["depths"] = [asdict(depth) for depth in found.depths]
    return {"case": case.name, "seed": seed, "seconds": clock.seconds(), "seen": held}


def read(row: dict[str, Any], net: Backbone) -> Evidence:
    """The evidence of a line."""
    held = {name: row["seen"][name] for name in KEPT}
    growth = dict(held["growth"])
    growth["points"] = tuple(Point(**point) for point in growth["points"])
    held["growth"] = Growth(**growth)
    held["learnable"] = Learnable(**held["learnable"])
    held["similarity"] = Similarity.from_json(held["similarity"])
    held["depths"] = tuple(Depth(**depth) for depth in held["depths"])
    return Evidence(info=net.info, **held)


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; none if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", help="the folder that holds the sets")
    arguments.add_argument("--work", required=True, help="where changed pictures are kept")
    arguments.add_argument("--out", required=True, help="what was measured, one case a line")
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--threads", type=int, help="all processors if not given")
    given = arguments.parse_args()
    out = Path(given.out)
    done = {(row["case"], row["seed"]) for row in lines(out)}
    for seed in range(given.seeds):
        for case in cases():
            if (case.name, seed) in done:
                continue
            row = seen(case, seed, given)
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{case.name}, seed {seed}: {row['seconds']}", file=sys.stderr)


if __name__ == "__main__":
    main()
