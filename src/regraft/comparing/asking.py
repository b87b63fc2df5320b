"""What a comparison asks of a run's network afterwards: over-fitting and forgetting.

flow at the lowest trained cut ─┬─► stages before ─► the source's classifier ─► old answers
                                └─► stages after ──► the source's classifier ─► new answers
                                                └──► head ─► right on rows that it learned from?
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones import Backbone
from regraft.comparing.arms import NOTHING_FORGOTTEN, Forgetting
from regraft.comparing.known import Known, spread
from regraft.ledger import TEST, Row

if TYPE_CHECKING:
    import torch
    from torch import nn

BATCH = 64
#: Rows that are asked at most. A share of 256 has a standard error of 3 points at most.
MOST_TRAIN, MOST_TEST = 256, 512
#: Solved heads read features that lie in the cache.
MOST_SOLVED = 2048


def train_accuracy(known: Known) -> float | None:
    """How often the kept weights are right on rows that they learned from, 0..1.

    On at most `MOST_TRAIN` of them, spread over all (`MOST_SOLVED` where no stage changed).

    Raises:
        RegraftError: the rows or the backbone cannot be had any more.
    """
    learned = known.ledger.part("train") if known.phases else known.ledger.learned
    cut = known.cut
    rows = spread(learned, MOST_SOLVED if cut is None else MOST_TRAIN)
    if not rows:
        return None
    if cut is None:
        answers = known.model.probabilities(known.features(rows))
    else:
        net = known.model.backbone
        (features,) = _passed(known, rows, cut, [net], net.index(known.model.at[0]))
        answers = known.model.head.probabilities(features)
    place = {name: index for index, name in enumerate(known.model.classes)}
    truth = np.array([place.get(row.label, -1) for row in rows])
    return float((answers.argmax(axis=1) == truth).mean())


def forgetting(known: Known) -> Forgetting:
    """How differently the network's own classifier answers on the test rows since training.

    Raises:
        RegraftError: the rows or the backbone cannot be had any more.
    """
    cut, net = known.cut, known.model.backbone
    if cut is None:
        return NOTHING_FORGOTTEN
    last = len(net) - 1
    if net.index(known.model.at[0]) != last:
        return Forgetting(
            None, None, 0, "the head reads an earlier stage, and nothing above it was run"
        )
    before = known.original
    classifier = before.classifier()
    if classifier is None:
        return Forgetting(
            None, None, 0, f"'{before.info.name}' has no classifier of its own to ask"
        )
    rows = spread(known.ledger.part(TEST), MOST_TEST)
    if not rows:
        return Forgetting(None, None, 0, "there are no test rows to ask about")
    old, new = (
        _answers(classifier, features)
        for features in _passed(known, rows, cut, [before, net], last)
    )
    kl = (np.exp(new) * (new - old)).sum(axis=1)
    moved = old.argmax(axis=1) != new.argmax(axis=1)
    return Forgetting(float(moved.mean()), float(np.maximum(kl, 0.0).mean()), len(rows))


def _passed(
    known: Known, rows: Sequence[Row], cut: int, nets: Sequence[Backbone], at: int
) -> list[NDArray[np.float32]]:
    """(N, D) for each network: the pooled output of stage `at` from the flows at `cut`."""
    import torch

    from regraft.stages import pool

    before = known.original
    pipe, flows = known.flows(rows, cut, before)
    info = before.info.stages[at]
    preamble = before.input.preamble().to(pipe.device) if cut == 0 else None
    parts = [copy.deepcopy(net[cut : at + 1]).eval().to(pipe.device) for net in nets]
    found: list[list[NDArray[np.float32]]] = [[] for _ in nets]
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            index = np.arange(start, min(start + BATCH, len(rows)))
            flow = _sent(flows.read(index, -1), pipe.device)
            if preamble is not None:
                flow = preamble(*flow) if isinstance(flow, tuple) else preamble(flow)
            for part, out in zip(parts, found, strict=True):
                out.append(pool(part(flow), info).cpu().numpy())
    return [np.concatenate(out) for out in found]


def _sent(batch: tuple[np.ndarray, ...], device: str) -> Any:
    import torch

    def one(array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array).to(device)
        return tensor if tensor.dtype == torch.uint8 else tensor.float()

    sent = tuple(map(one, batch))
    return sent[0] if len(sent) == 1 else sent


def _answers(classifier: nn.Module, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, C) log-probabilities of the source's classes."""
    import torch

    with torch.inference_mode():
        logits = classifier.eval()(torch.from_numpy(features)).double()
        return np.asarray(torch.log_softmax(logits, dim=1).numpy())
