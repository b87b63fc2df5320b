"""Where a run goes, and how the same command finds what an earlier attempt at it left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from regraft import files
from regraft.errors import OptionError, RegraftError
from regraft.train import started

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
    for folder in _numbered(_name(data)):
        left = beside(folder)
        sweep(folder)
        if not folder.exists() and (not left.exists() or goes_on(left, command)):
            return folder
    raise AssertionError  # numbers do not end


def sweep(folder: Path) -> None:
    """Remove what a run left beside itself that was killed after it had been saved."""
    from regraft.record import SETTINGS

    left = beside(folder)
    with suppress(OSError):
        if _begun_by(left) is None:
            return
        saved = (folder / SETTINGS).stat().st_mtime
        if any(path.stat().st_mtime > saved for path in left.iterdir()):
            return  # of a later attempt, to be put where another run is by now
        handle = files.hold(left)
        if handle is not None:
            shutil.rmtree(left, ignore_errors=True)
            handle.close()


def next_comparison(data: str, command: str, done: Callable[[Path], bool]) -> Path:
    """runs/compare-NAME-1, or the first number that is free or was begun by this very command.

    Args:
        data: names the comparison.
        command: its digest.
        done: whether the one in a folder is finished.
    """
    for folder in _numbered(f"compare-{_name(data)}"):
        if not folder.exists() or (not done(folder) and goes_on(folder, command)):
            return folder
    raise AssertionError


def _name(data: str) -> str:
    return Path(data).absolute().stem or "data"


def _numbered(name: str) -> Iterator[Path]:
    return (Path("runs") / f"{name}-{number}" for number in count(1))


def goes_on(left: Path, command: str) -> bool:
    """Whether this command began that folder, and nobody is at work in it."""
    handle = files.hold(left) if command and _begun_by(left) == command else None
    if handle is not None:
        handle.close()
    return handle is not None


@contextmanager
def at_work(folder: Path, command: str, run: Path) -> Iterator[Path]:
    """Make a folder, or take it up again, and keep every other process from it.

    Args:
        folder: to be.
        command: the digest of what is done in it.
        run: what to call it in errors.

    Raises:
        OptionError: another process is at work in it, or it cannot be written.
    """
    _refuse_foreign(folder, run)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = files.hold(folder)
        if handle is None:
            raise OptionError(
                f"another process is making {run} now; wait for it, or name another --out."
            )
        if not (folder / COMMAND).exists():
            files.write_whole(folder / COMMAND, json.dumps({"command": command}).encode())
    except OSError as problem:
        raise OptionError(
            f"--out {run} cannot be written ({files.reason(problem)}); name another."
        ) from problem
    try:
        yield folder
    finally:
        with suppress(OSError):
            handle.close()


def _begun_by(folder: Path) -> str | None:
    """The digest of the command that made a folder; None if it is none of ours."""
    try:
        held = json.loads((folder / COMMAND).read_bytes())["command"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return held if isinstance(held, str) else None


def _refuse_foreign(folder: Path, run: Path) -> None:
    """Refuse a folder that holds something and does not say inside that it is ours.

    Raises:
        OptionError: it is somebody's own.
    """
    with suppress(OSError):
        if _begun_by(folder) is None and any(folder.iterdir()):
            raise OptionError(
                f"{folder} is there and was not begun by regraft; move it away, or name another "
                f"--out than {run}."
            )


@contextmanager
def unfinished(folder: Path, command: str) -> Iterator[Path]:
    """The folder for checkpoints of the run `folder`; it is gone once the block ends well.

    If the block fails before anything was learned, it is gone too, unless another command had
    begun it.

    Raises:
        OptionError: see `at_work`.
    """
    mine = _begun_by(beside(folder)) in (None, command)
    with at_work(beside(folder), command, folder) as left:
        try:
            yield left
        except (RegraftError, KeyboardInterrupt) as problem:
            if not mine:  # what another command left is not ours to remove
                raise
            kept = {path.name for path in left.iterdir()}
            stopped = isinstance(problem, KeyboardInterrupt)
            if kept <= {COMMAND, started.ADVICE} | (set() if stopped else {started.FILE}):
                shutil.rmtree(left, ignore_errors=True)
            raise
        shutil.rmtree(left, ignore_errors=True)
