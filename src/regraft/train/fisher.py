"""How much each weight matters to what the source classifier says: the diagonal Fisher.

F = mean over pictures of (d log p(y | picture) / d w)², one gradient per picture and not of a
batch's mean, y drawn once per picture from the network's own answer. That is a Monte-Carlo
estimate of the Fisher information; with true labels for y it would be the empirical Fisher, which
is another thing (Kunstner et al. 2019, arXiv:1905.12558), and the user's pictures have no labels of
the source. On which pictures it was taken belongs to its name: see `Fisher.said`.

The pictures go through one by one. `torch.func.vmap` over them gives the same numbers (to 7e-5 of
their size) but was slower on CPU for three of four networks: 2.7 s for 16 pictures against 4.8 s
(EfficientNet-Lite0 from stage 8), 4.5 against 6.5 (ResNet-50 layer4), 1.5 against 1.7 (ViT-tiny).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn

from regraft.errors import OptionError
from regraft.stages import Flow, Stages
from regraft.train.keep import refuse_new

#: Pictures that the Fisher is taken on at most.
MOST = 256


class Source(nn.Module):
    """From a flow to what the network's own classifier says, (B, C) logits.

    Args:
        stages: from the cut up to the last one of the backbone.
        classifier: (B, D) to (B, C), see `Backbone.classifier`.
    """

    def __init__(self, stages: Stages, classifier: nn.Module) -> None:
        super().__init__()
        self.stages = stages
        self.classifier = classifier

    def forward(self, flow: Flow) -> torch.Tensor:
        out: torch.Tensor = self.classifier(self.stages(flow))
        return out


@dataclass(frozen=True)
class Fisher:
    """The diagonal Fisher.

    Attributes:
        values: for each weight's name a float32 tensor of its shape, not negative.
        rows: pictures it was taken on.
        images: whose pictures they were, 'your' or 'source'.
    """

    values: dict[str, torch.Tensor]
    rows: int
    images: str

    def said(self) -> str:
        """What it is, for people."""
        return (
            f"diagonal Fisher of the source classifier on {self.rows} {self.images} images, one "
            "gradient each, its answers drawn from its own probabilities"
        )


def fisher(
    source: Source, flows: Iterable[Flow], names: Iterable[str], *, images: str, seed: int
) -> Fisher:
    """The Fisher of some weights of the stages in `source`, which is in eval mode afterwards.

    Args:
        source: the network before training; nothing of it is changed.
        flows: of single rows, each (1, …); no more than `MOST` are used.
        names: of parameters in `source.stages.tensors()`.
        images: whose pictures the flows come from, 'your' or 'source'.
        seed: of the answers that are drawn.

    Raises:
        OptionError: there are no pictures, or a name is not in the network before training.
    """
    own = source.eval().stages.tensors()
    names = list(names)
    refuse_new(names, own, "ewc")
    weights = {name: own[name] for name in names}
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    random = torch.Generator().manual_seed(seed)
    rows = 0
    with torch.enable_grad(), _asking(weights.values()):
        for flow in islice(flows, MOST):
            log_p = nn.functional.log_softmax(source(flow).float(), dim=1)[0]
            drawn = int(torch.multinomial(log_p.detach().exp().cpu(), 1, generator=random))
            found = torch.autograd.grad(log_p[drawn], list(weights.values()), allow_unused=True)
            for name, gradient in zip(weights, found, strict=True):
                if gradient is not None:
                    total[name].addcmul_(gradient, gradient)
            rows += 1
    if not rows:
        raise OptionError(f"ewc needs {images} images for its Fisher, and there are none.")
    return Fisher({name: value / rows for name, value in total.items()}, rows, images)


@contextmanager
def _asking(weights: Iterable[torch.Tensor]) -> Iterator[None]:
    """Let the weights have gradients while the block runs, and be as they were after it."""
    kept = [(weight, weight.requires_grad) for weight in weights]
    try:
        for weight, _ in kept:
            weight.requires_grad_(True)
        yield
    finally:
        for weight, asked in kept:
            weight.requires_grad_(asked)
