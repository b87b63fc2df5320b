"""Small trainings for tests: a real network, rows that it can tell apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from regraft.plans import Phase, Recipe
from regraft.train import head, names
from regraft.train.above import HEAD, Above
from regraft.train.job import Job, Part
from tests.nets import small

CLASSES = 3
SIDE = 32


class Held:
    """Flows in memory: rows (N, H, W, 3) and what the stages below each cut make of them."""

    def __init__(self, flow: np.ndarray, views: int = 0) -> None:
        self.flow, self.views = flow, views

    def __len__(self) -> int:
        return len(self.flow)

    def read(self, index: np.ndarray, view: object = -1) -> tuple[np.ndarray, ...]:
        return (self.flow[index],)


def pictures(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, H, W, 3) uint8 and (n,) classes: each class has its own colour, under noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    rows = random.integers(0, 200, (n, SIDE, SIDE, 3))
    rows[np.arange(n), :, :, labels] += 40
    return rows.clip(0, 255).astype(np.uint8), labels.astype(np.int64)


def part(n: int, seed: int, cuts: tuple[int, ...]) -> Part:
    """Rows with their flow at each cut, computed by the network itself."""
    rows, labels = pictures(n, seed)
    net = small()
    flow = net.input.preamble()(torch.from_numpy(rows))
    held: dict[int, Held] = {0: Held(rows)}
    with torch.inference_mode():
        for stage in net.stages.eval():
            flow = stage(flow)
            held[stage.info.index + 1] = Held(flow.numpy().copy())
    return Part({c: held[c] for c in cuts}, labels, [f"{seed}/{i}.png" for i in range(n)])


def job(
    plan: tuple[Phase, ...], recipe: Recipe | None = None, *, seed: int = 0, n: int = 48
) -> Job:
    """A training of the small network, its head fresh."""
    cuts = tuple(sorted({int(phase.cut) for phase in plan}))
    net = small()
    at = len(net) - 1
    rows = part(n, 1, (at + 1,)).flows[at + 1].read(np.arange(n))[0]
    above = Above(net, cuts[0], at, head.fresh(rows.shape[1], CLASSES, rows))
    made = Job(
        above,
        plan,
        recipe or Recipe(batch=8),
        part(n, 1, cuts),
        part(24, 2, cuts),
        CLASSES,
        seed,
    )
    own = [n for n in above.parameters_by_name() if n.startswith(HEAD)]
    chosen = tuple(
        tuple(names.choose(above.stages[int(p.cut) - above.first :], p.only, own)) for p in plan
    )
    return replace(made, trained=chosen)
