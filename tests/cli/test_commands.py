"""The command line as a user meets it: real processes, exit codes, one sentence per error."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from tests.pictures import picture, write_folder

from regraft.cli import app
from regraft.cli import run as run_command

HEAVY = ("torch", "timm", "torchvision", "transformers", "sklearn")


class Shell:
    """regraft as a process, with one cache for the whole module."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = dict(
            os.environ,
            REGRAFT_CACHE=str(home / "cache"),
            HF_HUB_OFFLINE="1",
            OMP_WAIT_POLICY="PASSIVE",
            COLUMNS="100",
        )

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-m", "regraft", *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> dict:
        return json.loads(self(*arguments, "--json").stdout.splitlines()[-1])

    def sentence(self, *arguments: str) -> str:
        """The one line that a user's error leaves on stderr."""
        lines = self(*arguments, code=2).stderr.strip().splitlines()
        assert lines[-1].startswith("error: "), lines
        return lines[-1]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    home = tmp_path_factory.mktemp("home")
    write_folder(home / "data", 6)
    (home / "data" / "notes.txt").write_text("not a picture")
    made = Shell(home)
    made.first = made.json("fit", "data")
    return made


def test_fit_says_everything_in_json(shell: Shell) -> None:
    report = shell.first
    assert report["run"] == "runs/data-1"
    assert report["bundle"] == "runs/data-1/bundle"
    assert report["backbone"] == "tf_efficientnet_lite0.in1k"
    assert report["classes"] == ["checks", "dots", "stripes"]
    assert set(report["cache"]) == {"state", "hits", "misses"}
    assert report["cache"]["state"] == "cold"
    assert set(report["validation"]) >= {"kind", "n", "accuracy"}
    assert set(report["test"]) >= {
        "n",
        "accuracy",
        "accuracy_ci95",
        "balanced_accuracy",
        "log_loss",
    }
    spent = {"total", "features", "geometry", "evidence", "similarity", "rates", "head"}
    assert set(report["seconds"]) - {"report"} == spent
    assert report["advice"]["plan"] == "probe"
    assert set(report["forecast"]) == {"accuracy", "seconds", "peak_memory_bytes"}
    assert {"at", "head", "train", "audit", "images_per_second", "peak_memory_bytes"} <= set(report)
    names = sorted(p.name for p in (shell.home / "runs/data-1").iterdir())
    kept = {"bundle", "log.txt", "report.html", "report.json", "run.toml"}
    kept |= {"trained.json", "tried.json"}
    assert set(names) - {"sums.json", "sums.safetensors"} == kept


def test_fit_for_people_and_the_next_free_folder(shell: Shell) -> None:
    done = shell("fit", "data")
    assert "found 18 images of 3 classes" in done.stderr
    assert re.search(
        r"validation +\d+\.\d % \((leave-one-out|k-fold) cross-validation on \d+ training",
        done.stdout,
    )
    assert "95 % interval" in done.stdout
    assert "cache warm" in done.stdout
    number = re.search(r"bundle +runs/data-(\d+)/bundle", done.stdout)
    assert number is not None
    assert int(number[1]) >= 2


def test_a_run_repeats_itself_from_its_toml(shell: Shell) -> None:
    shell("fit", "runs/data-1/run.toml", "--out", "again")
    for path in (shell.home / "runs/data-1/bundle").iterdir():
        assert (shell.home / "again" / "bundle" / path.name).read_bytes() == path.read_bytes()


def test_evaluate(shell: Shell) -> None:
    shutil.copytree(shell.home / "runs/data-1/bundle", shell.home / "shipped")
    scores = shell.json("evaluate", "shipped", "data")
    assert (scores["n"], scores["trained_on"]) == (18, 0)
    assert scores["accuracy"] > 0.8
    assert [row["label"] for row in scores["per_class"]] == ["checks", "dots", "stripes"]
    assert len(scores["confusion"]) == 3
    for place in ("runs/data-1", "runs/data-1/bundle"):  # both know what was trained on
        done = shell("evaluate", place, "data")
        assert re.search(r"warning: \d+ of 18 files were trained on and are not", done.stderr)
    text = done.stdout
    assert re.search(r"accuracy +\d+\.\d % of \d images, 95 % interval", text)
    assert re.search(r"checks +1 +\d+\.\d % +\d+\.\d % to \d+\.\d %", text)
    assert re.search(r"confusion matrix .*\n +checks +dots +stripes\nchecks +[1·] ", text)


