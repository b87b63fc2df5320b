"""The command line: one file per verb, registered here; nothing heavy is imported for --help."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Annotated

import typer

from regraft import __version__
from regraft.cli import (
    add,
    advise,
    audit,
    backbones,
    cache,
    compare,
    doctor,
    embed,
    evaluate,
    fit,
    inspect,
    merge,
    predict,
    remove,
    report,
)
from regraft.cli.manual import epilog, with_manual
from regraft.errors import RegraftError
from regraft.files import reason
from regraft.terminal import clean, is_verbose, set_volume

DONE, USER_ERROR, INTERRUPTED = 0, 2, 130

#: Wrong arguments. typer has its own copy of click in some releases and uses click itself in
#: others; the base of its public class is the right one in both.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="regraft",
    help="Adapt a pretrained network to your own labelled images, and know how far to trust it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS = (
    audit,
    advise,
    fit,
    compare,
    evaluate,
    report,
    predict,
    add,
    remove,
    merge,
    embed,
    inspect,
    backbones,
    doctor,
)
for verb in VERBS:
    app.command(verb.NAME, epilog=epilog(verb.NAME))(with_manual(verb.NAME, verb.command))
app.add_typer(cache.app, name="cache")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"regraft {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the verb."""


class Stop:
    """Turns a signal that would end the process at once into an orderly stop.

    Ctrl-C raises KeyboardInterrupt, so that half-written files are removed and what was computed
    is kept; a `kill` or a closed terminal does the same. Once one has come, another changes
    nothing. A signal that whoever started the command ignores (`nohup`) stays ignored.

    Attributes:
        number: of the signal that came, 0 as long as none did.
    """

    def __init__(self) -> None:
        self.number = 0

    def listen(self) -> None:
        """Take over SIGTERM and SIGHUP of this process."""
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._come)

    def _come(self, number: int, frame: FrameType | None) -> None:
        if not self.number:
            self.number = number
            raise KeyboardInterrupt

    @property
    def code(self) -> int:
        """The exit code: 128 and the signal's number, as shells have it."""
        return 128 + self.number if self.number else INTERRUPTED


stop = Stop()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a file's name may not fit the terminal's encoding
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Before numpy is loaded: where another process wants a core, threads of its BLAS that spin
    # while they wait take more than twice as long to solve a head (docs/benchmarks.md).
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    try:
        stop.listen()
        code = run(arguments)
    except KeyboardInterrupt:  # between two statements
        code = stop.code
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """The exit code of one command: 0 done, 2 the user's error, 130 and the like interrupted."""
    set_volume()  # of the command before, where several run in one process
    try:
        code = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except RegraftError as problem:
        return fail(str(problem), problem.__cause__)
    except UsageError as problem:
        said = getattr(problem, "format_message", problem.__str__)()
        if type(problem).__name__ == "NoArgsIsHelpError":  # its message is the help itself
            print(said)
            return USER_ERROR
        inner = getattr(getattr(problem, "ctx", None), "info_name", None)
        known = [verb.NAME for verb in VERBS]
        verb = f"{inner} " if inner in known else ""
        return fail(f"{said.rstrip('.')}. See 'regraft {verb}--help'.")
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # the reader, e.g. `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as problem:  # a disk or a folder that fails where nobody expected it
        return fail(f"{problem.filename or 'a file'} cannot be used: {reason(problem)}.")
    if code == INTERRUPTED:
        with suppress(OSError):  # the terminal may be gone
            print("interrupted; what was computed is kept in the cache", file=sys.stderr)
        return stop.code
    return code if isinstance(code, int) else DONE


def fail(sentence: str, cause: BaseException | None = None) -> int:
    """Say what is wrong on stderr, in one line; with --verbose also what caused it."""
    print("error: " + clean(" ".join(sentence.split())), file=sys.stderr)
    while is_verbose() and cause is not None:
        told = clean(" ".join(f"{type(cause).__name__}: {cause}".split()))
        print(f"caused by {told}", file=sys.stderr)
        cause = cause.__cause__
    return USER_ERROR
