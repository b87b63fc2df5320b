"""Head, calibration and scores for rows that changed: what is exact, and what needs rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft import heads
from regraft.change.opened import Opened
from regraft.data.split import joined
from regraft.errors import DataError, HeadError
from regraft.evaluate import evaluate
from regraft.heads.calibrate import Calibration, balanced, with_absent
from regraft.heads.fitted import FittedHead, fit_head
from regraft.heads.layers import Layers
from regraft.heads.lift import Lifted
from regraft.heads.rows import Rows
from regraft.heads.sums import Sums
from regraft.ledger import TEST, TRAIN, VAL, Ledger, Row
from regraft.model import Model
from regraft.parts import NONE

UNKNOWN = "not measured"
CAME = "test images that came later"


@dataclass(frozen=True)
class Rebuilt:
    """A run after a change.

    Attributes:
        model: with its scores.
        sums: of the rows it learned from; None where the head has none.
        recalibrated: whether calibration and validation are those of the rows as they are now.
        notes: what could not be made again, and what to do: a sentence each.
    """

    model: Model
    sums: Sums | None
    recalibrated: bool
    notes: tuple[str, ...] = ()


@dataclass
class _Work:
    """A change on its way: the run as it was, and the rows and sums as they are to be."""

    run: Opened
    rows: Ledger
    sums: Sums | None
    fallback: Calibration | None
    tune: bool
    notes: list[str] = field(default_factory=list)


def rebuild(
    run: Opened,
    rows: Ledger,
    sums: Sums | None,
    fallback: Calibration | None,
    *,
    tune: bool = False,
) -> Rebuilt:
    """The run with other rows, at the same penalty.

    Args:
        run: as it was.
        rows: as they are to be.
        sums: of the learned rows, for a ridge head.
        fallback: the calibration where rows are missing; None for that of the shares of the
            classes and the spread of the scores, which follow from the sums alone.
        tune: choose the penalty, or whatever the head has, again.

    Raises:
        DataError: fewer than two classes are left.
        HeadError: rows are missing, and the head or `tune` needs them.
    """
    if len(rows.classes) < 2:
        left = f"only '{rows.classes[0]}'" if rows.classes else "none"
        raise DataError(f"a model needs at least two classes, and {left} would be left.")
    work = _Work(run, rows, sums, fallback, tune)
    same = [(r.digest, r.label) for r in rows.learned] == [
        (r.digest, r.label) for r in run.ledger.learned
    ]
    known = run.model.metrics.get("validation")
    fresh = bool(known and known["n"])
    if same and not tune and (fresh or run.lacking([row.digest for row in rows.learned])):
        head = run.model.head
    else:
        head, known, fresh = _head(work)
    scores = {
        "train": {"n": len(rows.learned)},
        "validation": known,
        "test": _test(work, head),
        "test_part": _test_part(run, rows),
    }
    trained = rows.digests(TRAIN, VAL)
    model = replace(
        run.model, head=head, classes=rows.classes, metrics=scores, trained=frozenset(trained)
    )
    kept = sums if work.sums is None else replace(work.sums, settings=head.settings)
    return Rebuilt(model, kept, fresh, tuple(work.notes))


def _head(work: _Work) -> tuple[FittedHead, dict[str, Any] | None, bool]:
    """The head, what is known of its validation, and whether that is of these rows."""
    run, learned = work.run, work.rows.learned
    missing = set(run.lacking([row.digest for row in learned]))
    if not missing:
        return _from_rows(work)
    told = f"the activations of {len(missing)} of {len(learned)} files are no longer cached"
    if work.tune:
        raise HeadError(
            f"choosing the penalty again needs all rows, and {told}; fit the data again."
        )
    if work.sums is None:
        raise HeadError(
            f"the head '{run.model.head.name}' needs all rows to be solved again, and {told}; fit "
            "the data again, with --head ridge for a run that can change without its rows."
        )
    layers = work.sums.solve()
    calibration = work.fallback or work.sums.neutral(layers, run.balance)
    kind = (
        "the one before, moved to the new shares of the classes"
        if work.fallback
        else "that of the classes' shares alone"
    )
    work.notes.append(
        f"{told[0].upper()}{told[1:]}: the weights are exact, the calibration is {kind}, and "
        "nothing could be validated; fit the data again for both."
    )
    head = FittedHead("ridge", layers, calibration, dict(work.sums.settings))
    empty = {"kind": UNKNOWN, "n": 0, "accuracy": None, "log_loss": None}
    return head, empty, False


def _from_rows(work: _Work) -> tuple[FittedHead, dict[str, Any] | None, bool]:
    """Solved, calibrated and validated on the cached rows."""
    run, sums, rows = work.run, work.sums, work.rows
    old = run.model.head
    settings = dict(old.settings)
    if sums is not None:
        settings["lift"] = 0  # the lift, if there is one, is fixed and done before
    if work.tune:
        options = {} if old.name != "mlp" else {"hidden": settings["hidden"]}
        made = heads.head(old.name, **options)
    else:
        made = heads.settled(old.name, settings)
    held = calibrated_on(rows)
    train = rows.part(TRAIN) if held else rows.learned
    x = _rows(work, train)
    fitted = fit_head(
        old.name,
        made,
        x,
        _numbers(train, rows.classes),
        len(rows.classes),
        seed=run.model.seed,
        groups=together(train),
        validation=(_rows(work, held), _numbers(held, rows.classes)) if held else None,
        balance=run.balance,
    )
    if sums is not None:
        chosen = {**fitted.settings, "lift": old.settings.get("lift", 0)}
        work.sums = replace(sums, settings=chosen)
        # The rows and their sums give one head, to rounding: that of the rows is there already.
        layers = Layers((*sums.before, *fitted.layers.chain))
        fitted = replace(fitted, layers=layers, settings=chosen)
    seen = fitted.validation
    return fitted, None if seen is None else seen.json(), True


def _rows(work: _Work, rows: Sequence[Row]) -> Rows:
    """(N, D) what the last layer reads of rows that are cached."""
    x = work.run.rows([row.digest for row in rows])
    sums = work.sums
    return Lifted(x, sums.before, len(sums.moments.x)) if sums and sums.before else x


def _test(work: _Work, head: FittedHead) -> dict[str, Any] | None:
    """Scores on the test rows, None if there are none or their activations are gone."""
    rows = work.rows.part(TEST)
    missing = set(work.run.lacking([row.digest for row in rows]))
    if missing:
        work.notes.append(
            f"The activations of {len(missing)} of {len(rows)} test files are no longer cached, "
            "so there is no test score; regraft evaluate gives one."
        )
    if missing or not rows:
        return None
    if not {row.label for row in rows} & set(work.rows.classes):
        work.notes.append("No test file has a class that is left, so there is no test score.")
        return None
    p = head.probabilities(work.run.rows([row.digest for row in rows]))
    return evaluate(p, [row.label for row in rows], work.rows.classes).json()


def _test_part(run: Opened, rows: Ledger) -> str:
    """Where the test rows come from: what the fit said, as far as it is still so."""
    old, now = run.ledger.digests(TEST), rows.digests(TEST)
    told = str(run.model.metrics.get("test_part", ""))
    if not now:
        return NONE
    if not old & now:
        return CAME
    return told if now <= old or told.endswith(CAME) else f"{told} and {CAME}"


def _numbers(rows: Sequence[Row], classes: tuple[str, ...]) -> NDArray[np.int64]:
    place = {name: number for number, name in enumerate(classes)}
    return np.array([place[row.label] for row in rows], np.int64)


def together(rows: Sequence[Row]) -> NDArray[np.int64] | None:
    """(N,) equal for rows that are left out together, None if no two are."""
    columns: list[list[Any]] = [[row.digest for row in rows]]
    columns.append([row.kin if row.kin >= 0 else (n,) for n, row in enumerate(rows)])
    columns.append([row.group or n for n, row in enumerate(rows)])
    _, numbers = np.unique(joined(columns), return_inverse=True)
    return None if len(set(numbers.tolist())) == len(rows) else numbers.astype(np.int64)


def calibrated_on(rows: Ledger) -> tuple[Row, ...]:
    """The rows held out to calibrate on, as a fit has them; none where they alone have a class."""
    train = {row.label for row in rows.part(TRAIN)}
    return rows.part(VAL) if train == set(rows.classes) else ()


def shares(rows: Ledger, classes: Sequence[str]) -> NDArray[np.float64]:
    """(K,) how many rows of each class a run was calibrated on, see `with_absent`."""

    def counts(some: Sequence[Row]) -> NDArray[np.float64]:
        found = Counter(row.label for row in some)
        return np.array([found[name] for name in classes], np.float64)

    held = calibrated_on(rows)
    return with_absent(counts(held), counts(rows.part(TRAIN))) if held else counts(rows.learned)


def carried(runs: Sequence[Opened], rows: Ledger) -> Calibration:
    """The calibrations of `runs`, moved to the shares of the classes in `rows`.

    A bias is the logarithm of a class's share and what was learned beyond it; the first follows
    from the counts, the second is the mean over the runs that know the class, weighted by their
    rows, and nothing for a class that none knows. The sharpness is their geometric mean.
    """
    classes = rows.classes
    beyond, weight = np.zeros(len(classes)), np.zeros(len(classes))
    sharpness = total = 0.0
    for run in runs:
        held, n = run.model.head.calibration, float(len(run.ledger.learned))
        own = held.bias - balanced(shares(run.ledger, run.model.classes), run.balance)
        place = [classes.index(name) for name in run.model.classes if name in classes]
        known = [k for k, name in enumerate(run.model.classes) if name in classes]
        beyond[place] += n * own[known]
        weight[place] += n
        sharpness, total = sharpness + n * np.log(held.sharpness), total + n
    bias = balanced(shares(rows, classes), runs[0].balance)
    bias = bias + np.where(weight > 0, beyond / np.maximum(weight, 1.0), 0.0)
    return Calibration(float(np.exp(sharpness / total)), bias)


def fresh_sums(run: Opened, rows: Sequence[Row]) -> Sums | None:
    """The sums of rows that are all cached, taken anew; None if one is missing."""
    if run.sums is None or run.lacking([row.digest for row in rows]):
        return None
    return run.sums.of(run.rows([row.digest for row in rows]), [row.label for row in rows])
