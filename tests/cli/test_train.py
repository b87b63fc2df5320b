"""Plans through the command line: what is refused, what a run leaves, what repeats and goes on."""

from __future__ import annotations

import json
import math
import os
import pty
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from tests.pictures import write_folder

from regraft import files
from regraft.cli import inspect, run
from regraft.cli.fit import SETTINGS, from_settings
from regraft.cli.flags import NO_FLAG, PANELS, settings
from regraft.cli.unfinished import (
    COMMAND,
    beside,
    command_digest,
    next_comparison,
    next_folder,
    sweep,
    unfinished,
)
from regraft.errors import OptionError
from regraft.live import Curve, line, spark
from regraft.plans import Phase, Recipe

NET = ("--backbone", "test_resnet", "--weights", "random", "--size", "32", "--geometry", "crop")
QUICK = ("batch=8", "epochs=1", "amp=f32", "memory=contiguous", "wise=off")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures in it, where runs are made and what they keep is kept."""
    home = tmp_path_factory.mktemp("home")
    write_folder(home / "data", 12)
    return home


@pytest.fixture
def home(place: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder as where one is, with one cache for all tests."""
    monkeypatch.setenv("REGRAFT_CACHE", str(place / "cache"))
    monkeypatch.chdir(place)
    return place


def sentence(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a user's error leaves."""
    assert run(list(arguments)) == 2, arguments
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: "), lines
    return lines[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--plan", "lpt"], "Did you mean 'lpft'?"),
        (["--plan", "nowhere.toml"], "nowhere.toml cannot be read: No such file"),
        (["--plan", "lpft", "cut=layer9"], "no stage 'layer9'. Did you mean"),
        (["--plan", "lpft", "--cut", "layer9"], "no stage 'layer9'. Did you mean"),
        (["--plan", "lpft", "--at", "layer1", "cut=layer2"], "lies above 'layer1.0'"),
        (["--plan", "finetune", "phase.1.cut=layer1", "phase.2.cut=layer3"], "the cut rises from"),
        (["--plan", "lpft", "epochs=0"], "epochs must be 1 or more where something is trained"),
        (["--plan", "lpft", "--epochs", "0"], "epochs must be 1 or more where something is tr"),
        (["--plan", "lpft", "lr=nan"], "lr must be a number, 0 or more, got nan"),
        (["--plan", "lpft", "--lr", "fast"], "lr must be a number, 0 or more, got 'fast'"),
        (["--plan", "lpft", "--lr", "1", "lr=2"], "lr is given twice"),
        (["--plan", "lpft", "lr=1", "lr=2"], "lr is given twice"),
        (["--plan", "lpft", "lr"], "'lr' must be spelled KEY=VALUE"),
        (["--plan", "lpft", "=3"], "'=3' must be spelled KEY=VALUE"),
        (["--plan", "lpft", "epchs=3"], "no setting 'epchs'. Did you mean 'epochs'?"),
        (["--plan", "lpft", "seed=3"], "seed is an option: write --seed instead"),
        (["--plan", "lpft", "batch=1000"], "batch must be at most the number of training rows"),
        (["--plan", "lpft", "batch=0"], "batch must be a whole number, 1 or more, got 0"),
        (["--plan", "lpft", "batch=8", "only=nothing"], "'nothing' matches none"),
        (["--plan", "lpft", "--folds", "5"], "use 'regraft compare --seeds'"),
        (["--plan", "lpft", "--at", "auto"], "--at must name one stage for a plan that trains"),
        (["lr=1e-3"], "lr is a setting of a plan that trains: name one, e.g. --plan lpft"),
        (["--plan", "probe", "lr=1e-3"], "lr has no effect"),
        (["--plan", "probe", "--budget", "9s"], "--budget is for --plan auto"),
        (["--budget", "soon"], "--budget must be a span of time"),
        (["--plan", "lpft", "--finish"], "--finish needs what this very command left"),
        (["--finish"], "--finish needs what this very command left"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in sentence(capsys, "fit", "data", *NET, *arguments)
    assert not list(home.glob("runs/*"))


TRAINED = "[[phase]]\ncut = 'layer2'\nepochs = 1\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("format = 99\nregraft = '9.9'\nnew = 1\n", "was written by regraft 9.9 (format 99)"),
        ("data = 'data'\nbatsh = 3\n" + TRAINED, "'batsh' is no setting of a run. Did you mean"),
        ("data = 'data'\n[[phase]]\nepoch = 1\n", "phase 1: there is no setting 'epoch'"),
        ("data = 'data'\nbatch = 'many'\n" + TRAINED, "'batch' must be a whole number"),
        ("data = 'data'\nplan = 'lpt'\n", "--plan must be one of"),
        (TRAINED, "must name its 'data'"),
        ("data = 'data'\nbatch = -1\n" + TRAINED, "batch must be a whole number, 1 or more"),
    ],
)
def test_a_run_file_that_is_refused(
    text: str, said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "odd.toml").write_text(text)
    assert said in sentence(capsys, "fit", "odd.toml")


@pytest.fixture
def first(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A run that was trained."""
    folder = home / "first"
    if not folder.exists():
        assert run(["fit", "data", *NET, "--plan", "lpft", *QUICK, "--out", "first"]) == 0
        told = capsys.readouterr()
        assert "phase 2 of 2, epoch 1 of 1: training loss" in told.err
        assert "bundle      first/bundle" in told.out
    return folder


def same(a: Path, b: Path) -> bool:
    names = sorted(path.name for path in a.iterdir())
    return names == sorted(path.name for path in b.iterdir()) and all(
        (a / name).read_bytes() == (b / name).read_bytes() for name in names
    )


def test_a_run_repeats_itself_and_changes_as_told(first: Path, home: Path) -> None:
    held = tomllib.loads((first / "run.toml").read_text())
    assert [type(phase["cut"]) for phase in held["phase"]] == [int, int]
    assert (held["plan"], held["batch"], held["phase"][1]["epochs"]) == ("lpft", 8, 1)
    assert run(["fit", "first/run.toml", "--out", "second"]) == 0
    assert same(first / "bundle", home / "second" / "bundle")
    assert (first / "run.toml").read_bytes() == (home / "second" / "run.toml").read_bytes()
    assert run(["fit", "first/run.toml", "lr=1e-2", "seed=4", "--clip", "0", "--out", "third"]) == 0
    changed = tomllib.loads((home / "third" / "run.toml").read_text())
    assert changed["phase"][1] == held["phase"][1] | {"lr": 0.01}
    assert (changed["clip"], changed["seed"], changed["batch"]) == (0.0, 4, 8)
    assert not same(first / "bundle", home / "third" / "bundle")
    assert not list(home.glob("*.unfinished"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seed", "3"], "write seed=VALUE after it"),
        (["--plan", "full"], "--plan cannot be given beside a run.toml"),
        (["seed=x"], "seed must be a whole number, got 'x'"),
        (["near=maybe"], "near must be true or false, got 'maybe'"),
        (["size=large"], "size must be whole numbers with commas, got 'large'"),
        (["phase.2.cut=99"], "there is no stage 99"),
        (["sed=3"], "there is no setting 'sed'"),
    ],
)
def test_a_change_that_is_refused(
    arguments: list[str], said: str, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in sentence(capsys, "fit", "first/run.toml", *arguments, "--out", "never")


def ended(folder: Path, command: str, by: BaseException, *files: str) -> Path:
    """What a run leaves that wrote some files and then ended so."""

    def work() -> None:
        with unfinished(folder, command) as left:
            for name in files:
                (left / name).write_bytes(b"kept")
            raise by

    with pytest.raises(type(by)):
        work()
    return beside(folder)


def test_the_same_command_goes_on_and_no_other_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    how = {"data": "data", "batch": 8}
    mine, other = command_digest(how), command_digest(how | {"batch": 4})
    assert next_folder("data", mine) == Path("runs/data-1")
    left = ended(Path("runs/data-1"), mine, KeyboardInterrupt(), "state.safetensors")
    assert left == Path("runs/data-1.unfinished")
    assert next_folder("data", mine) == Path("runs/data-1")
    assert next_folder("data", other) == Path("runs/data-2")
    assert next_folder("data") == Path("runs/data-2")
    with unfinished(Path("runs/data-1"), mine) as here:
        assert (here / "state.safetensors").exists()
        assert next_folder("data", mine) == Path("runs/data-2")  # somebody is at work there
        with pytest.raises(OptionError, match="another process is making"):
            unfinished(Path("runs/data-1"), mine).__enter__()
    assert not left.exists()


def test_what_a_saved_run_left_is_swept_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was killed between its last byte and the end."""
    monkeypatch.chdir(tmp_path)
    made, now = Path("runs/data-1"), time.time()
    left = ended(made, "c", KeyboardInterrupt(), "state.safetensors")
    made.mkdir()
    assert next_folder("data", "c") == Path("runs/data-2")
    assert left.exists(), "a folder that is no run says nothing about it"
    (made / "run.toml").touch()
    with unfinished(made, "c"):
        sweep(made)
        assert left.exists(), "somebody is at work there"
    left = ended(made, "c", KeyboardInterrupt(), "state.safetensors")
    os.utime(made / "run.toml", (now - 60, now - 60))
    sweep(made)
    assert left.exists(), "it was begun after that run was saved"
    os.utime(made / "run.toml", (now + 60, now + 60))
    assert next_folder("data", "c") == Path("runs/data-2")
    assert not left.exists()


def test_an_error_before_anything_was_learned_leaves_nothing(tmp_path: Path) -> None:
    run, error = tmp_path / "run", OptionError("no.")
    assert not ended(run, "c", error, "started.json").exists()
    assert ended(run, "c", error, "started.json", "state.safetensors").exists()


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_so_far(home: Path) -> None:
    """The process is interrupted within training; then it is finished without more of it."""
    command = [
        sys.executable, "-m", "regraft", "fit", "data", *NET, "--plan", "full", *QUICK[:1],
        *QUICK[2:], "epochs=400", "patience=0", "--out", "stopped",
    ]  # fmt: skip
    every = os.environ | {"REGRAFT_CHECKPOINT_SECONDS": "0"}
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=every)
    assert running.stderr is not None
    for told in running.stderr:
        if "epoch 3 of 400" in told:
            running.send_signal(signal.SIGINT)
            break
    assert "the same command goes on" in running.stderr.read()
    assert running.wait() == 130
    running.stderr.close()
    assert (home / "stopped.unfinished").exists()
    assert run([*command[3:], "--finish"]) == 0
    curve = json.loads((home / "stopped" / "report.json").read_text())["training"]["curve"]
    assert 2 <= len(curve) < 400  # the third was told, and perhaps not kept yet
    assert not (home / "stopped.unfinished").exists()


def test_a_comparison_goes_on_until_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def done(folder: Path) -> bool:
        return (folder / "comparison.json").exists()

    folder = next_comparison("data", "c", done)
    assert folder == Path("runs/compare-data-1")
    folder.mkdir(parents=True)
    assert next_comparison("data", "c", done) == Path("runs/compare-data-2")
    (folder / COMMAND).write_text(json.dumps({"command": "c"}))
    assert next_comparison("data", "c", done) == folder
    assert next_comparison("data", "d", done) == Path("runs/compare-data-2")
    (folder / "comparison.json").write_text("{}")
    assert next_comparison("data", "c", done) == Path("runs/compare-data-2")


def test_a_lock_is_given_free(tmp_path: Path) -> None:
    handle = files.hold(tmp_path)
    assert handle is not None
    assert files.hold(tmp_path) is None
    handle.close()
    again = files.hold(tmp_path)
    assert again is not None
    again.close()


def test_every_setting_has_a_flag_and_a_key() -> None:
    every = {field.name for record in (Phase, Recipe) for field in fields(record)}
    assert set(settings()) | set(NO_FLAG) == every
    assert {name for names in PANELS.values() for name in names} <= set(settings())
    assert {field.name for field in fields(Recipe)} <= set(SETTINGS)
    assert not {field.name for field in fields(Phase)} & set(SETTINGS)


def test_help_shows_settings_by_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fit", "--help-all"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for part in (
        "Augmentation",
        "Against overfitting and forgetting",
        "--label-smoothing",
        "--l2sp",
    ):
        assert part in told
    assert "arXiv:1802.01483" in told