def test_predict_a_line_per_file_with_errors_among_them(shell: Shell) -> None:
    new = shell.home / "new"
    new.mkdir()
    picture("dots", 500).save(new / "a dot.png")
    (new / "broken.jpg").write_bytes(b"no")
    picture("dots", 501).save(new / "new\nline ü.png")
    lines = shell("predict", "runs/data-1", "new", "--top", "2").stdout.splitlines()
    assert len(lines) == 3
    assert "new\\nline ü.png\t" in lines[2]
    assert re.fullmatch(r".*a dot\.png\t\w+ \d+\.\d %\t\w+ \d+\.\d %", lines[0])
    assert "broken.jpg\terror: " in lines[1]
    found = shell.json("predict", "runs/data-1", "new/a dot.png", "--top", "9")
    (one,) = found["predictions"]
    assert found["read"] == 1
    assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert "none of the 1 files could be read" in shell.sentence(
        "predict", "runs/data-1", "new/broken.jpg"
    )


def test_predict_writes_a_table(shell: Shell) -> None:
    shell("predict", "runs/data-1", "data/dots", "--csv", "out.csv")
    with (shell.home / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert set(rows[0]) == {"file", "label", "error", "checks", "dots", "stripes"}
    assert sum(float(rows[0][c]) for c in ("checks", "dots", "stripes")) == pytest.approx(
        1, abs=1e-5
    )
    assert "out.csv exists" in shell.sentence(
        "predict", "runs/data-1", "data/dots", "--csv", "out.csv"
    )


def test_embed(shell: Shell) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    report = shell.json("embed", "data", "--out", "f.parquet")
    table = parquet.read_table(shell.home / "f.parquet")
    assert table.num_rows == report["rows"] == 18
    assert table.column_names == ["id", "label", "split", "digest", "features"]
    assert len(table["features"][0].as_py()) == report["width"] == 1280
    assert table.schema.metadata[b"backbone"] == b"tf_efficientnet_lite0.in1k"
    assert "f.parquet exists" in shell.sentence("embed", "data", "--out", "f.parquet")
    shell("embed", "data", "--out", "whole.parquet", "--geometry", "squash")
    rows = [parquet.read_table(shell.home / name) for name in ("f.parquet", "whole.parquet")]
    assert rows[0]["digest"] == rows[1]["digest"]
    assert rows[0]["features"] != rows[1]["features"]
    wrong = shell.sentence("embed", "data", "--out", "g.parquet", "--geometry", "stretch")
    assert "geometry must be one of crop, squash, pad" in wrong


def test_cache(shell: Shell) -> None:
    report = shell.json("cache")
    assert report["folder"] == str(shell.home / "cache")
    assert {"activations", "trunks", "backbones"} <= set(report["kinds"])
    assert report["bytes"] > 1e6
    assert shell.json("cache", "verify") == {"damaged": []}
    assert shell.json("cache", "clear", "--older", "1d") == {"removed": 0, "bytes": 0}
    assert "got '1 year'" in shell.sentence("cache", "clear", "--older", "1 year")
    segment = next((shell.home / "cache" / "activations").rglob("*.safetensors"))
    sound = segment.read_bytes()
    segment.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    assert "1 cache entries are damaged" in shell.sentence("cache", "verify")
    segment.write_bytes(sound)


def test_doctor(shell: Shell) -> None:
    report = shell.json("doctor", "--quick")
    assert report["packages"]["regraft"]
    assert report["cache"] == {"folder": str(shell.home / "cache"), "writable": True}
    engines = {row["engine"] for row in report["engines"]}
    assert engines == {"openvino", "torch", "reference"}


@pytest.mark.slow
def test_doctor_measures(shell: Shell) -> None:
    rows = [r for r in shell.json("doctor")["engines"] if r["precision"] == "f32"]
    assert len(rows) == 3
    for row in rows:
        assert row["images_per_second"] > 0
        assert row["error"] < 1e-3
    assert "images/s" in shell("doctor").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "nowhere"], "nowhere"),
        (["fit", "data/notes.txt"], "notes.txt"),
        (["fit", "data/dots"], "dots"),
        (["fit", "data", "--backbone", "resnet5O"], "Did you mean"),
        (["fit", "data", "--at", "blocks.99"], "no stage 'blocks.99'"),
        (["fit", "data", "--head", "forest"], "--head must be one of"),
        (["fit", "data", "--out", "data"], "--out data exists"),
        (["fit", "data", "--device", "tpu"], "got 'tpu'"),
        (["fit", "data", "--threads", "0"], "--threads must be 1 or more"),
        (["fit", "data", "--size", "-3"], "-3"),
        (["fit", "data", "--test", "nowhere"], "nowhere"),
        (["fit", "missing.toml"], "missing.toml cannot be read: No such file"),
        (["fit", "runs/data-1/run.toml", "--seed", "3"], "--seed cannot be given beside a run.t"),
        (["fit", "data", "--seed", "-1"], "--seed must be 0 or more, got -1"),
        (["fit", "data", "--seed", str(10**20)], "--seed must be at most 9007199254740992"),
        (["fit", ""], "got an empty text"),
        (["fit", "data", "--test", ""], "got an empty text"),
        (["fit", "data", "--group", ""], "--group must be a column"),
        (["fit", "data", "--folds", ""], "--folds must be a number"),
        (["fit", "data", "--out", "/proc/r9"], "/proc/r9 cannot be written (No such file or"),
        (["fit", "data", "--device", "cpu:3"], "got 'cpu:3'"),
        (["fit", "data", "--threads", "x"], "See 'regraft fit --help'."),
        (["embed", "data", "--out", "/proc/x.parquet"], "/proc"),
        (["predict", "runs/data-1", "data", "--csv", "/proc/x.csv"], "/proc"),
        (["fit"], "Missing argument 'DATA'"),
        (["evaluate", "nowhere", "data"], "nowhere does not exist"),
        (["evaluate", "data", "data"], "not a regraft bundle"),
        (["predict", "runs/data-1", "nowhere.png"], "nowhere.png"),
        (["predict", "runs/data-1", "data", "--top", "0"], "--top must be 1 or more"),
        (["fot"], "Did you mean 'fit'?"),
    ],
)
def test_every_mistake_is_one_sentence(arguments: list[str], said: str, shell: Shell) -> None:
    assert said in shell.sentence(*arguments)


