"""The run folder: what happened, and what repeats it.

run.toml       the resolved settings; `regraft fit run.toml` repeats the run
report.json    scores, timings, counts, what was left out
tried.json     every stage and head that was tried
trained.json   digests of the files that it learned from: they are never scored
log.txt        the same for people
bundle/        what one ships
"""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from regraft.bundle import pretty
from regraft.errors import OptionError
from regraft.files import fresh_folder, visible
from regraft.model import TRAINED, Model

SETTINGS, REPORT, TRIED, LOG, BUNDLE = "run.toml", "report.json", "tried.json", "log.txt", "bundle"


def free(folder: Path) -> None:
    """Raise an OptionError if `folder` cannot become a run folder."""
    if folder.exists():
        raise OptionError(f"--out {folder} exists; name a folder that does not, or remove it.")
    parent = folder.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if parent.is_dir() and not os.access(parent, os.W_OK | os.X_OK):
        raise OptionError(f"--out {folder} cannot be made: {parent} cannot be written.")
    if not parent.is_dir():
        raise OptionError(f"--out {folder} lies below {parent}, which is not a folder.")


def write_run(
    folder: Path,
    model: Model,
    report: dict[str, Any],
    settings: dict[str, Any],
    tried: list[dict[str, Any]],
    standalone: bool,
) -> None:
    """Write the run folder, whole or not at all."""
    free(folder)
    try:
        part = fresh_folder(folder.parent)
    except OSError as problem:
        raise OptionError(f"--out {folder} cannot be made: {problem.strerror}.") from problem
    try:
        (part / SETTINGS).write_text(toml(settings), encoding="utf-8")
        (part / REPORT).write_bytes(pretty(report))
        (part / TRIED).write_bytes(pretty(tried))
        (part / LOG).write_text(story(report), encoding="utf-8")
        (part / TRAINED).write_bytes(pretty(sorted(model.trained)))
        model.save(part / BUNDLE, standalone=standalone)
        part.rename(folder)
    except OSError as problem:
        raise OptionError(f"--out {folder} cannot be written: {problem.strerror}.") from problem
    finally:
        shutil.rmtree(part, ignore_errors=True)


def toml(settings: dict[str, Any]) -> str:
    """The settings as a flat TOML table; a JSON string is a TOML basic string."""
    lines = ["# Everything that decides this run's result. Repeat it: regraft fit run.toml"]
    for key, value in settings.items():
        lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def read_settings(path: Path, known: dict[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """The settings in a `run.toml`.

    Raises:
        OptionError: it is not TOML, or has a key or a type that is not known.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise OptionError(f"{path} cannot be read: {problem.strerror}.") from problem
    except ValueError as problem:
        raise OptionError(f"{path} is not a run.toml ({problem}).") from problem
    for key, value in settings.items():
        if key not in known:
            raise OptionError(
                f"{path}: '{key}' is no setting of a run; known are {', '.join(known)}."
            )
        if not isinstance(value, known[key]):
            raise OptionError(f"{path}: '{key}' has the wrong type, got {json.dumps(value)}.")
    return settings


def story(report: dict[str, Any]) -> str:
    """The report for people, with the time at which it was written."""
    test, validation, seconds = report["test"], report["validation"], report["seconds"]
    lines = [
        f"finished {datetime.now(UTC).isoformat(timespec='seconds')}",
        f"backbone {report['backbone']}, read at {report['at']}, head {report['head']}",
        report["why"],
    ]
    if validation["n"]:
        told = f"accuracy {validation['accuracy']:.4f} on {validation['n']} images"
        lines.append(f"{validation['kind']} {told}")
    if test:
        low, high = test["accuracy_ci95"]
        lines.append(
            f"test accuracy {test['accuracy']:.4f} ({low:.4f} to {high:.4f}) on {test['n']} images"
        )
    lines.append(
        f"{seconds['total']:.2f} s: features {seconds['features']:.2f}, "
        f"head {seconds['head']:.2f}; cache {report['cache']['state']}"
    )
    lines += [f"left out {visible(s['file'])}: {s['reason']}" for s in report["skipped"]]
    return "\n".join(lines) + "\n"
