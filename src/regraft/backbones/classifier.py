"""The classifier that a network came with."""

from __future__ import annotations

import torch
from torch import nn

from regraft.backbones.request import Loaded
from regraft.stages import Stages

TOLERANCE = 1e-4


def classifier_of(stages: Stages, loaded: Loaded) -> nn.Module | None:
    """The source's classifier, or None if it does not read what the last stage gives.

    Whether it does is tried on one image of noise: stages and classifier must answer like the
    whole network.
    """
    if loaded.whole is None:
        return None
    whole = loaded.whole().eval()
    get = getattr(whole, "get_classifier", None)
    head = get() if get is not None else None
    if not isinstance(head, nn.Module) or isinstance(head, nn.Identity):
        return None
    (example,) = loaded.input.example()
    size = example.shape[:2]
    noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    mode = stages.training
    with torch.no_grad():
        answer = whole(noise)
        features = stages.eval()(noise)
        stages.train(mode)
        if not isinstance(answer, torch.Tensor) or features.ndim != 2:
            return None
        try:
            same = torch.allclose(head(features), answer, rtol=TOLERANCE, atol=TOLERANCE)
        except RuntimeError:  # another width: it reads something else
            return None
    return head if same else None
