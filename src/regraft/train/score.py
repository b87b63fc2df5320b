"""How good the module is on rows that it does not learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regraft.heads.calibrate import Calibration, calibrate
from regraft.heads.newton import log_softmax
from regraft.train.job import Job, Part

BATCH = 64
#: Fewer validation rows, in all and per class, do not choose a temperature.
LEAST_ROWS, LEAST_PER_CLASS = 16, 3


@dataclass(frozen=True)
class Score:
    """Scores of the validation rows.

    Attributes:
        accuracy: share of rows whose class has the highest logit.
        log_loss: mean negative log-probability of the true class at the temperature that suits
            these rows best: training is stopped by what the model can tell apart, and how sure
            it is gets mended afterwards.
        raw_loss: the same at the temperature that training gave it.
    """

    accuracy: float
    log_loss: float
    raw_loss: float

    def json(self) -> dict[str, Any]:
        """Plain data."""
        return {"accuracy": self.accuracy, "log_loss": self.log_loss, "raw_loss": self.raw_loss}


def logits_of(job: Job, part: Part, cut: int) -> NDArray[np.float32]:
    """(N, K) logits of the plain pictures of a part, in eval mode."""
    job.above.eval()
    out = np.empty((len(part), job.n_classes), np.float32)
    plain = part.flows[cut]
    with torch.inference_mode(), job.autocast():
        for start in range(0, len(part), BATCH):
            index = np.arange(start, min(start + BATCH, len(part)))
            flow = job.send(plain.read(index, -1))
            out[index] = job.above(flow, cut).float().cpu().numpy()
    return out


def score(job: Job, part: Part, cut: int) -> Score:
    """The `Score` of a part."""
    return score_of(logits_of(job, part, cut), part.labels)


def temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """The temperature (no bias) that suits rows best, (M, K) and (M,).

    Rows that are too few to tell leave the logits as they are.
    """
    k = logits.shape[1]
    if len(labels) < max(LEAST_ROWS, LEAST_PER_CLASS * k):
        return Calibration(1.0, np.zeros(k))
    return calibrate(logits, labels, bias=False)


def losses_of(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(M,) the loss of each row, at the temperature that suits the rows best."""
    wide = temperature(logits, labels).logits(logits)
    return np.asarray(-log_softmax(wide)[np.arange(len(labels)), labels])


def score_of(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
    """The `Score` of logits (N, K); where some are no numbers it is infinitely bad."""
    if not np.isfinite(logits).all():
        return Score(0.0, float("inf"), float("inf"))
    accuracy = float((logits.argmax(axis=1) == labels).mean())
    raw = -log_softmax(np.asarray(logits, np.float64))[np.arange(len(labels)), labels]
    return Score(accuracy, float(losses_of(logits, labels).mean()), float(raw.mean()))
