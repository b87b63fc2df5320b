"""Help in two sizes, examples that can be typed, completion, --quiet and --verbose."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tests.pictures import write_folder

from regraft import terminal
from regraft.cli import VERBS, app, complete, run
from regraft.cli.manual import BASIC, EXAMPLES, LASTING, PANELS


@pytest.fixture(autouse=True)
def usual_volume():
    yield
    terminal.set_volume()


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", sorted(BASIC))
def test_help_shows_the_usual_options_and_names_the_way_to_all(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    short, whole = told(capsys, verb, "--help"), told(capsys, verb, "--help-all")
    assert len(short.splitlines()) <= 75
    assert f"'regraft {verb} --help-all' shows all of them" in short
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    flags = {one.name: max(one.opts, key=len) for one in command.params if one.opts[0][0] == "-"}
    for name, flag in flags.items():
        assert f"{flag} " in whole, flag
        assert (f"{flag} " in short) == (name in BASIC[verb] or name == "help_all"), flag
    assert set(BASIC[verb]) <= set(flags)


def test_every_verb_has_examples_that_can_be_typed() -> None:
    assert {verb.NAME for verb in VERBS} == set(EXAMPLES)
    assert set(LASTING) <= set(EXAMPLES)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for verb, lines in EXAMPLES.items():
        for line in lines:
            program, name, *rest = shlex.split(line)
            assert (program, name) == ("regraft", verb)
            assert len(line) <= 76
            commands[verb].make_context(verb, rest)
        assert all(line in commands[verb].epilog for line in lines)


def test_panels_name_options_that_there_are() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    names = {one.name for verb in BASIC for one in commands[verb].params}
    assert {name for panel in PANELS.values() for name in panel} <= names


def completed(line: str) -> list[str]:
    """What a shell is offered after `line`, and which heavy packages that loads."""
    code = (
        "import sys, atexit\n"
        "heavy = ('torch', 'timm', 'numpy')\n"
        "atexit.register(lambda: print('HEAVY', *(m for m in heavy if m in sys.modules)))\n"
        "sys.argv[0] = 'regraft'\nfrom regraft.cli import main\nmain()"
    )
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"_REGRAFT_COMPLETE": "complete_bash", "PATH": "/usr/bin", **words},
        capture_output=True,
        text=True,
        check=False,
    )
    *offered, heavy = done.stdout.splitlines()
    assert heavy == "HEAVY", done
    return offered


def test_a_shell_completes_verbs_options_and_names() -> None:
    assert {"fit", "evaluate"} <= set(completed("regraft "))
    assert "--label-smoothing" in completed("regraft fit --lab")  # hidden in the short help
    assert completed("regraft fit photos --plan lp") == ["lpft"]
    assert completed("regraft compare photos --plans probe,lo") == ["probe,lora"]
    assert "resnet18" in complete.backbones("resn")


def test_quiet_prints_the_result_alone_and_verbose_when_it_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "data", 6)
    assert run(["fit", "data", "--plan", "probe", "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert "bundle      runs/data-1/bundle" in quiet.out
    assert not [line for line in quiet.err.splitlines() if not line.startswith("warning: ")]
    assert run(["fit", "data", "--plan", "probe", "--verbose"]) == 0
    loud = capsys.readouterr()
    assert "cache" in loud.err.splitlines()[0]
    assert "] found 18 images of 3 classes" in loud.err
    assert run(["fit", "data", "-q", "-v"]) == 2
    assert "--quiet and --verbose are given" in capsys.readouterr().err


def test_verbose_names_the_cause_of_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.toml").write_text("a = [")
    assert run(["fit", str(tmp_path / "run.toml"), "--verbose"]) == 2
    assert "caused by TOMLDecodeError: " in capsys.readouterr().err