def event(epoch: int, loss: float) -> dict:
    return {
        "phase": 1, "phases": 2, "epoch": epoch, "epochs": 3, "train_loss": 0.5, "log_loss": loss,
        "accuracy": 0.9, "seconds": 2.0, "left_seconds": 2.0 * (3 - epoch),
    }  # fmt: skip


def test_an_epoch_in_words() -> None:
    assert line(event(2, 0.25)) == (
        "phase 1 of 2, epoch 2 of 3: training loss 0.5000, validation loss 0.2500, 90.0 % right; "
        "at most 2 s left in this phase"
    )
    assert "at most 3 min left" in line(event(1, 0.25) | {"left_seconds": 180.0})
    assert spark([1.0, 0.5, 0.0]) == "█▅▁"
    assert spark([2.0, 2.0]) == "▁▁"
    assert spark([]) == ""
    assert spark([math.nan, 1.0, math.inf, 0.5]) == "███▁"
    assert spark([math.inf]) == "█"
    curve = Curve()
    for epoch, loss in enumerate((0.3, 0.2, 0.4), 1):
        curve.add(event(epoch, loss))
    assert curve.best == event(2, 0.2)
    assert len(curve.spark()) == 3


def test_a_terminal_shows_the_curve() -> None:
    code = (
        "from regraft.live import watching\n"
        "from regraft.cli.output import say\n"
        f"one, two = {event(1, 0.3)!r}, {event(2, 0.2)!r}\n"
        "with watching() as (progress, watch):\n"
        "    progress(3, 4); say('a finding'); watch(one); watch(two)\n"
    )
    mine, theirs = pty.openpty()
    done = subprocess.Popen([sys.executable, "-W", "error", "-c", code], stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(mine, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(mine)
    assert done.wait() == 0
    text = shown.decode()
    assert "a finding" in text
    assert "3/4" in text
    assert "█▁ best 0.2000 in phase 1, epoch 2" in text


def test_inspect_shows_a_plan(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(["inspect", "test_resnet", "--size", "32", "--plan", "bitfit", "lr=1", "--json"]) == 0
    )
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert [phase["stage"] == "end" for phase in plan["phases"]] == [True, False]
    trained = plan["phases"][1]
    whole = inspect.inspect("test_resnet", size=32, plan="lpft", layers=True)["plan"]["phases"][1]
    assert 0 < trained["parameters"] < whole["parameters"] / 10
    assert trained["depths"][0] == {"stage": "head", "lr": 1.0, "parameters": None}
    assert whole["tensors"]
    assert all(name.startswith(("layer", "conv", "bn", "norm")) for name in whole["tensors"])
    assert run(["inspect", "test_resnet", "--size", "32", "--plan", "gradual"]) == 0
    shown = capsys.readouterr().out
    assert "phase 2: the head and everything from 'layer4" in shown
    assert "x faster" in shown
    assert "changes a plan" in sentence(capsys, "inspect", "test_resnet", "lr=1")
    assert "name one with --at" in sentence(capsys, "inspect", "test_resnet", "--plan", "early")


def test_a_run_from_before_threads_were_measured_is_computed_as_it_was() -> None:
    old = {
        "data": "photos",
        "plan": "lpft",
        "threads": 3,
        "phases": [{"cut": 2, "epochs": 1, "lr": 0.1}],
    }
    recipe = from_settings(old, Path("run.toml"))["plan"].recipe
    assert (recipe.torch_threads, recipe.allocator, recipe.compile) == (3, "keep", "off")
    new = from_settings(old | {"torch_threads": 1, "compile": "on"}, Path("run.toml"))[
        "plan"
    ].recipe
    assert (new.torch_threads, new.compile) == (1, "on")
    own = {"data": "photos", "plan": "lpft"}
    assert from_settings(own, Path("run.toml"))["plan"].recipe.torch_threads == 0


def test_a_folder_of_somebody_elses_is_refused_and_stays(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = home / "precious.unfinished"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    asked = ["fit", str(home / "data"), *NET, "--plan", "lpft", "--out", str(home / "precious")]
    assert run(asked) == 2
    assert "was not begun by regraft; move it away" in capsys.readouterr().err
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_what_another_command_left_is_refused_and_stays(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = home / "two"
    left = home / "two.unfinished"
    left.mkdir()
    (left / COMMAND).write_text(json.dumps({"command": "another"}))
    (left / "started.json").write_text("{}")
    asked = ["fit", str(home / "gone"), *NET, "--plan", "lpft", "--out", str(out)]
    assert run(asked) == 2
    capsys.readouterr()
    assert (left / "started.json").exists()
