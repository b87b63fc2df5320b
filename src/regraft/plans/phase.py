"""A plan is a tuple of phases; a phase is plain data: from which stage up to train, and how."""

from __future__ import annotations

from dataclasses import dataclass

from regraft.plans.setting import setting

#: What is trained of the stages above the cut: all of it, or an adapter in its place.
ADAPTERS = ("", "lora", "bitfit", "norm")
SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class Phase:
    """One phase of a plan.

    `backbone[:cut]` is frozen, `backbone[cut:]` up to `at` and the head are trained. Later phases
    may only lower the cut. A phase that solves fits the head in closed form and has no epochs; its
    cut is 'end'. Before training every cut becomes a number (`regraft.plans.resolve`).
    """

    cut: int | str = setting(
        "end",
        "First stage that is trained: a name, a number, end (only the head), auto, top:3 or "
        "top:30% (the highest stages), group:1 (the highest group of stages), last:20 (layers), "
        "layer:15 (from that layer on).",
    )
    epochs: int = setting(
        0, "Passes over the training rows; 0 only where the head is solved.", least=0
    )
    lr: float = setting(
        1e-3,
        "Learning rate of the head and the highest stage; 0 has a range test find it.",
        "Smith 2017, arXiv:1506.01186",
        least=0,
    )
    solve: bool = setting(False, "Solve the head in closed form instead of training it.")
    decay: float = setting(
        1.0,
        "Each stage's learning rate is this times that of the stage above.",
        "Howard & Ruder 2018, arXiv:1801.06146",
        above=0,
        most=1,
    )
    warmup: float = setting(
        0.1,
        "Share of the phase's steps over which the rate rises from 0.",
        "Goyal et al. 2017, arXiv:1706.02677",
        least=0,
        below=1,
    )
    schedule: str = setting(
        "cosine",
        "How the rate falls after that: cosine or constant.",
        "Loshchilov & Hutter 2017, arXiv:1608.03983",
        among=SCHEDULES,
    )
    patience: int = setting(
        3, "Epochs without a better validation before it stops; 0 never.", "Prechelt 1998", least=0
    )
    only: str = setting("", "Patterns, with commas, of the tensors to train; all if empty.")
    adapter: str = setting(
        "",
        "lora, bitfit or norm: train only that above the cut, and the head.",
        "Hu et al. 2022, arXiv:2106.09685; Ben Zaken et al. 2022, arXiv:2106.10199",
        among=ADAPTERS,
    )
    rank: int = setting(8, "Rank of LoRA's matrices.", "Hu et al. 2022, arXiv:2106.09685", least=1)
    scratch: bool = setting(False, "Begin with random weights above the cut, for comparison.")