def test_a_name_that_the_terminal_cannot_show(shell: Shell) -> None:
    picture("dots", 502).save(shell.home / "ü.png")
    shell.environment["PYTHONIOENCODING"] = "ascii"
    try:
        assert "\\xfc.png" in shell("predict", "runs/data-1", "ü.png").stdout
    finally:
        del shell.environment["PYTHONIOENCODING"]


def test_labels_that_the_model_does_not_know(shell: Shell) -> None:
    (shell.home / "unknown" / "dog").mkdir(parents=True)
    picture("dots", 503).save(shell.home / "unknown" / "dog" / "x.png")
    said = shell("evaluate", "runs/data-1", "unknown", code=2)
    assert said.stdout == ""
    assert "no class in common with what is learned" in said.stderr
    assert "it has 'dog', learned are 'checks', 'dots'" in said.stderr


def test_a_cache_that_cannot_be_written(shell: Shell) -> None:
    before = shell.environment["REGRAFT_CACHE"]
    shell.environment["REGRAFT_CACHE"] = "/proc/nocache"
    try:
        assert "REGRAFT_CACHE" in shell.sentence("fit", "data")
    finally:
        shell.environment["REGRAFT_CACHE"] = before


def test_help_and_version(shell: Shell) -> None:
    assert "fit" in shell("--help").stdout
    assert re.fullmatch(r"regraft \d+\.\d+\.\d+\n", shell("--version").stdout)
    for verb in ("fit", "evaluate", "predict", "embed", "inspect", "backbones", "cache", "doctor"):
        assert "--json" in shell(verb, "--help").stdout


