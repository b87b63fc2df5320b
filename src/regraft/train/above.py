"""What is trained: the stages above the cut, the pool, and the head, as one module.

flow at stage `start` ─► stages[start:] ─► pool ─► head ─► logits
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from regraft.backbones import Backbone
from regraft.heads.layers import Layers
from regraft.heads.modules import chain_module
from regraft.stages import Flow, Stage, Stages, pool
from regraft.train.compiled import Chains, through

#: Layers that keep running statistics of what they see.
NORMS = nn.modules.batchnorm._NormBase
#: Before the names of the head's tensors; no module of a network can be called so.
HEAD = "head:"


class Above(nn.Module):
    """A copy of `backbone[first : at + 1]` with a pool and a head; the backbone stays as it is.

    Attributes:
        first: index in the backbone of the lowest stage that is here.
        at: index of the stage whose pooled output the head reads.
        stages: the copied stages.
        head: (B, D) to (B, K) logits.
        names: of the backbone's stages up to `at`.
        layouts: of the flow into each stage, in order.
        preamble: from rows to the input of stage 0; only where `first` is 0.
        cut: the first stage that is trained now; those below it stay in eval mode.
        keep_statistics: whether BatchNorm stays in eval mode above the cut too.
        recompute: whether activations are computed again on the way back, to need less memory.
        compiled: rows of the batches that are trained on with torch.compile; 0 compiles nothing.
        dropout: share of the pooled features that training sets to 0.
    """

    def __init__(self, backbone: Backbone, first: int, at: int, head: Layers) -> None:
        super().__init__()
        self.first, self.at, self.cut = first, at, first
        self.stages: Stages = copy.deepcopy(backbone[first : at + 1])
        self.head = chain_module(head)
        self.preamble = backbone.input.preamble() if first == 0 else None
        self.info = backbone.info.stages[at]
        self.names = [stage.name for stage in backbone.info.stages[: at + 1]]
        first_layout = "NCHW" if backbone.input.modality == "image" else "NLC"
        self.layouts = [first_layout, *(stage.layout for stage in backbone.info.stages)]
        self.keep_statistics = True
        self.recompute = False
        self.compiled = 0
        self._chains = Chains()
        self.dropout = 0.0
        self.eval()

    @property
    def uncompiled(self) -> str:
        """Why torch.compile failed here, '' if it did not."""
        return self._chains.failed

    def gave_up(self, problem: RuntimeError) -> bool:
        """See `regraft.train.compiled.Chains.gave_up`."""
        return self._chains.gave_up(problem)

    def prepared(self, rows: Flow) -> Flow:
        """What goes into stage 0, from a batch of rows."""
        if self.preamble is None:
            return rows
        return self.preamble(*rows) if isinstance(rows, tuple) else self.preamble(rows)

    def layout_at(self, cut: int) -> str:
        """How the flow that goes into stage `cut` is laid out: 'NCHW', 'NLC', …"""
        return self.layouts[cut]

    def features(self, flow: Flow, start: int, *, prepared: bool = False) -> torch.Tensor:
        """The pooled features (B, D) of a flow that goes into stage `start`.

        At stage 0 these are rows as the decoder gives them, unless they are `prepared`.
        """
        if start == 0 and not prepared:
            flow = self.prepared(flow)
        steps = list(self.stages)[start - self.first :]
        return pool(self._run(steps, flow), self.info)

    def _run(self, steps: list[Stage], flow: Flow) -> Flow:
        """What the stages make of a flow; as it is trained, if it is."""
        learning = self.training and torch.is_grad_enabled()
        if learning and self.recompute:
            from regraft.train.recompute import run

            return run(steps, flow)
        rows = len(flow[0] if isinstance(flow, tuple) else flow)
        if learning and rows == 1 and not self.keep_statistics:
            return self._one_row(steps, flow)
        if learning and steps and rows == self.compiled:
            return self._chains.run(steps, flow)
        return through(steps, flow)

    def _one_row(self, steps: list[Stage], flow: Flow) -> Flow:
        """A last batch of one row has no spread: BatchNorm goes by what it counted so far."""
        counting = [m for s in steps for m in s.modules() if isinstance(m, NORMS) and m.training]
        for module in counting:
            module.eval()
        try:
            return through(steps, flow)
        finally:
            for module in counting:
                module.train()

    def counts(self) -> bool:
        """Whether training updates the statistics of some BatchNorm."""
        return not self.keep_statistics and any(isinstance(m, NORMS) for m in self.stages.modules())

    def forward(self, flow: Flow, start: int) -> torch.Tensor:
        """Logits (B, K) of a flow that goes into stage `start`: `at + 1` is the head alone."""
        return self.score(self.features(flow, start))

    def score(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (B, K) of pooled features (B, D)."""
        if self.dropout:
            features = nn.functional.dropout(features, self.dropout, self.training)
        out: torch.Tensor = self.head(features)
        return out

    def train(self, mode: bool = True) -> Above:
        """As of any module, but what is frozen stays in eval mode."""
        super().train(mode)
        for stage in self.stages:
            if stage.info.index < self.cut:
                stage.eval()
        if self.keep_statistics:
            for module in self.stages.modules():
                if isinstance(module, NORMS):
                    module.eval()
        return self

    def stage_of(self) -> dict[str, int]:
        """For the name of each parameter the stage it lies in; the head comes after the last."""
        of = {name: stage.info.index for stage, name, _ in self._parts()}
        return of | {name: self.at + 1 for name, _ in self._head()}

    def parameters_by_name(self) -> dict[str, nn.Parameter]:
        """Every parameter; those of stages under their names in the original network."""
        found = {n: t for _, n, t in self._parts() if isinstance(t, nn.Parameter)}
        return found | {n: t for n, t in self._head() if isinstance(t, nn.Parameter)}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every parameter and buffer by name, not copied."""
        return {n: t for _, n, t in self._parts()} | dict(self._head())

    def snapshot(self) -> dict[str, torch.Tensor]:
        """A copy of `tensors`."""
        return {name: tensor.detach().clone() for name, tensor in self.tensors().items()}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put the values of a snapshot back, in place."""
        with torch.no_grad():
            for name, tensor in self.tensors().items():
                tensor.copy_(tensors[name])

    def _parts(self) -> Iterator[tuple[Stage, str, torch.Tensor]]:
        for stage in self.stages:
            for name, tensor in stage.tensors().items():
                yield stage, name, tensor

    def _head(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in [*self.head.named_parameters(), *self.head.named_buffers()]:
            yield HEAD + name, tensor
