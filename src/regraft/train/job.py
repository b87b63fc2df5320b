"""What a training needs, gathered: the module, the plan, the rows, and where to compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from regraft.plans import Phase, Recipe
from regraft.train.above import Above

if TYPE_CHECKING:
    from regraft.flows import Flows

Watch = Callable[[dict[str, Any]], None]


class Guard(Protocol):
    """Something that holds training back, see `regraft.train.keep`."""

    def loss(
        self, features: torch.Tensor, rows: NDArray[np.intp], views: NDArray[np.intp]
    ) -> torch.Tensor | None:
        """What is added to a batch's loss; None if nothing is."""

    def pull(self) -> float:
        """Add to the gradients after the backward pass; the penalty's value."""


@dataclass(frozen=True)
class Part:
    """Rows to train or to validate on.

    Attributes:
        flows: for each cut of the plan the flows of all rows.
        labels: (N,) int64.
        names: of the rows, for messages.
    """

    flows: Mapping[int, Flows]
    labels: NDArray[np.int64]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Job:
    """A training, resolved.

    Attributes:
        above: what is trained; it is changed in place.
        plan: phases whose cuts are numbers.
        recipe: what holds for all of them.
        train: rows to learn from.
        val: rows to choose on.
        n_classes: K.
        solved: whether the head is a solved one, so that there is something to keep.
        seed: of the order of rows, views, dropout and mixing.
        device: where to compute.
        amp: 'f32' or 'bf16'.
        memory: 'contiguous' or 'channels_last'.
        guards: makes what holds the weights of a phase near where they were.
        trained: for each phase the names of the parameters that it trains.
    """

    above: Above
    plan: tuple[Phase, ...]
    recipe: Recipe
    train: Part
    val: Part
    n_classes: int
    seed: int
    solved: bool = False
    device: str = "cpu"
    amp: str = "f32"
    memory: str = "contiguous"
    guards: Callable[[Job, int], tuple[Guard, ...]] = lambda job, phase: ()
    trained: tuple[tuple[str, ...], ...] = field(default=())

    def send(self, batch: tuple[np.ndarray, ...]) -> Any:
        """A batch of flows on the device, in the memory format that was chosen."""
        sent = tuple(self._send(array) for array in batch)
        return sent[0] if len(sent) == 1 else sent

    def _send(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self.device.startswith("cuda"):
            tensor = tensor.pin_memory().to(self.device, non_blocking=True)
        elif self.device != "cpu":
            tensor = tensor.to(self.device)
        if tensor.dtype != torch.uint8:
            tensor = tensor.float()
        if self.memory == "channels_last" and tensor.ndim == 4 and tensor.is_floating_point():
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def autocast(self) -> torch.autocast:
        """The precision of the forward pass."""
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.amp == "bf16")