def imported(shell: Shell, *arguments: str) -> set[str]:
    """The heavy packages that a command has imported when it ends."""
    code = (
        "import sys; from regraft.cli import run; code = run(sys.argv[1:]); "
        f"print('HEAVY', *(m for m in {HEAVY!r} if m in sys.modules), file=sys.stderr); "
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=shell.home,
        env=shell.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.strip().splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "data"],
        ["fit", "data", "--head", "ridge"],
        ["fit", "data", "--head", "prototypes"],
        ["evaluate", "runs/data-1", "data"],
        ["predict", "runs/data-1", "data/dots/000.png"],
    ],
    ids=" ".join,
)
def test_a_warm_command_imports_neither_torch_nor_timm(arguments: list[str], shell: Shell) -> None:
    assert imported(shell, *arguments) == set()


def test_a_compiled_trunk_computes_new_files_without_torch(shell: Shell) -> None:
    picture("checks", 900).save(shell.home / "new.png")
    assert imported(shell, "predict", "runs/data-1", "new.png") == set()


def test_help_texts_fit_a_narrow_terminal() -> None:
    """Their lines are shown as they are written, so longer ones would break in odd places."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    texts = {name: command.help.split("\n\n", 1)[1:] for name, command in commands.items()}
    assert any(texts.values())
    assert not [
        (name, line)
        for name, rest in texts.items()
        for text in rest
        for line in text.splitlines()
        if len(line) > 78
    ]


def test_help_imports_nothing_heavy(shell: Shell) -> None:
    code = (
        "import sys, regraft; from regraft.cli import run; run(['--help']); "
        "heavy = [m for m in ('torch', 'timm', 'numpy', 'openvino', 'PIL', 'pydantic') "
        "if m in sys.modules]; sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=shell.environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_interrupt_exits_with_130_and_keeps_the_work(shell: Shell) -> None:
    write_folder(shell.home / "many", 120)
    command = [sys.executable, "-m", "regraft", "fit", "many", "--out", "stopped"]
    command += ["--plan", "probe", "--geometry", "crop"]
    process = subprocess.Popen(
        command,
        cwd=shell.home,
        env=shell.environment,
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # where the suite runs in the background, Ctrl-C is ignored and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stderr:  # wait until it computes
        if "backbone" in line:
            break
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert "Traceback" not in said
    assert not (shell.home / "stopped").exists()
    report = shell.json("fit", "many", "--out", "stopped", "--plan", "probe", "--geometry", "crop")
    assert report["cache"]["hits"] + report["cache"]["misses"] == 360


@pytest.mark.parametrize(("asked", "held"), [(None, "4"), ("20", "20")])
def test_threads_of_blas_sleep_unless_asked_otherwise(asked: str | None, held: str) -> None:
    name = "OPENBLAS_THREAD_TIMEOUT"
    code = (
        "import atexit, os, sys; from regraft.cli import main; assert 'numpy' not in sys.modules; "
        f"atexit.register(lambda: print(os.environ['{name}'])); main(['--version'])"
    )
    environment = {key: value for key, value in os.environ.items() if key != name}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | ({name: asked} if asked else {}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines()[-1] == held


@pytest.mark.parametrize(
    "wrong",
    [["--at", "nonsense"], ["--plan", "lpft", "--augment", "nonsense"], ["--device", "nonsense"]],
)
def test_what_needs_no_picture_is_refused_before_any_is_read(
    shell: Shell, wrong: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "empty"))
    assert (
        run_command(["fit", str(shell.home / "data"), *wrong, "--out", str(tmp_path / "run")]) == 2
    )
    assert not (tmp_path / "empty" / "activations").exists()
    assert not (tmp_path / "empty" / "trunks").exists()
