"""Scores for people: every class with its interval, and what is confused with what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from regraft.cli import output, scores
from regraft.evaluate import evaluate


def scored(truth: list[int], answer: list[int], names: list[str]) -> dict[str, Any]:
    """Scores of sure answers, as `regraft evaluate` has them."""
    made = evaluate(np.eye(len(names))[answer], [names[k] for k in truth], names)
    return made.json() | {"skipped": []}


def test_few_classes_have_the_whole_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    scores.show(scored([0, 0, 1, 1, 2], [0, 1, 1, 1, 2], ["ant", "bee", "cat"]))
    said = capsys.readouterr().out
    assert "accuracy    80.0 % of 5 images, 95 % interval 37.6 % to 96.4 %" in said
    lines = [line.split() for line in said.splitlines()]
    ant = next(" ".join(line) for line in lines if line[:1] == ["ant"])
    assert ant == "ant 2 50.0 % 9.5 % to 90.5 % 100.0 % 0.667"
    start = lines.index(["ant", "bee", "cat"])
    assert lines[start + 1 : start + 4] == [
        ["ant", "1", "1", "·"],
        ["bee", "·", "2", "·"],
        ["cat", "·", "·", "1"],
    ]


def test_many_classes_have_the_top_confusions(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"class {k:03}" for k in range(40)]
    truth = [k for k in range(40) for _ in range(5)]
    answer = list(truth)
    answer[:4] = [7, 7, 7, 9]  # of class 000
    answer[50] = 3  # of class 010
    scores.show(scored(truth, answer, names))
    said = capsys.readouterr().out
    assert "the 30 classes of lowest recall, of 40" in said
    top = said[said.index("top confusions") :].splitlines()
    assert " ".join(top[2].split()) == "class 000 class 007 3 60.0 %"
    assert len(top) == 5


def test_a_matrix_that_the_terminal_cannot_hold_is_a_list(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "WIDE", 80)
    names = [f"a rather long name {k}" for k in range(8)]
    scores.show(scored([0, 1], [1, 1], names))
    said = capsys.readouterr().out
    assert "top confusions" in said
    assert max(map(len, said.splitlines())) <= 80


def test_nothing_confused(capsys: pytest.CaptureFixture[str]) -> None:
    scores.show(scored([0], [0], [f"c{k}" for k in range(20)]))
    assert "no class was confused with another" in capsys.readouterr().out
