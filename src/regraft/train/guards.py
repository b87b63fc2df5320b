"""What a recipe asks for to hold training back, made for one phase's weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.backbones import Backbone
from regraft.errors import OptionError
from regraft.plans import Phase
from regraft.train import keep
from regraft.train.above import HEAD
from regraft.train.fisher import MOST, Fisher, Source, fisher
from regraft.train.job import Guard, Job

Tensors = Mapping[str, torch.Tensor]


def classifier_for(backbone: Backbone, at: int, option: str) -> nn.Module:
    """The source's own classifier, which reads the last stage.

    Raises:
        OptionError: there is none, or the head reads an earlier stage.
    """
    if at != len(backbone) - 1:
        raise OptionError(
            f"{option} asks the source's classifier, which reads the last stage: leave --at at end."
        )
    found = backbone.classifier()
    if found is None:
        raise OptionError(
            f"{option} asks the source's classifier, and '{backbone.info.name}' has none: use l2sp."
        )
    return found.eval()


def guards(
    job: Job,
    backbone: Backbone,
    phase: int,
    before: Tensors,
    say: Callable[[str], None],
    source_flows: Callable[[int], Iterator[torch.Tensor]] | None = None,
) -> tuple[Guard, ...]:
    """The guards of one phase, for the parameters that it trains.

    Args:
        job: with its module; its weights may have moved already.
        backbone: as it was before.
        phase: index in the plan.
        before: every tensor before training.
        say: called with what the Fisher is.
        source_flows: for a cut the flows (1, …) of source images; the user's own if None.

    Raises:
        OptionError: the backbone has no classifier to ask.
    """
    recipe, cut = job.recipe, int(job.plan[phase].cut)
    trained = {n: p for n, p in job.above.parameters_by_name().items() if n in job.trained[phase]}
    body = {name: p for name, p in trained.items() if not name.startswith(HEAD)}
    made: list[Guard] = []
    if recipe.l2sp and body:
        head = [p for name, p in trained.items() if name.startswith(HEAD)]
        made.append(keep.l2sp(body, before, head, recipe.l2sp, recipe.weight_decay))
    if recipe.ewc and body:
        found = _fisher(job, backbone, cut, list(body), source_flows)
        say(found.said())
        made.append(keep.ewc(body, before, found.values, recipe.ewc))
    if recipe.lwf and body:
        made.append(_lwf(job, backbone, job.plan[phase]))
    return tuple(made)


def _fisher(
    job: Job,
    backbone: Backbone,
    cut: int,
    names: list[str],
    source_flows: Callable[[int], Iterator[torch.Tensor]] | None,
) -> Fisher:
    classifier = classifier_for(backbone, job.above.at, "ewc")
    source = Source(copy.deepcopy(backbone[cut:]), classifier).to(job.device)
    if source_flows is not None:
        flows = (flow.to(job.device) for flow in source_flows(cut))
        return fisher(source, flows, names, images="source", seed=job.seed)
    return fisher(source, _own_flows(job, cut), names, images="your", seed=job.seed)


def _own_flows(job: Job, cut: int) -> Iterator[torch.Tensor]:
    """Flows (1, …) of training rows spread over all of them."""
    spread = np.linspace(0, len(job.train) - 1, min(len(job.train), MOST)).astype(np.intp)
    for row in np.unique(spread):
        flow = job.send(job.train.flows[cut].read(np.array([row]), -1))
        yield job.above.prepared(flow) if cut == 0 else flow


def _lwf(job: Job, backbone: Backbone, phase: Phase) -> keep.LwF:
    """Learning without forgetting: the source's answers, asked for once where that is worth it.

    Raises:
        OptionError: rows are mixed, of which the source was never asked.
    """
    recipe, cut = job.recipe, int(phase.cut)
    if recipe.mixup or recipe.cutmix:
        raise OptionError(
            "lwf keeps the answers to single pictures, so it cannot be used with mixup or cutmix."
        )
    classifier = classifier_for(backbone, job.above.at, "lwf").to(job.device)
    original = Source(copy.deepcopy(backbone[cut:]), classifier).eval().to(job.device)

    def ask(rows: NDArray[np.intp], views: NDArray[np.intp]) -> torch.Tensor:
        flow = job.send(job.train.flows[cut].read(rows, views))
        with torch.no_grad():
            said: torch.Tensor = original(job.above.prepared(flow) if cut == 0 else flow)
            return said.float()

    kept = keep.Kept(ask, len(job.train), job.train.flows[cut].views, phase.epochs)
    return keep.LwF(classifier, kept, recipe.lwf)
