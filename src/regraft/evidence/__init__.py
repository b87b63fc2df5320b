"""What features can tell before anything is trained: numpy alone, and only on training rows.

pooled rows of every stage ─► depths: what each is worth, on rows left out
                           ├► growth: what more data would bring
                           └► learnable: whether the labels have anything to do with the rows
"""

from regraft.evidence.depths import Depth, depths, ties
from regraft.evidence.growth import Growth, Point, growth
from regraft.evidence.learnable import Learnable, learnable
from regraft.evidence.scores import h_score, knn, log_me

__all__ = [
    "Depth",
    "Growth",
    "Learnable",
    "Point",
    "depths",
    "growth",
    "h_score",
    "knn",
    "learnable",
    "log_me",
    "ties",
]
