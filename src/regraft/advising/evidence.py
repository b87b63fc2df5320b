"""What is measured before anything is advised: on rows to learn from, never on those to test on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regraft import similarity
from regraft.backbones import Backbone
from regraft.backbones.info import BackboneInfo, Tap
from regraft.choose import MOST_LOGISTIC, choose
from regraft.evidence.depths import Depth, depths
from regraft.evidence.growth import Growth, growth
from regraft.evidence.learnable import Learnable, learnable
from regraft.features import LOOK
from regraft.heads.folds import thinned
from regraft.heads.rows import Rows, take
from regraft.parts import HELD_OUT, Parts, numbers
from regraft.pipeline import tap_name
from regraft.prepare import Ready
from regraft.similarity import Similarity
from regraft.similarity.both import a_distance

#: Rows that solving a head is timed on.
TIMED = 400
#: How solving grows with the rows while they are fewer than the columns: with them (passes) and
#: with their products, in between. Beyond, with them.
GROWTH = 1.5
#: Stages at which training and test pictures are compared, and rows of each that are looked at.
DEPTHS, MOST = 6, 128
#: Rows of a part below which it is not compared.
FEWEST = 8
Lap = Callable[[str], None]


@dataclass(frozen=True)
class Evidence:
    """What speaks for one way of adapting or another.

    Attributes:
        info: of the backbone.
        counts: rows to learn from of each class.
        test: rows to score.
        depths: the worth of each stage, early to late.
        growth: of the best stage.
        learnable: whether anything can be learned.
        similarity: to what the backbone was trained on.
        shift: proxy A-distance of the pictures to learn from and those to test on, 0 (alike) to 2,
            without their labels; None where the test part was held out of the same pictures.
    """

    info: BackboneInfo
    counts: dict[str, int]
    test: int
    depths: tuple[Depth, ...]
    growth: Growth
    learnable: Learnable
    similarity: Similarity
    shift: float | None

    @property
    def hopeless(self) -> bool:
        """Whether nothing can be learned, as far as there are enough rows to tell."""
        return self.learnable.enough and not self.learnable.learnable

    @property
    def rows(self) -> int:
        """To learn from."""
        return sum(self.counts.values())

    @property
    def per_class(self) -> float:
        """Rows of a class, at the median."""
        return float(np.median(list(self.counts.values())))

    @property
    def last(self) -> Depth:
        """The last stage."""
        return self.depths[-1]


def best(depths: Sequence[Depth]) -> Depth:
    """The stage whose head has the least log-loss, the later one of equals.

    The last one where none could answer.
    """
    known = [depth for depth in reversed(depths) if depth.log_loss is not None]
    return min(known, key=lambda depth: depth.log_loss or 0.0) if known else depths[-1]


def gather(ready: Ready, net: Backbone, seed: int, lap: Lap) -> Evidence:
    """Measure.

    Args:
        ready: features of every stage.
        net: the backbone that made them.
        seed: of whatever is drawn.
        lap: called with what the time since its last call was spent on.
    """
    parts = ready.parts
    labels, count = numbers(parts.train, parts.classes), len(parts.classes)
    rows = {
        stage.name: parts.train.rows[tap_name(Tap(stage.index, True))] for stage in net.info.stages
    }
    worth = depths(rows, labels, count, seed=seed, groups=parts.groups)
    can = learnable(rows, labels, count, seed=seed, groups=parts.groups)
    more = growth(rows[best(worth).stage], labels, count, seed=seed, groups=parts.groups)
    moved = shift(parts, seed)
    lap("evidence")
    end = np.asarray(rows[net.info.stages[-1].name][:])
    like = similarity.measure(
        net, parts.train.examples, end, parts.train.digests, threads=ready.pipe.threads
    )
    lap("similarity")
    return Evidence(
        info=net.info,
        counts=_counts(parts, labels),
        test=len(parts.test.examples),
        depths=worth,
        growth=more,
        learnable=can,
        similarity=like,
        shift=moved,
    )


def head_seconds(parts: Parts, tap: str, seed: int) -> float:
    """How long choosing and solving a head on one stage takes, timed on some of the rows.

    Args:
        parts: of the data.
        tap: the name of the stage's rows.
        seed: of whatever is drawn.
    """
    labels = numbers(parts.train, parts.classes)
    some = thinned(labels, TIMED, seed=seed, groups=parts.groups)
    rows = {tap: take(parts.train.rows[tap], some)}
    n, d, count = len(labels), rows[tap].shape[1], len(parts.classes)
    head = "ridge" if n * min(n, d) * count > MOST_LOGISTIC else "auto"
    groups = None if parts.groups is None else parts.groups[some]
    start = time.perf_counter()
    choose(rows, labels[some], count, at=tap, head=head, seed=seed, groups=groups)
    took, dense = time.perf_counter() - start, max(len(some), min(n, d))
    return took * float((dense / len(some)) ** GROWTH * n / dense)


def shift(parts: Parts, seed: int) -> float | None:
    """How far a test part that was given lies from the training part; see `Evidence.shift`.

    The mean over stages of all depths: where light or focus changed, every one of them tells.
    """
    if parts.kind == HELD_OUT or min(len(parts.train.examples), len(parts.test.examples)) < FEWEST:
        return None
    names = [name for name in parts.train.rows if name in parts.test.rows and name != LOOK]
    picked = np.unique(np.linspace(0, len(names) - 1, DEPTHS).astype(int))
    sides = (parts.train, parts.test)
    found = []
    for name in (names[i] for i in picked):
        mine, other = (_some(side.rows[name], seed) for side in sides)
        found.append(a_distance(mine, other))
    return round(float(np.mean(found)), 3)


def _some(rows: Rows, seed: int) -> NDArray[np.float64]:
    """At most `MOST` of the rows, in an order of their own, so that no class comes first."""
    order = np.random.default_rng(seed).permutation(len(rows))[:MOST]
    return np.asarray(take(rows, order), np.float64)


def _counts(parts: Parts, labels: NDArray[np.int64]) -> dict[str, int]:
    held = np.bincount(labels, minlength=len(parts.classes))
    return {name: int(n) for name, n in zip(parts.classes, held, strict=True)}
