"""What every engine promises, checked on two small trunks: for our own engines and for yours."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from regraft.engine import Activations, Engine, Trunk
from regraft.engine.reference import ReferenceEngine
from regraft.errors import EngineError
from regraft.inputs import ImageSpec, Row

#: Largest relative and absolute difference to the reference, of float32 activations near 1.
RELATIVE, ABSOLUTE = 1e-4, 1e-5


class TwoDepths(nn.Module):
    """uint8 images in; of two pooled depths, 'low' and 'high', the named ones out."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        torch.manual_seed(3)
        self.preamble = ImageSpec((16, 16)).preamble()
        self.low = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.high = nn.Sequential(nn.Conv2d(8, 5, 3, stride=2), nn.ReLU())

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        low = self.low(self.preamble(pixels))
        depths = {"low": low, "high": self.high(low)}
        return tuple(depths[name].mean((2, 3)) for name in self.names)


class Masked(nn.Module):
    """(tokens, padding mask) in: rows of two arrays pass through an engine as well as one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.embed = nn.Embedding(20, 6)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor]:
        weight = mask.float().unsqueeze(-1)
        return ((self.embed(ids) * weight).sum(1) / weight.sum(1),)


def image_trunk(*wanted: str) -> Trunk:
    """The outputs 'low' and 'high', or those that are wanted."""
    return Trunk(
        {"test": "two depths"},
        ("low", "high"),
        wanted or ("low", "high"),
        TwoDepths,
        ImageSpec((16, 16)).example(),
    )


def image_rows(count: int) -> list[Row]:
    """Noise pictures, (16, 16, 3) uint8 each."""
    random = np.random.default_rng(0)
    return [(random.integers(0, 256, (16, 16, 3), np.uint8),) for _ in range(count)]


def token_trunk() -> Trunk:
    """One output; rows of two arrays."""
    example = (np.zeros(7, np.int64), np.ones(7, np.int64))
    return Trunk({"test": "masked"}, ("000",), ("000",), lambda names: Masked(), example)


def token_rows(count: int) -> list[Row]:
    """Word numbers and their mask, (7,) int64 each."""
    random = np.random.default_rng(1)
    ids = random.integers(0, 20, (count, 7))
    mask = np.arange(7) < random.integers(1, 8, (count, 1))
    return [(i, m.astype(np.int64)) for i, m in zip(ids, mask, strict=True)]


def check_engine(engine: Engine, device: str = "cpu") -> None:
    """Check an engine's promises on noise.

    1. Activations are float32, in the order of the rows, and those of the reference.
    2. The wanted outputs come in the order that was asked for, and only they.
    3. A row's bits depend neither on its batch-mates nor on the number of threads.
    4. Rows may consist of several arrays; no rows give no activations.

    Raises:
        EngineError: names the first promise that is broken.
    """
    with tempfile.TemporaryDirectory() as home:
        for name, trunk, rows in (
            ("pictures", image_trunk, image_rows(19)),  # no multiple of any batch size
            ("rows of two arrays", token_trunk, token_rows(11)),
        ):
            truth = _run(ReferenceEngine(), trunk(), rows, Path(home) / "truth", "cpu")
            got = _run(engine, trunk(), rows, Path(home) / name, device)
            _same(engine, f"on {name} it", got, truth, exactly=False)
        made = Path(home) / "pictures"
        rows = image_rows(9)
        both = _run(engine, image_trunk("high", "low"), rows, made, device)
        right = _run(ReferenceEngine(), image_trunk("high", "low"), rows, made, "cpu")
        _same(engine, "asked for two outputs in another order it", both, right, exactly=False)
        one = _run(engine, image_trunk("high"), rows, made, device)
        _same(engine, "asked for one output it", one, [(row[0],) for row in right], exactly=False)
        alone = _run(engine, image_trunk("high"), rows[4:5], made, device, threads=1)
        _same(engine, "a row on its own", alone, one[4:5], exactly=True)
        _same(engine, "without rows it", _run(engine, image_trunk(), [], made, device), [], True)


def _run(
    engine: Engine, trunk: Trunk, rows: list[Row], folder: Path, device: str, threads: int = 2
) -> list[Activations]:
    exact = engine.precisions(device)[0]
    session = engine.open(trunk, folder, device=device, precision=exact, threads=threads)
    return list(session.run(iter(rows)))


def _same(
    engine: Engine,
    what: str,
    got: list[Activations],
    truth: list[Activations],
    exactly: bool,
) -> None:
    close: Callable[[np.ndarray, np.ndarray], bool] = np.array_equal
    if not exactly:
        close = _close
    same = len(got) == len(truth) and all(
        len(ours) == len(theirs)
        and all(
            a.dtype == np.float32 and a.shape == b.shape and close(a, b)
            for a, b in zip(ours, theirs, strict=True)
        )
        for ours, theirs in zip(got, truth, strict=True)
    )
    if not same:
        raise EngineError(f"engine '{engine.name}': {what} gives other activations than it must.")


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.allclose(a, b, rtol=RELATIVE, atol=ABSOLUTE))
