"""Where a run goes, and how the same command finds what an earlier attempt at it left."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from regraft import files
from regraft.errors import OptionError

ENDING = ".unfinished"
COMMAND = "command.json"


def beside(folder: Path) -> Path:
    """The folder of a run that is not finished."""
    return folder.with_name(folder.name + ENDING)


def command_digest(how: Mapping[str, Any]) -> str:
    """What tells one command from another: everything that was asked for, paths in full."""
    paths = {
        key: str(Path(how[key]).absolute()) for key in ("data", "test", "weights") if how.get(key)
    }
    plain = json.loads(json.dumps({**how, **paths}, default=str))
    return files.digest_of(plain)


def next_folder(data: str, command: str = "") -> Path:
    """runs/NAME-1, or the first number that is free or was begun by this very command.

    Args:
        data: names the run.
        command: its digest; '' for a run that leaves nothing unfinished.
    """
    name = Path(data).absolute().stem or "data"
    number = 1
    while True:
        folder = Path("runs") / f"{name}-{number}"
        left = beside(folder)
        if not folder.exists() and (not left.exists() or _goes_on(left, command)):
            return folder
        number += 1


def _goes_on(left: Path, command: str) -> bool:
    """Whether this command began that folder, and nobody is at work in it."""
    try:
        held = json.loads((left / COMMAND).read_bytes())["command"]
    except (OSError, ValueError, TypeError, KeyError):
        return False
    handle = files.hold(left) if command and held == command else None
    if handle is not None:
        os.close(handle)
    return handle is not None


@contextmanager
def unfinished(folder: Path, command: str) -> Iterator[Path]:
    """The folder for checkpoints of the run `folder`; it is gone once the block ends well.

    If the block fails before there was anything to keep, it is gone too.

    Raises:
        OptionError: another process is at work on the same run, or it cannot be written.
    """
    left = beside(folder)
    try:
        left.mkdir(parents=True, exist_ok=True)
        handle = files.hold(left)
        if handle is None:
            raise OptionError(
                f"another process is training {folder} now; wait for it, or name another --out."
            )
        if not (left / COMMAND).exists():
            files.write_whole(left / COMMAND, json.dumps({"command": command}).encode())
    except OSError as problem:
        raise OptionError(f"{left} cannot be made: {files.reason(problem)}.") from problem
    try:
        yield left
        shutil.rmtree(left, ignore_errors=True)
    finally:
        if left.is_dir() and {path.name for path in left.iterdir()} <= {COMMAND}:
            shutil.rmtree(left, ignore_errors=True)
        with suppress(OSError):
            os.close(handle)
