"""What could go wrong, in sentences, the worst first."""

from __future__ import annotations

from regraft.advising.evidence import Evidence
from regraft.findings import Audit

#: Rows per class below which a score says little.
FEW = 10
#: Times that the commonest class may be as common as the rarest.
UNEVEN = 5.0
#: Proxy A-distance from which training and test pictures are said to differ: parts of one set lie
#: at 0.0 to 0.6, the same set under another light, focus or noise at 1.4 to 2.0.
SHIFTED = 0.9
#: Test rows below which the score itself is the largest uncertainty.
FEW_TEST = 50


def risks(seen: Evidence, audit: Audit, licence: str) -> tuple[str, ...]:
    """What could go wrong with these data and this backbone.

    Args:
        seen: what was measured.
        audit: what is wrong with the data.
        licence: of the backbone's weights, '' if unknown.
    """
    found = []
    if not seen.learnable.learnable:
        found.append(seen.learnable.why)
    few = [name for name, n in seen.counts.items() if n < 2]
    if few:
        found.append(
            f"{_names(few)} {'has' if len(few) == 1 else 'have'} a single picture: nothing can "
            "be measured there, and little be learned."
        )
    if seen.shift is not None and seen.shift > SHIFTED:
        found.append(
            f"The test pictures differ from those to learn from (a line tells them apart: proxy "
            f"A-distance {seen.shift:.1f} of 2): the score on them will lie below what "
            "cross-validation says, and nothing measured on training pictures tells how far. Learn "
            "from pictures like those that are to be judged."
        )
    rarest = min(seen.counts, key=lambda name: seen.counts[name])
    commonest = max(seen.counts, key=lambda name: seen.counts[name])
    if seen.per_class < FEW:
        found.append(
            f"{seen.per_class:g} pictures of a class are few: another draw of them would give "
            "another score; more of them help most."
        )
    if seen.counts[commonest] > UNEVEN * seen.counts[rarest]:
        found.append(
            f"'{rarest}' has {seen.counts[rarest]} pictures and '{commonest}' "
            f"{seen.counts[commonest]}: look at balanced accuracy, or use --balance."
        )
    if 0 < seen.test < FEW_TEST:
        found.append(f"{seen.test} test pictures: the score can be off by ten points by luck.")
    if audit.conflicts:
        found.append(
            f"{len(audit.conflicts)} pictures have several labels at once; 'regraft audit' "
            "names them."
        )
    if audit.leaks:
        found.append(
            f"{len(audit.leaks)} test pictures are known from training: they are not scored here, "
            "and would be elsewhere."
        )
    if seen.similarity.verdict == "unlike":
        found.append(
            "The pictures are unlike what the backbone was trained on: cross-validation cannot see "
            "what a shift between your training pictures and later ones would do."
        )
    if not licence:
        found.append("The licence of the backbone's weights is unknown: ask before you ship them.")
    return tuple(found)


def _names(names: list[str]) -> str:
    told = ", ".join(f"'{name}'" for name in names[:3])
    return told + (", …" if len(names) > 3 else "")
