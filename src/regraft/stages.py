"""Stages: the parts of a backbone, in order. A cut is a slice of them.

    preamble ─► stages[0] ─► … ─► stages[cut-1] ┃ stages[cut] ─► … ─► stages[-1]

One *flow* goes into a stage and one comes out: a tensor whose first axis is the batch, or a tuple
that begins with such a tensor, for instance `(x, padding mask)`. Nothing else passes from one
stage to the next, so a flow may be stored on disk and the stages above continued from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, overload

import torch
from torch import nn

from regraft.errors import BackboneError
from regraft.places import cut_index, stage_index

Flow = Any  # a tensor, or a tuple that begins with one


class Facts(Protocol):
    """What these functions read of a stage's facts (`regraft.backbones.info.StageInfo`)."""

    @property
    def index(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def layout(self) -> str: ...
    @property
    def prefix_tokens(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def parameters(self) -> int: ...


class TapLike(Protocol):
    """What `Below` reads of a tap (`regraft.backbones.info.Tap`)."""

    @property
    def stage(self) -> int: ...
    @property
    def pooled(self) -> bool: ...


class Stage(nn.Module):
    """One stage: a flow in, a flow out, and the facts about it.

    Attributes:
        body: the module that computes; its parameters keep the names of the original network.
        info: index, name, output shape, layout, … (`regraft.backbones.info.StageInfo`).
        keeps_input: the body changes its input in place, so it is given a copy: a flow may be
            tapped, cached and read again.
        fixed: shape of the flow's tensor without the batch axis that the body was traced for, if
            sizes of it are constants inside; None if any size will do.
    """

    def __init__(
        self,
        body: nn.Module,
        info: Any,
        *,
        keeps_input: bool = False,
        fixed: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.info = info
        self.keeps_input = keeps_input
        self.fixed = fixed

    def forward(self, flow: Flow) -> Flow:
        """The flow (B, …) above this stage.

        Raises:
            BackboneError: the flow has another size than the one this stage was traced for.
        """
        if self.fixed is not None and not _tracing() and tuple(flow.shape[1:]) != self.fixed:
            raise BackboneError(
                f"stage '{self.info.name}' was made for inputs of shape {self.fixed} per row and "
                f"got {tuple(flow.shape[1:])}; make the backbone for the other image size with "
                "backbone.resized(size)."
            )
        return self.body(flow.clone() if self.keeps_input else flow)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every parameter and buffer under its name in the original network."""
        return dict(self.body.named_parameters()) | dict(self.body.named_buffers())

    def extra_repr(self) -> str:
        return f"{self.info.index}: {self.info.name}"


def _tracing() -> bool:
    return torch._C._get_tracing_state() is not None or torch.compiler.is_compiling()


class Stages(nn.Module):
    """An ordered list of stages; calling it runs them in order.

    Slices share the stages, and with them the parameters: `stages[:cut]` and `stages[cut:]`
    together are the network. A bound may be an index, a stage's name, or 'end'; a name that
    stands for several stages ('layer4') means the first of them as a cut, the last as an item.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(stages)

    @property
    def names(self) -> list[str]:
        """The stages' names, in order."""
        return [stage.info.name for stage in self]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.steps)  # type: ignore[arg-type]

    @overload
    def __getitem__(self, key: int | str) -> Stage: ...
    @overload
    def __getitem__(self, key: slice) -> Stages: ...

    def __getitem__(self, key: int | str | slice) -> Stage | Stages:
        steps = list(self)
        if isinstance(key, slice):
            start = cut_index(self.names, 0 if key.start is None else key.start)
            stop = cut_index(self.names, "end" if key.stop is None else key.stop)
            return Stages(steps[start:stop])
        return steps[stage_index(self.names, key)]

    def forward(self, flow: Flow) -> Flow:
        for stage in self.steps:
            flow = stage(flow)
        return flow

    def __repr__(self) -> str:
        """One line for each stage."""
        lines = []
        for stage in self:
            shape = " x ".join(map(str, stage.info.shape))
            numbers = f"{stage.info.parameters:,} parameters"
            lines.append(f"  {stage.info.index:>3}  {stage.info.name:<20} {shape:<16} {numbers}")
        return "\n".join([f"<Stages: {len(lines)}>", *lines])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every parameter and buffer under its name in the original network."""
        return {name: tensor for stage in self for name, tensor in stage.tensors().items()}


def pool(flow: Flow, info: Facts) -> torch.Tensor:
    """The pooled feature of a stage, (B, D) float32: the mean over positions.

    For tokens the mean is over those that stand for a place (no class or register token), for
    'NLC+mask' over those whose mask is true.

    Raises:
        BackboneError: the layout is not known.
    """
    if info.layout == "NLC+mask":
        tokens: torch.Tensor = flow[0].float()
        mask: torch.Tensor = flow[1].to(torch.float32).unsqueeze(-1)
        return (tokens * mask).sum(1) / mask.sum(1).clamp(min=1.0)
    x: torch.Tensor = (flow[0] if isinstance(flow, tuple | list) else flow).float()
    if info.layout == "NC":
        return x
    if info.layout == "NLC":
        return x[:, info.prefix_tokens :].mean(1)
    if info.layout == "NCHW":
        return x.mean((2, 3))
    if info.layout == "NHWC":
        return x.mean((1, 2))
    raise BackboneError(f"stage '{info.name}' has the unknown layout '{info.layout}'.")


class Below(nn.Module):
    """What an engine compiles: a batch of rows in, one result per tap out, and nothing above.

    Args:
        preamble: from a batch of rows to the input of stage 0 (`InputSpec.preamble`).
        stages: all stages of the backbone, or as many as the taps need.
        taps: whose outputs are wanted, and whether pooled to (B, D) or as they are.
    """

    def __init__(self, preamble: nn.Module, stages: Stages, taps: Sequence[TapLike]) -> None:
        super().__init__()
        if not taps:
            raise BackboneError("nothing was asked for: give at least one tap.")
        for tap in taps:
            stage_index(stages.names, tap.stage)
        self.preamble = preamble
        self.stages = stages[: max(tap.stage for tap in taps) + 1]
        self.taps = tuple(taps)

    def forward(self, *rows: torch.Tensor) -> tuple[Flow, ...]:
        """Batches of the row's arrays in; a tuple with one (B, D) tensor or raw flow per tap."""
        flow: Flow = self.preamble(*rows)
        found: list[Flow] = [None] * len(self.taps)
        for index, stage in enumerate(self.stages):
            flow = stage(flow)
            for place, tap in enumerate(self.taps):
                if tap.stage == index:
                    found[place] = pool(flow, stage.info) if tap.pooled else flow
        return tuple(found)
