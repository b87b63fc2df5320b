"""Less memory for more time: keep only what goes into each stage, compute the rest again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from regraft.stages import Flow

NORMS = nn.modules.batchnorm._NormBase


def run(stages: Sequence[nn.Module], flow: Flow) -> Flow:
    """Run stages in order; on the way back each is computed again from the flow into it.

    The gradients are the same to the bit, dropout included, and so are BatchNorm's statistics
    (Chen et al. 2016, arXiv:1604.06174).

    Args:
        stages: each takes a flow and gives one.
        flow: a tensor (B, …), or a tuple that begins with one.
    """
    for stage in stages:
        contexts = partial(_passes, stage)
        flow = checkpoint(stage, flow, use_reentrant=False, context_fn=contexts)
    return flow


def _passes(stage: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What the first pass of a stage runs in, and what the second one."""
    return nullcontext(), _counted_once(stage)


@contextmanager
def _counted_once(stage: nn.Module) -> Iterator[None]:
    """BatchNorm learns nothing more of a batch that it has seen already."""
    norms = [m for m in stage.modules() if isinstance(m, NORMS) and m.training]
    held = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, held, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
