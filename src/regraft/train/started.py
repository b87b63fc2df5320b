"""What a training began with, so that the same command goes on and no other does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regraft import __version__
from regraft.errors import OptionError, TrainingError
from regraft.files import reason, sealed, unsealed, visible, write_whole

FILE = "started.json"
#: What an advised training was advised: the same command takes the same advice.
ADVICE = "advice.json"
CHECKPOINT = "checkpoint.safetensors"  # written by `state`; named here, where torch is not loaded
FORMAT = 1
SHOWN = 3  # changed files that are named


def started(folder: Path) -> dict[str, Any] | None:
    """What lies in an unfinished run folder: `asked`, `rows`, `chosen`; None if nothing readable.

    Raises:
        TrainingError: a newer regraft began it.
    """
    try:
        held = unsealed((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(held, dict) or not isinstance(held.get("format"), int):
        return None
    if held["format"] > FORMAT:
        raise TrainingError(
            f"{folder} was begun by regraft {visible(str(held.get('regraft')))[:40]}; go on with "
            "that version, or remove the folder."
        )
    return held


def begin(folder: Path | None, asked: Mapping[str, Any], rows: Mapping[str, str]) -> dict[str, Any]:
    """Note what a training begins with, or compare it with what an earlier attempt noted.

    Args:
        folder: of the unfinished run; None keeps nothing.
        asked: every setting, as plain data.
        rows: the digest of each example by its id and part.

    Returns:
        What the earlier attempt chose; empty if there was none.

    Raises:
        TrainingError: the data or the settings are others than before, or it cannot be written.
    """
    if folder is None:
        return {}
    plain = json.loads(json.dumps(dict(asked)))
    held = started(folder)
    if held is not None:
        _must_match(folder, held, plain, rows)
        return dict(held["chosen"])
    # Weights of which nobody knows what they were trained on are not gone on with.
    (folder / CHECKPOINT).unlink(missing_ok=True)
    note(folder, plain, rows, {})
    return {}


def note(
    folder: Path | None,
    asked: Mapping[str, Any],
    rows: Mapping[str, str],
    chosen: Mapping[str, Any],
) -> None:
    """Write `started.json`, with what has been chosen by now.

    Raises:
        TrainingError: the disk does not take it.
    """
    if folder is None:
        return
    held = {"format": FORMAT, "regraft": __version__, "asked": dict(asked), "rows": dict(rows)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / FILE, sealed(held | {"chosen": dict(chosen)}))
    except OSError as problem:
        raise TrainingError(
            f"{folder} cannot be written ({reason(problem)}); name another --out."
        ) from problem


def _differs(key: str, was: Any, now: Any) -> tuple[str, Any, Any]:
    """What differs in a setting, within a table of settings the one that does."""
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        place = next(n for n, pair in enumerate(zip(was, now, strict=True)) if pair[0] != pair[1])
        return _differs(f"{key} {place + 1}", was[place], now[place])
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return key, was, now
    names = sorted({*was, *now})
    inner = next(n for n in names if n not in was or n not in now or was[n] != now[n])
    name = inner if key in ("asked", "recipe") else f"{inner} of {key}"
    return _differs(name, was.get(inner), now.get(inner))


def _must_match(
    folder: Path, held: dict[str, Any], asked: dict[str, Any], rows: Mapping[str, str]
) -> None:
    other = [
        key for key in sorted({*held["asked"], *asked}) if held["asked"].get(key) != asked.get(key)
    ]
    if other:
        key, was, now = _differs(other[0], held["asked"].get(other[0]), asked.get(other[0]))
        raise OptionError(
            f"{folder} was begun with another '{key}' ({was!r:.60}, not {now!r:.60}); name "
            "another --out, or remove that folder."
        )
    before: dict[str, str] = held["rows"]
    new = [name for name in rows if name not in before]
    gone = [name for name in before if name not in rows]
    changed = [name for name in rows if before.get(name, rows[name]) != rows[name]]
    told = [
        f"{len(names)} {what} ({', '.join(visible(n) for n in names[:SHOWN])}"
        + (", …)" if len(names) > SHOWN else ")")
        for names, what in ((new, "new"), (gone, "gone"), (changed, "changed"))
        if names
    ]
    if told:
        raise TrainingError(
            f"{folder} cannot go on, since its data are not what they were: {'; '.join(told)}; "
            "put them back, or remove that folder to begin again."
        )
