"""Places in the list of stages by index or name, without the stages themselves (nor torch)."""

from __future__ import annotations

from collections.abc import Sequence

from regraft.errors import CutError, did_you_mean


def cut_index(names: Sequence[str], cut: int | str) -> int:
    """The index of the first trained stage: 0 trains everything, `len(names)` nothing.

    Raises:
        CutError: there is no such stage.
    """
    if isinstance(cut, str):
        return len(names) if cut == "end" else _named(names, cut)[0]
    return _within(names, cut, len(names))


def stage_index(names: Sequence[str], at: int | str) -> int:
    """The index of the stage whose output is meant; 'end' is the last one.

    Raises:
        CutError: there is no such stage.
    """
    if isinstance(at, str):
        return len(names) - 1 if at == "end" else _named(names, at)[-1]
    return _within(names, at, len(names) - 1)


def _within(names: Sequence[str], index: int, last: int) -> int:
    found = index + len(names) if index < 0 else index
    if isinstance(index, bool) or not 0 <= found <= last:
        raise CutError(
            f"there is no stage {index}: this backbone has stages 0 to {len(names) - 1}, "
            "'regraft inspect' lists them."
        )
    return found


def _named(names: Sequence[str], name: str) -> list[int]:
    found = [i for i, known in enumerate(names) if known == name]
    found = found or [i for i, known in enumerate(names) if known.startswith(name + ".")]
    if not found:
        hint = did_you_mean(name, [*names, "end"])
        shown = ", ".join([*names, "end"] if len(names) < 16 else [*names[:6], "…", *names[-6:]])
        raise CutError(
            f"there is no stage '{name}'.{hint} The stages are {shown}; "
            "'regraft inspect' lists them."
        )
    return found
