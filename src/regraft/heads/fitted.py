"""A head from rows and labels, with scores on rows it had not seen: one rule for every kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.errors import HeadError
from regraft.heads.calibrate import Calibration, balanced, calibrate, with_absent
from regraft.heads.layers import Layers, checked_array, restore
from regraft.heads.rows import Rows, Stacked, check_examples, check_groups

if TYPE_CHECKING:
    from torch import nn

LEAVE_ONE_OUT, LEAVE_GROUP_OUT = "leave-one-out", "leave-group-out"
K_FOLD, HELD_OUT = "k-fold", "held out"


@dataclass(frozen=True)
class HeldOut:
    """Rows that settings are chosen and calibrated on: (M, D) and (M,)."""

    rows: Rows
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Tuned:
    """What a head learned about its settings.

    Attributes:
        settings: plain data that `Head.solve` takes.
        scores: (n, K) float32, each row scored by a head that was fitted without it; evidence, so
            without the head's own idea of how common the classes are.
        kind: how: 'leave-one-out', 'leave-group-out', 'k-fold' or 'held out'.
        layers: the head fitted on all rows with these settings, where that came along for free.
        fair: (n,) the rows that may calibrate and count: those whose class was not left out with
            them, see `regraft.heads.folds.fair`; all if None.
    """

    settings: dict[str, Any]
    scores: NDArray[np.float32]
    kind: str
    layers: Layers | None = None
    fair: NDArray[np.bool_] | None = None


class Head(Protocol):
    """One kind of head. A new one is a class with these two functions and a line in `HEADS`."""

    def tune(
        self,
        rows: Rows,
        labels: NDArray[np.int64],
        n_classes: int,
        *,
        seed: int,
        groups: NDArray[Any] | None,
        held_out: HeldOut | None,
    ) -> Tuned:
        """Choose the settings on `held_out`, or by leaving out parts of `rows`.

        Args:
            rows: (N, D) float32, perhaps larger than memory.
            labels: (N,) in 0..n_classes-1, each class at least once.
            n_classes: K >= 2.
            seed: of whatever is random, any whole number from 0.
            groups: (N,) rows with one value stay together when some are left out.
            held_out: rows to choose on instead.
        """

    def solve(
        self,
        rows: Rows,
        labels: NDArray[np.int64],
        n_classes: int,
        settings: Mapping[str, Any],
        *,
        seed: int,
    ) -> Layers:
        """The head with these settings, fitted on all of `rows`."""


@dataclass(frozen=True)
class Validation:
    """How good a head is on rows that it had not seen.

    Its settings and its K + 1 calibration numbers were chosen on the same rows, so it is a little
    kinder than a test on rows that nobody looked at. Rows that are alone in their class are not
    among them: once they are left out nothing knows their class. With one row per class none is
    left.

    Attributes:
        kind: 'leave-one-out', 'leave-group-out', 'k-fold' or 'held out'.
        n: rows scored; may be 0.
        rows: (n,) their places among the rows given.
        scores: (n, K) float32 raw scores.
        labels: (n,) the truth.
        probabilities: (n, K) float32, calibrated.
        accuracy: share of rows whose class has the highest probability; None without rows.
        log_loss: mean negative log-probability of the true class; None without rows.
    """

    kind: str
    n: int
    rows: NDArray[np.intp]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    accuracy: float | None
    log_loss: float | None

    def json(self) -> dict[str, Any]:
        """What reports and bundles tell of it."""
        return {
            "kind": self.kind,
            "n": self.n,
            "accuracy": self.accuracy,
            "log_loss": self.log_loss,
        }

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(n,) which rows are right."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.labels)


@dataclass(frozen=True)
class FittedHead:
    """A head that answers.

    Attributes:
        name: its kind, a key of `HEADS`.
        layers: features to scores.
        calibration: scores to probabilities.
        settings: what was chosen, as plain data.
        validation: how good it is; None once it was stored and read back.
    """

    name: str
    layers: Layers
    calibration: Calibration
    settings: dict[str, Any]
    validation: Validation | None = None

    @property
    def dim(self) -> int:
        return self.layers.dim

    @property
    def n_classes(self) -> int:
        return self.layers.n_classes

    def scores(self, rows: Rows) -> NDArray[np.float32]:
        """(M, D) features to (M, K) raw scores."""
        return self.layers(rows)

    def probabilities(self, rows: Rows) -> NDArray[np.float32]:
        """(M, D) features to (M, K) calibrated probabilities; rows sum to 1."""
        return self.calibration.probabilities(self.layers(rows))

    def module(self) -> nn.Module:
        """(B, D) to (B, K) logits, the softmax of which is `probabilities`, for torch."""
        from regraft.heads.modules import build

        return build(self.layers, self.calibration)

    def config(self) -> dict[str, Any]:
        """All but the numbers, as plain data."""
        return {
            "name": self.name,
            "dim": self.dim,
            "n_classes": self.n_classes,
            "layers": self.layers.names(),
            "settings": self.settings,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The numbers, by name."""
        sharpness = np.array([self.calibration.sharpness])
        return {
            "calibration.sharpness": sharpness,
            "calibration.bias": self.calibration.bias,
        } | self.layers.arrays()

    @classmethod
    def from_arrays(
        cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> FittedHead:
        """The head that `config` and `arrays` were taken from; nothing in them is trusted.

        Raises:
            HeadError: a key, type, shape or value is not what it must be.
        """
        if set(config) != {"name", "dim", "n_classes", "layers", "settings"}:
            raise HeadError(f"A stored head has the wrong keys: {sorted(map(str, config))}.")
        if not isinstance(config["name"], str) or not isinstance(config["settings"], dict):
            raise HeadError("A stored head must have a name and a table of settings.")
        left = dict(arrays)
        double = np.dtype(np.float64)
        sharpness = checked_array(left, "calibration.sharpness", double, 1)
        bias = checked_array(left, "calibration.bias", double, 1)
        layers = restore(config["layers"], left)
        shape = (config["dim"], config["n_classes"])
        if shape != (layers.dim, layers.n_classes) or bias.shape != (layers.n_classes,):
            raise HeadError(f"A stored head says {shape} but its arrays have other sizes.")
        if sharpness.shape != (1,) or not sharpness[0] > 0:
            raise HeadError("A stored head must have one sharpness above 0.")
        calibration = Calibration(float(sharpness[0]), bias)
        return cls(config["name"], layers, calibration, dict(config["settings"]))


def fit_head(
    name: str,
    head: Head,
    rows: Rows,
    labels: NDArray[Any],
    n_classes: int,
    *,
    seed: int = 0,
    groups: NDArray[Any] | None = None,
    validation: tuple[Rows, NDArray[Any]] | None = None,
    balance: float = 0.0,
) -> FittedHead:
    """Tune, calibrate on scores of unseen rows, and fit on everything there is.

    With `validation` the settings and the calibration come from those rows, and the final head is
    fitted on `rows` and them together. Without it they come from leaving out parts of `rows`.

    `balance` is the share of the classes' rarity that answers are freed from, by logit adjustment
    (Menon et al., ICLR 2021): 0 gives honest probabilities where new rows are like these, 1 those
    of a world where all classes are equally common. In between it trades accuracy for balanced
    accuracy: at 8 to 200 photos per class, 0.5 moved them by -0.01 and +0.07.

    Raises:
        HeadError: shapes, labels, values or `balance` do not fit.
    """
    if not 0.0 <= balance <= 1.0:
        raise HeadError(f"balance must lie in 0..1, not {balance}.")
    labels = check_examples(rows, labels, n_classes)
    groups = check_groups(groups, labels)
    held = None if validation is None else _held_out(rows, *validation, n_classes)
    tuned = head.tune(rows, labels, n_classes, seed=seed, groups=groups, held_out=held)
    truth = labels if held is None else held.labels
    found = calibrate(tuned.scores, truth, fair=tuned.fair)
    counts = np.bincount(truth, minlength=n_classes)
    known = with_absent(counts, np.bincount(labels, minlength=n_classes))
    bias = found.bias + (balanced(known, balance) - balanced(counts, 0.0))
    calibration = Calibration(found.sharpness, bias)
    layers = tuned.layers
    if held is not None:
        everything = Stacked(rows, held.rows)
        every_label = np.concatenate([labels, held.labels])
        layers = head.solve(everything, every_label, n_classes, tuned.settings, seed=seed)
    elif layers is None:
        layers = head.solve(rows, labels, n_classes, tuned.settings, seed=seed)
    checked = validate(tuned, truth, calibration)
    return FittedHead(name, layers, calibration, tuned.settings, checked)


def validate(tuned: Tuned, truth: NDArray[np.int64], calibration: Calibration) -> Validation:
    """The `Validation` of the out-of-fold scores in `tuned`, whose labels are `truth` (n,)."""
    if tuned.fair is None or tuned.fair.all():
        rows, scores, labels = np.arange(len(truth)), tuned.scores, truth
    else:
        rows = np.flatnonzero(tuned.fair)
        scores, labels = tuned.scores[rows], truth[rows]
    p = calibration.probabilities(scores)
    accuracy = loss = None
    if len(rows):
        accuracy = float((p.argmax(axis=1) == labels).mean())
        loss = calibration.log_loss(scores, labels)
    return Validation(tuned.kind, len(rows), rows, scores, labels, p, accuracy, loss)


def _held_out(rows: Rows, held_rows: Rows, held_labels: NDArray[Any], n_classes: int) -> HeldOut:
    held_labels = np.asarray(held_labels)
    if held_rows.shape[1:] != rows.shape[1:] or held_labels.shape != (len(held_rows),):
        raise HeadError(
            f"validation must be rows (M, {rows.shape[1]}) and labels (M,), "
            f"not {tuple(held_rows.shape)} and {held_labels.shape}."
        )
    if not len(held_rows):
        raise HeadError("validation has no rows; leave it away or give it some.")
    if held_labels.dtype.kind not in "iu" or not (
        int(held_labels.min()) >= 0 and int(held_labels.max()) < n_classes
    ):
        raise HeadError(f"validation labels must be whole numbers in 0..{n_classes - 1}.")
    return HeldOut(held_rows, held_labels.astype(np.int64))
