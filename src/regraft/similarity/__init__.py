"""How like the user's pictures are to what a backbone was trained on, without those data.

    sample ─► network in eval mode ─► what enters each BatchNorm ─┐
                                      what BatchNorm remembers ───┴► distance per stage ─┐
    pooled features ─► the source's own classifier ─► entropy, energy ───────────────────┴► score

A network with BatchNorm carries the mean and variance of each channel over its source; a network
without it only its classifier, which tells less. `against_source` compares with the source's own
pictures, where somebody has them. Importing this, and an answer that is cached, needs no torch.
"""

from __future__ import annotations

from regraft.similarity.answer import Similarity, StageLikeness
from regraft.similarity.both import against_source
from regraft.similarity.measuring import measure

__all__ = ["Similarity", "StageLikeness", "against_source", "measure"]
