"""Small runs to change, and whether they are those of a fit on their rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

import regraft
from regraft import heads
from regraft.backbones import Backbone
from regraft.change.opened import Opened, open_run
from regraft.change.rebuild import together
from regraft.data import Dataset
from regraft.heads.fitted import FittedHead
from tests.pictures import CLASSES, picture


def draw(
    folder: Path, *, first: int = 0, count: int = 6, classes: tuple[str, ...] = CLASSES
) -> Path:
    """Class folders with pictures number `first` and on."""
    for kind in classes:
        home = folder / kind
        home.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            picture(kind, number).save(home / f"{number:03d}.png")
    return folder


def parted(folder: Path, *, train: int = 8, test: int = 3) -> Path:
    """Training and test parts with different pictures."""
    draw(folder / "train", count=train)
    draw(folder / "test", first=900, count=test)
    return folder


def forget(cache: Path) -> None:
    """Empty the activations."""
    shutil.rmtree(cache / "activations", ignore_errors=True)


def fresh(run: Opened, net: Backbone) -> FittedHead:
    """The head of a fit on the run's rows, from activations that are all cached."""
    train = run.ledger.learned
    numbers = np.array([run.model.classes.index(row.label) for row in train])
    settings = run.model.head.settings
    return heads.fit(
        "ridge",
        run.rows([row.digest for row in train]),
        numbers,
        len(run.model.classes),
        groups=together(train),
        penalty=settings["penalty"],
        balance=run.balance,
    )


def check_exact(folder: Path, net: Backbone, everything: Path | Dataset) -> Opened:
    """Whether the run in `folder` is that of a fit on its rows; returns it.

    The activations that were forgotten are made again from `everything`.
    """
    regraft.load(folder, backbone=net).predict(everything)
    run = open_run(folder, net)
    other = fresh(run, net)
    mine, theirs = run.model.head, other
    x = run.rows([row.digest for row in run.ledger.learned])
    scores = theirs.scores(x)
    assert np.abs(mine.scores(x) - scores).max() < 2e-5 * np.abs(scores).max()
    assert run.sums is not None
    assert run.sums.counts == {
        name: sum(row.label == name for row in run.ledger.learned) for name in run.model.classes
    }
    assert run.model.metrics["train"]["n"] == len(run.ledger.learned)
    return run


def last(run: regraft.run.Run) -> dict:
    return run.report["changes"][-1]


def small_copy(of: Path, to: Path) -> None:
    """The same picture at three quarters of its size."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(of) as image:
        image.resize((36, 36), Image.Resampling.BICUBIC).save(to)
