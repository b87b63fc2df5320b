"""Stages compiled for the batches that they are trained on: torch.compile (Ansel et al. 2024)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from regraft.stages import Flow, Stage
from regraft.train.memory import is_out_of_memory

log = logging.getLogger("regraft")
#: Variants of one function that torch keeps before it gives compiling up: a plan has few phases.
VARIANTS = 64
SHOWN = 200  # characters of what it says when it fails


def briefly(problem: Exception) -> str:
    """What failed, in one line: compilers say a lot."""
    return " ".join(str(problem).split())[:SHOWN]


def through(steps: Sequence[Stage], flow: Flow) -> Flow:
    """What stages, one after the other, make of a flow."""
    for stage in steps:
        flow = stage(flow)
    return flow


class Chains:
    """Compiled chains of stages, by the index of the first.

    Other batch sizes would be compiled again and again: only what has the usual number of rows
    should come here. Random numbers are drawn as eager torch draws them.

    Attributes:
        failed: why nothing is compiled any more, '' while all is well.
    """

    def __init__(self) -> None:
        self.failed = ""
        self._made: dict[int, Callable[[Flow], Flow]] = {}

    def run(self, steps: Sequence[Stage], flow: Flow) -> Flow:
        """What the stages make of a flow; computed eagerly, and said once, if compiling fails."""
        if self.failed:
            return through(steps, flow)
        try:
            return self._chain(steps)(flow)
        except RuntimeError as problem:
            if is_out_of_memory(problem):
                raise
            self._give_up(problem)
        return through(steps, flow)

    def gave_up(self, problem: RuntimeError) -> bool:
        """Whether compiling may have failed, so that the same is to be tried without it.

        The way back through a chain is compiled only when it is gone, outside of `run`.
        """
        if self.failed or not self._made or is_out_of_memory(problem):
            return False
        self._give_up(problem)
        return True

    def _give_up(self, problem: RuntimeError) -> None:
        self.failed = briefly(problem)
        log.warning("torch.compile failed, so training goes on without it: %s", self.failed)

    def _chain(self, steps: Sequence[Stage]) -> Callable[[Flow], Flow]:
        first = steps[0].info.index
        if first not in self._made:
            from torch._dynamo import config

            config.recompile_limit = max(config.recompile_limit, VARIANTS)

            def chain(flow: Flow) -> Flow:
                return through(steps, flow)

            # What is compiled has its threads written into it: they belong to what is cached.
            options: dict[str, Any] = {
                "fallback_random": True,
                "cpp.threads": torch.get_num_threads(),
            }
            self._made[first] = torch.compile(chain, dynamic=False, options=options)
        return self._made[first]
