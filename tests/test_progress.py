"""What a call from Python shows while it runs, where somebody looks, and where nobody does."""

from __future__ import annotations

import io
import subprocess
import sys
import types
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import pytest

import regraft
from regraft import progress
from regraft.errors import OptionError
from regraft.progress import shows_progress
from tests.nets import small
from tests.pictures import write_folder

EVENT = {
    "phase": 1, "phases": 1, "epoch": 1, "epochs": 2, "train_loss": 0.5, "log_loss": 0.25,
    "accuracy": 0.75, "left_seconds": 3.0,
}  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@shows_progress("things")
def work(n: int = 3, *, verbose=None, say=None, progress=None, watch=None) -> int:
    """Count, as a fit does."""
    if say:
        say("a finding")
    for done in range(n):
        if progress:
            progress(done + 1, n)
    if watch:
        watch(EVENT)
    return n


@shows_progress("things")
def counted(*, verbose=None, progress=None) -> None:
    if progress:
        progress(1, 1)


@shows_progress("outer")
def outer(*, verbose=None, progress=None) -> int:
    return work()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], str]:
    """What a call writes to a terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(progress, "DELAY", -1.0)

    def shown(call: Callable[[], object]) -> str:
        made = Terminal()
        with redirect_stderr(made):
            call()
            assert sys.stderr is made, "what was written to is as it was"
        return made.getvalue()

    return shown


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a notebook's cell was told to show; IPython is no dependency, so this stands for it."""
    drawn: list[str] = []

    class Handle:
        def update(self, page: str) -> None:
            drawn.append(page)

    def display(page: str, display_id: bool) -> Handle:
        drawn.append(page)
        return Handle()

    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    top = types.ModuleType("IPython")
    top.get_ipython = lambda: shell  # type: ignore[attr-defined]
    inner = types.ModuleType("IPython.display")
    inner.HTML, inner.display = str, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", top)
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    monkeypatch.setattr(progress, "DELAY", -1.0)
    return drawn


def test_nothing_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    assert work() == 3
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_a_bar_that_goes_away(terminal) -> None:
    shown = terminal(work)
    assert "things" in shown
    assert "3/3" in shown
    assert "validation loss" in shown
    assert "a finding" not in shown


def test_a_short_call_has_no_bar(terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DELAY", 3600.0)
    assert terminal(counted) == ""


def test_findings_are_shown_above_the_bar_where_they_are_asked_for(terminal) -> None:
    assert "a finding" in terminal(lambda: work(verbose=2))


@pytest.mark.parametrize("silent", [False, 0])
def test_silence_is_kept_on_a_terminal(terminal, silent: bool) -> None:
    assert terminal(lambda: work(verbose=silent)) == ""


@pytest.mark.parametrize("name", ["say", "progress", "watch"])
def test_nothing_is_shown_beside_the_callers_own(terminal, name: str) -> None:
    heard: list[object] = []
    how = {name: lambda *said: heard.append(said)}
    assert terminal(lambda: work(**how, verbose=True)) == ""
    assert heard


def test_what_a_shown_call_calls_shows_nothing_of_its_own(terminal) -> None:
    assert terminal(lambda: outer(verbose=False)) == ""
    assert terminal(lambda: outer(progress=lambda done, total: None)) == ""
    assert "things" not in terminal(outer)
    assert "things" in terminal(work), "and the next call shows again"


def test_lines_where_there_is_no_terminal_and_somebody_asks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    work(verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["a finding", "things: 3 of 3"]
    assert lines[2].startswith("phase 1 of 1, epoch 1 of 2")


def test_a_notebook_has_a_bar_in_its_cell(
    pages: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    work(5)
    assert "<progress value='1' max='5'>" in pages[0]
    assert "5 of 5" in pages[-1]
    assert "validation loss" in pages[-1]
    assert capsys.readouterr() == ("", "")
    work(verbose=2)
    assert capsys.readouterr().out == "a finding\n"
    before = len(pages)
    work(verbose=False)
    assert len(pages) == before


def test_an_interrupted_call_leaves_the_terminal_as_it_was(terminal) -> None:
    @shows_progress()
    def stop(*, verbose=None, progress=None) -> None:
        progress(1, 2)
        raise KeyboardInterrupt

    def call() -> None:
        with pytest.raises(KeyboardInterrupt):
            stop()

    shown = terminal(call)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1


@pytest.mark.parametrize("odd", [-1, "yes", 1.5])
def test_other_values_are_refused(odd: object) -> None:
    with pytest.raises(OptionError, match="verbose must be None, True, False or a number"):
        work(verbose=odd)


def test_fit_predict_and_evaluate_show_a_bar(tmp_path: Path, terminal) -> None:
    data, runs = write_folder(tmp_path / "data", 5), []
    how = {"head": "ridge", "plan": "probe", "geometry": "crop", "near": False}
    assert "15/15" in terminal(lambda: runs.append(regraft.fit(data, small(), **how)))
    (run,) = runs
    assert "images" in terminal(lambda: run.predict(data))
    assert "images" in terminal(lambda: run.evaluate(data))
    assert terminal(lambda: run.predict(data, verbose=False)) == ""


def test_the_package_starts_without_what_draws_bars() -> None:
    code = "import sys, regraft, regraft.run; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
