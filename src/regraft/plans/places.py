"""Where a cut lies, in the words that people use: names, numbers, 'top:30%', 'last:20', 'auto'.

end         right after `at`: only the head is trained
4, layer4   a stage by number or name; 'layer4' is the first stage of that module
top:3       the three highest stages that have parameters
top:30%     the highest 30 % of those stages, at least one
group:2     from the second highest group of stages on: blocks that lie in one module
last:20     the last 20 layers, as the tutorials count them: from the stage that holds the first
layer:15    from layer number 15 on, as `regraft inspect --layers` numbers them, likewise
auto        the highest group that makes training worth it, see `auto`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from regraft.errors import CutError
from regraft.places import cut_index, stage_index

if TYPE_CHECKING:
    from regraft.backbones.info import StageInfo

#: Per layer, in the order of `inspect --layers`: the index of the stage that holds its tensors,
#: None for a layer without tensors.
Layers = Sequence[int | None]

FORMS = re.compile(r"(top|group|last|layer):(\d+)(%?)\Z")
ASKED = re.compile(r"(top|group|last|layer):")
#: Of the work (FLOPs) and of the parameters up to `at`: where `auto` cuts.
LEAST_WORK, ENOUGH_WORK, MOST_WORK, ENOUGH_PARAMETERS = 0.15, 0.30, 0.40, 0.55
LEAST_GROUP = 0.02  # of the work or the parameters, to be a group of its own
PARTS = 3  # that a network is divided into whose stages lie side by side


def cut_of(
    cut: int | str, stages: Sequence[StageInfo], at: int, layers: Callable[[], Layers] | None = None
) -> int:
    """The index of the first stage that is trained; `at + 1` if only the head is.

    Args:
        cut: as a plan has it.
        stages: of the backbone, in order.
        at: index of the stage that the head reads.
        layers: tells them, for 'last:20' and 'layer:15'; these need the network.

    Raises:
        CutError: there is no such place at or below `at`.
    """
    names = [stage.name for stage in stages]
    if cut == "end":
        return at + 1
    if cut == "auto":
        return auto(stages[: at + 1])
    if isinstance(cut, str) and ASKED.match(cut):
        return _formed(cut, stages[: at + 1], layers)
    index = cut_index(names, cut)
    if index > at + 1 or (isinstance(cut, str) and index > at):
        raise CutError(
            f"cut '{cut}' lies above '{names[at]}', the stage that the head reads (--at): name "
            "that stage or a lower one as cut, 'end' for the head alone, or a higher one as --at."
        )
    return index


def at_of(at: int | str, stages: Sequence[StageInfo]) -> int:
    """The index of the stage that the head reads.

    Raises:
        CutError: there is no such stage.
    """
    return stage_index([stage.name for stage in stages], at)


def _formed(cut: str, stages: Sequence[StageInfo], layers: Callable[[], Layers] | None) -> int:
    found = FORMS.match(cut)
    form = cut.partition(":")[0]
    if not found or (found[3] and form != "top"):
        example = {"top": "top:3 or top:30%", "group": "group:1", "last": "last:20"}
        raise CutError(
            f"cut '{cut:.40}' must be spelled like {example.get(form, 'layer:15')}, with a whole "
            "number."
        )
    count = int(found[2])
    if form == "top":
        return _top(cut, stages, count, bool(found[3]))
    if form == "group":
        starts = groups(stages)[::-1]
        if not 1 <= count <= len(starts):
            raise CutError(f"cut '{cut}' must be group:1 to group:{len(starts)} here.")
        return starts[count - 1]
    if layers is None:
        raise CutError(f"cut '{cut}' counts layers, which needs the network itself.")
    return _layer(cut, layers(), count, form == "last", len(stages) - 1)


def _top(cut: str, stages: Sequence[StageInfo], count: int, share: bool) -> int:
    trained = [stage.index for stage in stages if stage.parameters]
    if share and 1 <= count <= 100:
        return trained[-max(1, round(len(trained) * count / 100))]
    if share or not 1 <= count <= len(trained):
        raise CutError(
            f"cut '{cut}' must be top:1 to top:{len(trained)} here, the stages that have "
            "parameters, or top:1% to top:100%."
        )
    return trained[-count]


def _layer(cut: str, homes: Layers, count: int, last: bool, at: int) -> int:
    most = len(homes) if last else len(homes) - 1
    if not int(last) <= count <= most:
        first = "last:1" if last else "layer:0"
        raise CutError(
            f"cut '{cut}' must be {first} to {first.partition(':')[0]}:{most}: this backbone has "
            f"{len(homes)} layers; 'regraft inspect --layers' lists them."
        )
    begin = len(homes) - count if last else count
    held = [home for home in homes[begin:] if home is not None and home <= at]
    return min(held, default=at + 1)


def auto(stages: Sequence[StageInfo]) -> int:
    """The highest place from which training is worth it.

    That is the highest group of stages which, with those above it, does 15 to 40 % of the work and
    either 30 % of the work or 55 % of the parameters; where groups do not divide the network so,
    the highest single stage for which that holds. Then the cached part is the larger one, and
    enough can learn.
    """
    shares = _shares(stages)

    def enough(index: int) -> bool:
        work, parameters = shares[index]
        return work >= ENOUGH_WORK or (work >= LEAST_WORK and parameters >= ENOUGH_PARAMETERS)

    for index in _modules(stages)[::-1]:
        if stages[index].parameters and enough(index) and shares[index][0] <= MOST_WORK:
            return index
    single = [s.index for s in stages if s.parameters and enough(s.index)]
    return max(single, default=0)


def _shares(stages: Sequence[StageInfo]) -> list[tuple[float, float]]:
    """Per stage the share of the work, and of the parameters, in it and above."""
    work = sum(s.flops for s in stages) or 1
    parameters = sum(s.parameters for s in stages) or 1
    return [
        (
            sum(s.flops for s in stages[i:]) / work,
            sum(s.parameters for s in stages[i:]) / parameters,
        )
        for i in range(len(stages))
    ]


def groups(stages: Sequence[StageInfo]) -> list[int]:
    """Where groups of stages begin, lowest first.

    A group is what lies in one module ('layer4.0', 'layer4.1', …). Where one module holds most of
    the stages they are divided into thirds. What is next to nothing, such as a last norm, belongs
    to the group below it.
    """
    starts = _modules(stages)
    runs = zip(starts, [*starts[1:], len(stages)], strict=True)
    found = []
    for begin, stop in runs:
        whole = stop - begin
        if whole > len(stages) / 2:
            found += [begin + whole * part // PARTS for part in range(PARTS)]
        else:
            found.append(begin)
    shares = [*_shares(stages), (0.0, 0.0)]
    kept: list[int] = []
    above = len(stages)
    for begin in sorted(set(found), reverse=True):
        parts = zip(shares[begin], shares[above], strict=True)
        if begin == 0 or any(low - high >= LEAST_GROUP for low, high in parts):
            kept.append(begin)
            above = begin
    return kept[::-1]


def _modules(stages: Sequence[StageInfo]) -> list[int]:
    """Where stages begin that lie in another module than the one below, lowest first.

    A module within it is none: 'stages.3.downsample' and 'stages.3.blocks.0' belong together.
    """
    starts: list[int] = []
    home = ""
    for index, stage in enumerate(stages):
        own = stage.name.rpartition(".")[0]
        if not starts or (own != home and not (home and own.startswith(home + "."))):
            starts.append(index)
            home = own
    return starts
