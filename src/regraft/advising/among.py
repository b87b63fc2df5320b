"""Which of several backbones: the same evidence for each, within limits of size and time."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regraft import files, sizes
from regraft.advising.advice import Advice
from regraft.advising.decide import WORTH
from regraft.backbones import DEFAULT, Backbone
from regraft.cachedir import cache_dir
from regraft.data import Skipped
from regraft.errors import OptionError, RegraftError
from regraft.loading import Loader
from regraft.prepare import Ready

#: The word for every backbone whose weights are on this machine.
HERE = "here"
PERMISSIVE = "permissive"
#: Licences that ask for little more than to be named (SPDX, lower case).
LICENCES = ("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "cc0-1.0", "unlicense")
UNITS = {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9}
MOMENTS = {"ms": 1e-3, "s": 1.0}
#: Single pictures that latency is measured on.
TIMED = 12


@dataclass(frozen=True)
class Limits:
    """What a backbone may be.

    Attributes:
        size: bytes of its weights in float32; None for no limit.
        latency: seconds for one picture through it, decoding not counted; None for no limit.
        license: 'permissive', or an SPDX name; '' for any.
    """

    size: float | None = None
    latency: float | None = None
    license: str = ""

    def refused(self, net: Backbone) -> str:
        """Why it may not be taken, as far as its facts tell; '' if it may."""
        size = size_of(net)
        if self.size is not None and size > self.size:
            return f"{sizes.told(size)} of weights, more than {sizes.told(self.size)}"
        licence = net.info.licence.lower()
        known = LICENCES if self.license == PERMISSIVE else (self.license.lower(),)
        if self.license and licence not in known:
            return f"its licence is {net.info.licence or 'unknown'}, not {self.license}"
        return ""


def limits(size: str | None, latency: str | None, license: str | None) -> Limits:
    """Limits as people write them: '20MB', '10ms', 'permissive'.

    Raises:
        OptionError: one is spelled otherwise.
    """
    return Limits(
        None if size is None else _number(size, UNITS, "--max-size", "20MB"),
        None if latency is None else _number(latency, MOMENTS, "--max-latency", "10ms"),
        license or "",
    )


def _number(text: str, units: dict[str, float], option: str, example: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower())
    if not found or found[2] not in units or not float(found[1]):
        raise OptionError(
            f"{option} must be a number with its unit, such as {example}, got '{text:.40}'."
        )
    return float(found[1]) * units[found[2]]


def size_of(net: Backbone) -> int:
    """Bytes of its weights in float32."""
    return 4 * sum(stage.parameters for stage in net.info.stages)


def named(text: str) -> list[str]:
    """Names with commas; `HERE` stands for all whose weights are on this machine.

    Raises:
        OptionError: there is none, or one is named twice.
    """
    found: list[str] = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        found += here() if name == HERE else [name]
    if not found:
        raise OptionError(f"--backbones must name some with commas, or '{HERE}', got '{text:.40}'.")
    twice = [name for name in found if found.count(name) > 1]
    if twice:
        raise OptionError(f"--backbones names '{twice[0]}' twice.")
    return found


def here() -> list[str]:
    """The packaged backbone, and those of the hub that were loaded here before."""
    names = {DEFAULT: None}
    for path in sorted((cache_dir() / "backbones").glob("*.json")):
        try:
            info = files.unsealed(path.read_bytes())["info"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if info.get("source") in ("hub", "package"):
            names[str(info["name"])] = None
    return list(names)


def latency(ready: Ready) -> float:
    """Seconds for one picture alone through the frozen backbone, the median of some."""
    rows = Loader(ready.pipe.info.input, ready.pipe.threads).each(
        ready.parts.train.examples[:TIMED]
    )
    pictures = [one.rows[0][1] for one in rows if not isinstance(one, Skipped)]
    session = ready.pipe.open(ready.pipe.precision)
    spent = []
    for picture in pictures:
        start = time.perf_counter()
        list(session.run(iter([picture])))
        spent.append(time.perf_counter() - start)
    return statistics.median(spent[1:] or spent)


def best_of(
    names: Sequence[str],
    load: Callable[[str], Backbone],
    ask: Callable[[Backbone], tuple[Advice, Ready]],
    within: Limits,
    say: Callable[[str], None],
) -> Advice:
    """The advice for the backbone that suits best; it tells of all of them.

    Args:
        names: of backbones.
        load: gives one by its name.
        ask: gives the advice for one.
        within: what it may be.
        say: called with one line per finding.

    Raises:
        RegraftError: none can be taken; says why of the first.
    """
    rows: list[dict[str, Any]] = []
    found: dict[str, Advice] = {}
    for name in names:
        row: dict[str, Any] = {"backbone": name, "why_not": ""}
        rows.append(row)
        try:
            net = load(name)
            row |= {"size_bytes": size_of(net), "license": net.info.licence}
            row["why_not"] = within.refused(net)
            if row["why_not"]:
                say(f"{name}: {row['why_not']}")
                continue
            advice, ready = ask(net)
        except RegraftError as problem:
            row["why_not"] = str(problem)
            say(f"{name}: {problem}")
            continue
        one = latency(ready)
        row |= {"accuracy": advice.accuracy, "ci95": advice.accuracy_ci95, "latency": round(one, 5)}
        row |= {"plan": advice.plan, "at": advice.at, "seconds": advice.predicted.seconds}
        if within.latency is not None and one > within.latency:
            row["why_not"] = f"{1e3 * one:.1f} ms a picture, more than {1e3 * within.latency:g} ms"
            say(f"{name}: {row['why_not']}")
            continue
        found[name] = advice
    if not found:
        why = "; ".join(f"{row['backbone']}: {row['why_not']}" for row in rows)
        raise OptionError(
            f"no backbone is within the limits ({why:.400}); name others, or loosen the limits."
        )
    return replace(_best(found, rows), backbones=tuple(rows))


def _best(found: dict[str, Advice], rows: list[dict[str, Any]]) -> Advice:
    """The smallest of those within `WORTH` of the best, with the reason."""
    sizes = {row["backbone"]: row.get("size_bytes", 0) for row in rows}
    most = max(one.accuracy or 0.0 for one in found.values())
    near = [name for name, one in found.items() if (one.accuracy or 0.0) >= most - WORTH]
    name = min(near, key=lambda each: sizes[each])
    picked = found[name]
    others = ", ".join(
        f"{other} {100 * (one.accuracy or 0.0):.1f} %"
        for other, one in found.items()
        if other != name
    )
    if not others:
        return picked
    smallest = " and is the smallest of those that tie" if len(near) > 1 else ""
    why = (
        f"Backbone {name}: {100 * (picked.accuracy or 0.0):.1f} % are expected of it"
        f"{smallest}; of the others {others}."
    )
    return replace(picked, reasons=(why, *picked.reasons))
