"""Several plans on the same splits: one table, with intervals that allow for what they share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import regraft
from regraft.cli import run
from regraft.comparing import FILE, Comparison, Made, Scored
from regraft.comparing.paired import interval
from regraft.comparing.ranking import Named, ranked
from regraft.errors import RegraftError
from regraft.parts import HELD_OUT
from regraft.plans import Phase
from tests.nets import small
from tests.pictures import write_folder

QUICK = {"batch": 8, "amp": "f32", "memory": "contiguous", "epochs": 1, "wise": "off"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("drawn"), 14)


def scored(accuracy: float, log_loss: float = 0.5, **other: object) -> Scored:
    plain = Scored(0, 100, 400, accuracy, accuracy, log_loss, 1.0, 2.0, 10, HELD_OUT)
    return replace(plain, **other)


def made(**runs: list[Scored]) -> Comparison:
    seeded = {
        name: [Made(replace(one, seed=seed)) for seed, one in enumerate(each)]
        for name, each in runs.items()
    }
    return Comparison("data", ranked(seeded, [Named(n, n, "net") for n in runs], {}), 3, 0.0)


def test_plans_are_ranked_and_the_difference_is_paired() -> None:
    hard = [0.80, 0.90, 0.85]
    found = made(
        worse=[scored(one - 0.02) for one in hard],
        best=[scored(one) for one in hard],
        far=[scored(0.5) for _ in hard],
    )
    assert [arm.plan for arm in found.arms] == ["best", "worse", "far"]
    best, worse, _ = found.arms
    assert (best.difference, best.difference_ci95) == (0.0, None)
    assert worse.difference == pytest.approx(-0.02)
    # The seeds differ by 10 points, the pairs not at all: so many rows leave 1 point of doubt.
    assert worse.difference_ci95 == pytest.approx((-0.03, -0.01))
    low, high = worse.accuracy_ci95
    assert high - low > 0.2
    assert 0 <= low < worse.accuracy < high <= 1


def test_equal_plans_are_ranked_by_log_loss() -> None:
    found = made(a=[scored(0.9, 0.4)] * 2, b=[scored(0.9, 0.3)] * 2)
    assert found.best.plan == "b"


def test_one_seed_has_an_interval_from_its_rows_alone() -> None:
    found = made(a=[scored(0.9)], b=[scored(0.8)])
    assert found.arms[0].accuracy_ci95[0] < 0.9 < found.arms[0].accuracy_ci95[1]
    assert found.arms[1].difference == pytest.approx(-0.1)
    assert found.arms[1].difference_ci95 is None


def test_seeds_that_share_rows_are_worth_less() -> None:
    # Student's t at 97.5 % for 2 degrees of freedom is 4.303, and the values spread by 0.01.
    low, high = interval([0.79, 0.80, 0.81], 0.0)
    assert (high - low) / 2 == pytest.approx(4.303 * 0.01 * (1 / 3) ** 0.5, rel=1e-3)
    low, high = interval([0.79, 0.80, 0.81], 0.25)
    assert (high - low) / 2 == pytest.approx(4.303 * 0.01 * (1 / 3 + 0.25) ** 0.5, rel=1e-3)
    assert interval([0.8], 0.25) is None


def test_given_test_rows_are_the_same_in_every_seed() -> None:
    given = [scored(one, test_part="the data given to test on") for one in (0.79, 0.81)]
    held = [scored(one) for one in (0.79, 0.81)]
    wide, narrow = (made(a=runs, b=list(runs)) for runs in (held, given))
    assert wide.arms[1].difference == narrow.arms[1].difference == 0
    assert narrow.arms[1].difference_ci95 == pytest.approx((-0.03, 0.03))  # of 100 rows, not 200
    assert wide.arms[1].difference_ci95 == pytest.approx((-0.015, 0.015))


def test_plans_through_fit(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    plans = {"probe": "probe", "lpft": "lpft", "mine": (Phase("end", 1, 0.01),),
             "broken": (Phase("nowhere", 1),)}  # fmt: skip
    how = {"plans": plans, "seeds": 2, "settings": QUICK, "geometry": "crop", "near": False}
    found = regraft.compare(data, small(), folder=tmp_path / "c", say=said.append, **how)
    assert {arm.plan for arm in found.arms[:3]} == {"probe", "lpft", "mine"}
    assert "no stage 'nowhere'" in found.arms[-1].error
    assert found.arms[-1].accuracy is None
    for arm in found.arms[:3]:
        assert [one.seed for one in arm.runs] == [0, 1]
        assert {one.n for one in arm.runs} == {one.n for one in found.best.runs}
        assert arm.parameters > 0
        report = json.loads((tmp_path / "c" / f"{arm.plan}-1" / "report.json").read_text())
        assert report["test"]["accuracy"] == arm.runs[1].accuracy
    assert json.loads((tmp_path / "c" / FILE).read_text()) == json.loads(json.dumps(found.json()))
    assert any("plan broken cannot be compared" in one for one in said)
    later = [one for one in said if one.startswith("features of ") and " computed" in one]
    assert len(later) == 6
    assert all(one.startswith("features of 0 ") for one in later[3:])  # the second seed is free
    said.clear()
    again = regraft.compare(data, small(), folder=tmp_path / "c", say=said.append, **how)
    assert again == found  # what was finished is taken as it is
    assert not any(one.startswith("features of") for one in said)


def test_the_splits_are_the_same(data: Path) -> None:
    how = {"geometry": "crop", "near": False, "seed": 3}
    solved = regraft.fit(data, small(), plan="probe", **how)
    trained = regraft.fit(data, small(), plan="lpft", settings=QUICK, **how)
    tested, other = (
        {row.id for row in one.ledger.rows if row.part == "test"} for one in (solved, trained)
    )
    assert tested
    assert tested == other


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"plans": ["lpft"]}, "--plans must name two plans or more, got lpft"),
        ({"plans": "lpft"}, "must be a list of plans"),
        ({"plans": ["lpft", "lpft"]}, "--plans names 'lpft' twice"),
        ({"plans": ["lpft", "prob"]}, "Did you mean 'probe'?"),
        ({"seeds": 0}, "--seeds must be 1 to 100, got 0"),
        ({"plans": ["probe", "early"], "settings": {"lr": "1"}}, "none of these plans trains"),
        ({"settings": {"epchs": "1"}}, "Did you mean 'epochs'?"),
        ({"plans": ["probe", "early"], "folds": "3"}, "no image is left that may be scored"),
        ({"plans": ["lpft", "full"], "folds": "3"}, "--folds measures plans that solve a head"),
        ({"plans": {"a": (Phase("x", 1),), "b": (Phase("y", 1),)}}, "there is no stage 'x'"),
    ],
)
def test_what_is_refused(how: dict, said: str, data: Path) -> None:
    with pytest.raises(RegraftError) as caught:
        regraft.compare(data, small(), **({"seeds": 1} | how))
    assert said in str(caught.value)


def test_the_table_and_going_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [
        "compare", str(data), "--plans", "probe,full,nowhere.toml", "--seeds", "2", "--backbone",
        "test_resnet", "--weights", "random", "--size", "32", "--geometry", "crop", "--no-near",
        *(f"{key}={value}" for key, value in QUICK.items()),
    ]  # fmt: skip
    assert run(command) == 2
    assert "nowhere.toml cannot be read" in capsys.readouterr().err
    command[3] = "probe,full"
    assert run(command) == 0
    told = capsys.readouterr().out
    assert "2 seeds with" in told
    assert "best" in told
    assert (tmp_path / "runs" / f"compare-{data.name}-1" / FILE).exists()
    # As if it had been ended before the last run.
    folder = tmp_path / "runs" / f"compare-{data.name}-1"
    (folder / FILE).unlink()
    (folder / "full-1" / "scores.json").unlink()
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["folder"] == f"runs/compare-{data.name}-1"
    assert {arm["plan"] for arm in found["arms"]} == {"probe", "full"}
