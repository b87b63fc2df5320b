"""The part of the MLP head that needs torch: plain loops over rows in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.heads.calibrate import log_prior
from regraft.heads.logistic import spread_over
from regraft.heads.newton import log_softmax

if TYPE_CHECKING:
    from regraft.heads.mlp import Mlp

Array = NDArray[Any]


class _Run:
    """One network in training: its parameters, optimizer and the order of its rows."""

    def __init__(self, spec: Mlp, x: torch.Tensor, y: torch.Tensor, columns: int, seed: int):
        self.batch, self.x, self.y, self.columns = spec.batch, x, y, columns
        self.prior = log_prior(y.numpy(), 2 if columns == 1 else columns)
        seed &= 2**63 - 1  # what torch takes
        self.random = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = _network(spec, x.shape[1], columns)
            self.state = torch.get_rng_state()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=spec.rate)

    def epoch(self) -> None:
        """One pass over the rows in a fresh order; the caller's random state stays as it is."""
        self.net.train()
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.state)  # dropout draws from the global one
            order = torch.randperm(len(self.x), generator=self.random)
            for index in torch.split(order, self.batch):
                out = self.net(self.x[index])
                self.optimizer.zero_grad()
                torch.autograd.backward(_loss(out, self.y[index]))
                self.optimizer.step()
            self.state = torch.get_rng_state()

    def logits(self, x: torch.Tensor) -> Array:
        """(M, D) to (M, K) scores, or (M, 1) for two classes."""
        self.net.eval()
        with torch.inference_mode():
            return np.asarray(self.net(x).numpy())


def best_epochs(
    spec: Mlp,
    x: Array,
    labels: NDArray[np.int64],
    n_classes: int,
    parts: list[NDArray[np.intp]],
    asked: NDArray[np.intp],
    seed: int,
    most: int,
) -> tuple[int, NDArray[np.float32]]:
    """The number of epochs with the least log-loss on left-out rows, and the scores (N, K) there.

    `parts` are the rows that each network trains on; it scores all others. Rows that no network
    leaves out have zeros. The log-loss is that of the rows in `asked`, which are among those left
    out; without any, all `most` epochs are trained.
    """
    columns = 1 if n_classes == 2 else n_classes
    rows, truth = torch.from_numpy(x), torch.from_numpy(labels)
    runs = [_Run(spec, rows[p], truth[p], columns, seed + i) for i, p in enumerate(parts)]
    unseen = [np.setdiff1d(np.arange(len(x)), p) for p in parts]
    prior = log_prior(labels, n_classes)
    best = (np.inf, 1, np.zeros((len(x), n_classes), np.float32))
    for epoch in range(1, most + 1):
        scores = np.zeros((len(x), n_classes), np.float32)
        for run, index in zip(runs, unseen, strict=True):
            run.epoch()
            scores[index] = spread_over(run.logits(rows[index])) - run.prior
        truth_p = log_softmax(scores[asked] + prior)[np.arange(len(asked)), labels[asked]]
        loss = -float(truth_p.mean()) if len(asked) else -float(epoch)
        if loss < best[0]:
            best = (loss, epoch, scores)
        if epoch - best[1] >= spec.patience:
            break
    return best[1], best[2]


def train(
    spec: Mlp, x: Array, labels: NDArray[np.int64], n_classes: int, epochs: int, seed: int
) -> list[tuple[Array, Array]]:
    """Weight (in, out) and bias (out,) of every dense layer after `epochs` epochs."""
    columns = 1 if n_classes == 2 else n_classes
    run = _Run(spec, torch.from_numpy(x), torch.from_numpy(labels), columns, seed)
    for _ in range(epochs):
        run.epoch()
    dense = [layer for layer in run.net if isinstance(layer, nn.Linear)]
    return [(d.weight.detach().numpy().T, d.bias.detach().numpy()) for d in dense]


def _network(spec: Mlp, dim: int, columns: int) -> nn.Sequential:
    steps: list[nn.Module] = []
    for width in spec.hidden:
        steps += [nn.Linear(dim, width), nn.ReLU(), nn.Dropout(spec.dropout)]
        dim = width
    return nn.Sequential(*steps, nn.Linear(dim, columns))


def _loss(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if out.shape[1] == 1:
        return nn.functional.binary_cross_entropy_with_logits(out[:, 0], y.float())
    return nn.functional.cross_entropy(out, y)
