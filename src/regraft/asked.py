"""What was asked for, refused where it cannot be had, before anything is read."""

from __future__ import annotations

from regraft.auditing import check_most_bad
from regraft.backbones import Backbone
from regraft.choose import EARLY
from regraft.errors import OptionError, did_you_mean
from regraft.heads import HEADS
from regraft.inputs import GEOMETRIES

DEPTHS = ("auto", "all", "at")
MOST_SEED = 2**53  # a bundle is JSON, whose readers may hold larger numbers only roughly


def check_options(head: str, depths: str, seed: int, balance: float, most_bad: float) -> None:
    """Refuse what can be refused before anything is read.

    Raises:
        OptionError: a value that the option cannot have.
    """
    known = ("auto", *HEADS)
    if head not in known:
        raise OptionError(
            f"--head must be one of {', '.join(known)}, got '{head}'." + did_you_mean(head, known)
        )
    if seed < 0:
        raise OptionError(f"--seed must be 0 or more, got {seed}.")
    if seed > MOST_SEED:
        raise OptionError(f"--seed must be at most {MOST_SEED}, got {seed}.")
    if depths not in DEPTHS:
        raise OptionError(f"depths must be one of {', '.join(DEPTHS)}, got '{depths}'.")
    if not 0.0 <= balance <= 1.0:
        raise OptionError(f"--balance must be a share from 0 to 1, got {balance}.")
    check_most_bad(most_bad)


def check_geometry(geometry: str) -> None:
    """Refuse what is none, before anything is read; '' is what other modalities have.

    Raises:
        OptionError: there is no such geometry.
    """
    known = ("auto", *GEOMETRIES)
    if geometry and geometry not in known:
        raise OptionError(
            f"--geometry must be one of {', '.join(known)}, got '{geometry}'."
            + did_you_mean(geometry, known)
        )


def every_stage(net: Backbone) -> list[str]:
    """The names of all stages, in order."""
    return [stage.name for stage in net.info.stages]


def stage_names(net: Backbone, at: str) -> list[str] | None:
    """The stages that `at` names, in their order; None where they are to be chosen.

    Raises:
        CutError: there is no such stage.
    """
    if at in ("auto", EARLY):
        return None
    indices = sorted({net.index(name) for name in at.split("+")})
    return [net.info.stages[i].name for i in indices]
