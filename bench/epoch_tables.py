"""The tables of `epoch.py`: medians, and medians of the ratios within the repeats."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any


def report(
    name: str,
    wanted: Any,
    turns: dict[str, tuple[str, str]],
    facts: dict,
    threads: int,
    repeats: Sequence[dict[str, dict]],
) -> None:
    """Print the tables of one network.

    Args:
        name: of the network.
        wanted: its cut, and the ratio that is aimed at.
        turns: what was timed, and how it is called.
        facts: of the network and its training.
        threads: that were used.
        repeats: for each what each turn took.
    """
    rows, mid = facts["rows"], statistics.median
    print(
        f"\n### {name} from `{wanted.cut}` up ({facts['trained']} parameters with the head; {rows} "
        f"rows, {len(repeats)} repeats, {threads} threads, chosen {facts['memory']} {facts['amp']})"
    )
    print("\n| epoch | seconds | of the processors | rows/s | tutorial ÷ this |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for what, (_, told) in turns.items():
        seconds, cpu = (mid(r[what][unit] for r in repeats) for unit in ("seconds", "cpu"))
        against = mid(r["tutorial"]["seconds"] / r[what]["seconds"] for r in repeats)
        print(f"| {told} | {seconds:.2f} | {cpu:.2f} | {rows / seconds:.0f} | {against:.1f} |")
    print("\n| ratio within a repeat | seconds (range) | of the processors (range) |")
    print("| --- | ---: | ---: |")
    for told, of in ratios(wanted.aim).items():
        both = []
        for unit in ("seconds", "cpu"):
            values = [of({what: turn[unit] for what, turn in r.items()}) for r in repeats]
            both.append(f"{mid(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        print(f"| {told} | {' | '.join(both)} |")
    digests = {r[what]["digest"] for r in repeats for what in ("kept", "live")}
    told = "equal to the bit" if len(digests) == 1 else f"{len(digests)} different"
    print(f"\nFinal weights, cached and not, in all repeats: {told}.")


def ratios(aim: float) -> dict[str, Callable[[dict[str, float]], float]]:
    """What is asked of the turns of one repeat."""

    def ceiling(s: dict[str, float]) -> float:
        return (s["below"] + s["bare"]) / s["bare"]

    return {
        f"tutorial ÷ cached (aim {aim:g})": lambda s: s["tutorial"] / s["kept"],
        "the same, allocator set ÷ cached": lambda s: s["tutorial settled"] / s["kept"],
        "the same, channels-last ÷ cached": lambda s: s["tutorial channels_last"] / s["kept"],
        "ceiling (below + above) ÷ above": ceiling,
        "nothing kept ÷ cached": lambda s: s["live"] / s["kept"],
        "share of the ceiling (aim 0.80)": lambda s: s["live"] / s["kept"] / ceiling(s),
        "loop ÷ bare (aim 1.05)": lambda s: s["kept"] / s["bare"],
        "loop ÷ bare with the optimizer": lambda s: s["kept"] / s["step"],
    }
