"""Columns named on the command line, and what later commands know of them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tomllib
from pathlib import Path

import pytest
from tests.pictures import CLASSES, picture

import regraft
from regraft import ledger
from regraft.cli import run
from regraft.errors import OptionError
from regraft.report.folder import found


def write_table(home: Path, name: str, start: int, count: int) -> Path:
    """A table whose columns are called as no tool calls them, beside its pictures."""
    home.mkdir(exist_ok=True)
    lines = ["where,what,label"]
    for kind in CLASSES:
        for number in range(start, start + count):
            picture(kind, number, 64).save(home / f"{kind}_{number}.png")
            lines.append(f"{kind}_{number}.png,{kind},same")
    (home / name).write_text("\n".join(lines) + "\n")
    return home / name


COLUMNS = ("--path-column", "where", "--label-column", "what")


def test_a_run_keeps_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "a", "t.csv", 0, 8)
    more = write_table(tmp_path / "b", "t.csv", 100, 2)

    def said(*arguments: str) -> dict:
        assert run([*arguments, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    assert said("audit", "a/t.csv", *COLUMNS)["classes"].keys() == set(CLASSES)
    first = said("fit", "a/t.csv", "--plan", "probe", "--head", "ridge", *COLUMNS, "--out", "r")
    assert first["classes"] == sorted(CLASSES)
    settings = tomllib.loads(Path("r/run.toml").read_text())
    assert (settings["path_column"], settings["label_column"]) == ("where", "what")

    again = said("fit", "r/run.toml", "--out", "r2")
    assert again["test"] == first["test"]
    assert Path("r/bundle/head.safetensors").read_bytes() == (
        Path("r2/bundle/head.safetensors").read_bytes()
    )
    scores = said("evaluate", "r", str(more), *COLUMNS, "--csv", "answers.csv")
    assert scores["n"] == 6
    assert "answers" not in scores
    assert said("add", "r", str(more), "--out", "r3")["train"]["n"] == first["train"]["n"] + 6
    assert said("embed", str(more), *COLUMNS, "--out", "f.csv")["rows"] == 6
    # Pictures that the cache has lost are found by the columns that the run keeps.
    kept = ledger.read(Path("r/trained.json"))
    assert kept is not None
    assert len(found(regraft.load("r"), kept, settings)) == len(kept.part(ledger.TEST)) > 0
    shutil.rmtree(Path(os.environ["REGRAFT_CACHE"]) / "activations")
    Path("gone.txt").write_text(kept.part(ledger.TRAIN)[0].id)
    left = said("remove", "r", "--ids", "gone.txt")
    assert left["train"]["n"] == first["train"]["n"] - 1


def test_answers_as_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "a", "t.csv", 0, 6)
    other = tmp_path / "b"
    write_table(other, "t.csv", 100, 2)
    picture(CLASSES[0], 300, 64).save(other / "=1+1.png")
    lines = (other / "t.csv").read_text().replace("\n", f"\n=1+1.png,{CLASSES[1]},same\n", 1)
    (other / "t.csv").write_text(lines)
    fit = ["fit", "a/t.csv", "--plan", "probe", *COLUMNS, "--out", "r", "--quiet"]
    assert run(fit) == 0, capsys.readouterr().err
    command = ["evaluate", "r", "b/t.csv", *COLUMNS, "--csv", "answers.csv"]
    assert run(command) == 0, capsys.readouterr().err
    with Path("answers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "true", "predicted", "probability"]
    assert len(rows) == 7
    model = regraft.load("r")
    for row in rows:
        name = row["file"].removeprefix("'")
        answer = model.predict(f"b/{name}")[0]
        assert row["predicted"] == answer.label
        assert float(row["probability"]) == pytest.approx(max(answer.probabilities.values()), 1e-3)
    assert "'=1+1.png" in {row["file"] for row in rows}
    wrong = [row["true"] != row["predicted"] for row in rows]
    assert wrong == sorted(wrong, reverse=True)
    capsys.readouterr()
    assert run(command) == 2
    assert "--csv answers.csv exists" in capsys.readouterr().err


def test_columns_of_what_has_none(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OptionError, match="label_column must name columns of a table"):
        regraft.audit(tmp_path / "a", label_column="kind")
    with pytest.raises(OptionError, match="path_column must be the name of a table's column"):
        regraft.fit(tmp_path / "t.csv", path_column=" ")


def test_a_column_that_there_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "a", "t.csv", 0, 1)
    assert run(["audit", str(table)]) == 2
    said = capsys.readouterr().err
    assert "no column 'path' for the path; it has 'where', 'what', 'label'" in said
    assert "name it with --path-column (path_column=… in Python)" in said
    assert run(["audit", str(table), "--path-column", "where", "--label-column", "wat"]) == 2
    assert "Did you mean 'what'?" in capsys.readouterr().err


def test_a_folder_to_test_on_beside_a_table(tmp_path: Path) -> None:
    table = write_table(tmp_path / "a", "t.csv", 0, 2)
    for kind in CLASSES:
        (tmp_path / "b" / kind).mkdir(parents=True)
        picture(kind, 500, 64).save(tmp_path / "b" / kind / "x.png")
    found = regraft.audit(
        table, test=tmp_path / "b", path_column="where", label_column="what", near=False
    )
    assert found.used == 9
