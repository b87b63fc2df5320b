"""A plan is a tuple of phases; a phase is plain data: from which stage up to train, and how."""

from __future__ import annotations

from dataclasses import dataclass, field

#: What is trained of the stages above the cut: all of it, or an adapter in its place.
ADAPTERS = ("", "lora", "bitfit", "norm")
SCHEDULES = ("cosine", "constant")


def setting(default: object, help: str, paper: str = "") -> object:
    """A field of a phase or a recipe: its default, what it does, and where it comes from."""
    return field(default=default, metadata={"help": help, "paper": paper})


@dataclass(frozen=True)
class Phase:
    """One phase of a plan.

    `backbone[:cut]` is frozen, `backbone[cut:]` up to `at` and the head are trained. Later phases
    may only lower the cut. A phase that solves fits the head in closed form and has no epochs; its
    cut is 'end'.
    """

    cut: int | str = setting("end", "First stage that is trained; 'end' trains the head alone.")  # type: ignore[assignment]
    epochs: int = setting(0, "Passes over the training rows; 0 only where the head is solved.")  # type: ignore[assignment]
    lr: float = setting(1e-3, "Learning rate of the head, and of the topmost stage.")  # type: ignore[assignment]
    solve: bool = setting(False, "Solve the head in closed form instead of training it.")  # type: ignore[assignment]
    decay: float = setting(  # type: ignore[assignment]
        1.0,
        "Each stage's learning rate is this times that of the stage above.",
        "Howard & Ruder 2018, arXiv:1801.06146",
    )
    warmup: float = setting(0.1, "Share of the phase's steps over which the rate rises from 0.")  # type: ignore[assignment]
    schedule: str = setting("cosine", "How the rate falls after that: cosine or constant.")  # type: ignore[assignment]
    patience: int = setting(3, "Epochs without a better validation before it stops; 0 never.")  # type: ignore[assignment]
    only: str = setting("", "Patterns, with commas, of the tensors to train; all if empty.")  # type: ignore[assignment]
    adapter: str = setting("", "lora, bitfit or norm: train only that above the cut.")  # type: ignore[assignment]
    rank: int = setting(8, "Rank of LoRA's matrices.", "Hu et al. 2022, arXiv:2106.09685")  # type: ignore[assignment]
    scratch: bool = setting(False, "Begin with random weights above the cut, for comparison.")  # type: ignore[assignment]
