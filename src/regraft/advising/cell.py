"""The tutorials' table of small or large data, like or unlike the source: which cell this is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

#: Rows per class from which the tutorials' "large" begins; they themselves give no number.
LARGE = 1000

SIMILAR, DIFFERENT, UNKNOWN = "similar", "different", "unknown"
RULES = {
    ("small", SIMILAR): "train only a new head on the last features",
    ("small", DIFFERENT): "train a new head on features of an earlier stage",
    ("large", SIMILAR): "fine-tune the top stages, or all of them",
    ("large", DIFFERENT): "fine-tune everything, or train from scratch",
}


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Attributes:
        data: 'small' or 'large'.
        domain: 'similar', 'different' or 'unknown'.
        rule: what the tutorials say to do there.
        followed: whether the advice does that.
    """

    data: str
    domain: str
    rule: str
    followed: bool

    def json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def cell(per_class: float, verdict: str, plan: str, early: bool) -> Cell:
    """The cell of some data.

    Args:
        per_class: rows per class.
        verdict: of `regraft.similarity`.
        plan: that is advised.
        early: whether its head reads an earlier stage than the last.
    """
    data = "large" if per_class >= LARGE else "small"
    domain = {"like the source": SIMILAR, "unlike": DIFFERENT, "somewhat unlike": DIFFERENT}.get(
        verdict, UNKNOWN
    )
    rule = RULES.get((data, domain)) or f"{RULES[data, SIMILAR]}, or {RULES[data, DIFFERENT]}"
    solved = plan in ("probe", "early")
    if data == "large":
        followed = not solved
    else:
        followed = solved and (domain == UNKNOWN or early == (domain == DIFFERENT))
    return Cell(data, domain, rule, followed)
