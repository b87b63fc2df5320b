"""Which tensors are trained, chosen by stage, layer or pattern: `layer4, blocks.6.*, !*.bias`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from regraft.errors import OptionError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from regraft.stages import Stages

#: The new head, also where the network has a stage of that name.
HEAD = "head"
WILD = frozenset("*?[")


def choose(stages: Stages, only: str, head: Collection[str] = ()) -> list[str]:
    """The names of the parameters that a phase trains: in the order of the stages, the head last.

    A parameter that several stages share is trained as a whole: naming it in one of them names it
    in all, and taking it away in one takes it away in all.

    Args:
        stages: those above the phase's cut.
        only: items with commas between them; everything if empty. An item is a stage's name, the
            path of a module or tensor, or a pattern over tensor names (`*.bias`); with `!` before
            it, it takes away. Without an item that adds, it is all but what is taken away.
        head: names of the head's own parameters; they are trained unless `!head` is an item.

    Raises:
        OptionError: an item matches nothing, or nothing is left.
    """
    homes: dict[str, str] = {}
    shared: dict[int, list[str]] = {}
    for stage in stages:
        for name, tensor in stage.body.named_parameters(remove_duplicate=False):
            homes[name] = stage.info.name
            shared.setdefault(id(tensor), []).append(name)
    found = set(select(homes, only, list(shared.values()), bool(head)))
    plain = [name for stage in stages for name, _ in stage.body.named_parameters()]
    kept = [name for name in dict.fromkeys(plain) if name in found]
    return kept + (list(head) if HEAD in found else [])


def select(
    homes: Mapping[str, str], only: str, shared: Sequence[Sequence[str]] = (), head: bool = True
) -> list[str]:
    """Which names the items of `only` leave, `HEAD` among them if the head is trained.

    Args:
        homes: the stage of each tensor's name.
        only: as in `choose`.
        shared: names that stand for one tensor.
        head: whether there is a head.

    Raises:
        OptionError: an item matches nothing, or nothing is left.
    """
    items = [item.strip() for item in only.split(",") if item.strip()]
    taken = [item[1:].strip() for item in items if item.startswith("!")]
    added = [item for item in items if not item.startswith("!")]
    alike = {name: set(names) for names in shared for name in names}

    def matching(item: str) -> set[str]:
        if head and item == HEAD:
            return {HEAD}
        return {other for name in _matching(item, homes) for other in alike.get(name, {name})}

    keep = {HEAD} if head else set()
    keep |= set().union(*map(matching, added)) if added else set(homes)
    keep -= set().union(*map(matching, taken))
    if not keep:
        raise OptionError(f"only must leave something to train, and '{only}' leaves nothing.")
    return [name for name in [*homes, HEAD] if name in keep]


def _matching(item: str, homes: Mapping[str, str]) -> set[str]:
    """The names that one item, without its `!`, stands for."""
    below = item + "."
    if WILD & set(item):
        found = {name for name in homes if fnmatchcase(name, item)}
    else:
        found = {name for name in homes if name == item or name.startswith(below)}
        found |= {name for name, stage in homes.items() if f"{stage}.".startswith(below)}
    if not found:
        raise OptionError(
            f"only must name stages, layers or tensors above the cut that can be trained, and "
            f"'{item}' matches none.{did_you_mean(item, _known(homes))} 'regraft inspect' lists "
            "the stages."
        )
    return found


def _known(homes: Mapping[str, str]) -> list[str]:
    """Every stage, module path and tensor name; the short ones first."""
    parts = [name.split(".") for name in homes]
    paths = {".".join(part[:n]) for part in parts for n in range(1, len(part) + 1)}
    return sorted({*homes.values(), *paths, HEAD}, key=lambda path: (path.count("."), path))


def parameters(stages: Stages) -> dict[str, nn.Parameter]:
    """Every parameter of the stages under its name in the original network, not copied."""
    return {name: tensor for stage in stages for name, tensor in stage.body.named_parameters()}
