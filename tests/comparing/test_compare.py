"""Several plans on the same splits: one table, with intervals that allow for what they share."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import regraft
from regraft.cli import run
from regraft.comparing import FILE, Comparison, Made, Scored
from regraft.comparing.making import Attempts, read_right
from regraft.comparing.paired import holm, interval
from regraft.comparing.ranking import Named, ranked
from regraft.errors import OptionError, RegraftError
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
        assert arm.peak_memory_bytes > 50e6
        sizes = [
            sum(p.stat().st_size for p in (tmp_path / "c" / f"{arm.plan}-{seed}/bundle").iterdir())
            for seed in (0, 1)
        ]
        assert arm.bundle_bytes == sum(sizes) / 2
        assert arm.gap == pytest.approx(
            sum(one.train_accuracy - one.validation_accuracy for one in arm.runs) / 2
        )
        rights = [read_right(tmp_path / "c" / f"{arm.plan}-{seed}") for seed in (0, 1)]
        for one, right in zip(arm.runs, rights, strict=True):
            assert sum(right.values()) == round(one.accuracy * one.n)
            assert len(right) == one.n
        report = json.loads((tmp_path / "c" / f"{arm.plan}-1" / "report.json").read_text())
        assert report["test"]["accuracy"] == arm.runs[1].accuracy
    assert json.loads((tmp_path / "c" / FILE).read_text()) == json.loads(json.dumps(found.json()))
    probe, lpft = (next(arm for arm in found.arms if arm.plan == p) for p in ("probe", "lpft"))
    assert (probe.forgetting.changed, probe.runs[0].work) == (0.0, 0.0)
    assert "no classifier" in lpft.forgetting.why
    assert lpft.runs[0].work > 0 < lpft.runs[0].work_seconds < lpft.runs[0].seconds
    assert all(arm.p_value is not None and arm.test for arm in found.arms[1:3])
    # Cheap ones first, and the first seed of all before the second of any.
    begun = [one for one in said if one.startswith("plan ") and "seed" in one]
    assert begun[0] == "plan probe, seed 0"
    assert begun.index("plan lpft, seed 0") < begun.index("plan probe, seed 1")
    assert any("plan broken cannot be compared" in one for one in said)
    later = [one for one in said if one.startswith("computed ")]
    assert len(later) == 6
    assert all(one.startswith("computed 0 ") for one in later[3:])  # the second seed is free
    said.clear()
    again = regraft.compare(data, small(), folder=tmp_path / "c", say=said.append, **how)
    assert again == found  # what was finished is taken as it is
    assert not any(one.startswith("computed ") for one in said)


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_backbones_are_compared_and_share_the_splits(data: Path, tmp_path: Path) -> None:
    other = regraft.backbone("test_resnet", weights="random", size=32)
    how = {"plans": ["probe", "early"], "seeds": 1, "geometry": "crop", "near": False}
    found = regraft.compare(data, [small(), other], folder=tmp_path / "c", **how)
    assert {(arm.name, arm.plan, arm.backbone) for arm in found.arms} == {
        (f"{plan}, {name}", plan, name)
        for plan in ("probe", "early")
        for name in ("small", other.info.name)
    }
    rights = [read_right(home) for home in (tmp_path / "c").iterdir() if home.is_dir()]
    assert len(rights) == 4
    assert len({frozenset(right) for right in rights}) == 1
    assert all(arm.p_value is not None for arm in found.arms[1:])
    with pytest.raises(OptionError, match="--weights is one backbone's file"):
        regraft.compare(data, ["a", "b"], weights="x.safetensors", **how)


def test_a_budget_leaves_out_what_does_not_fit(data: Path, tmp_path: Path) -> None:
    how = {"plans": ["probe", "full"], "seeds": 2, "geometry": "crop", "near": False}
    how |= {"settings": QUICK | {"epochs": 2, "patience": 0}, "folder": tmp_path / "c"}
    events: list[dict[str, Any]] = []

    def slow(event: dict[str, Any]) -> None:
        # The clock of an epoch on a slower machine.
        event["left_seconds"] = 10_000.0
        events.append(event)

    said: list[str] = []
    found = regraft.compare(data, small(), budget=600.0, watch=slow, say=said.append, **how)
    assert len(events) == 1  # ended after the first epoch
    assert [arm.name for arm in found.arms] == ["probe"]
    assert [one.seed for one in found.best.runs] == [0, 1]  # what is left goes to cheaper ones
    (left,) = found.left_out
    assert (left.name, left.plan, left.seeds) == ("full", "full", (0, 1))
    assert left.seconds == pytest.approx(10_000, abs=300)
    assert any(one.startswith("no time is left for plan full, seed 0, which would take about 2 h")
               for one in said)  # fmt: skip
    assert json.loads((tmp_path / "c" / FILE).read_text())["left_out"][0]["seeds"] == [0, 1]
    assert found.budget == 600.0
    # A larger one goes on: what is there is taken, and the time that it took counts.
    more = regraft.compare(data, small(), budget=100_000.0, **how)
    assert {arm.name for arm in more.arms} == {"probe", "full"}
    assert more.left_out == ()
    full = next(arm for arm in more.arms if arm.name == "full")
    assert full.runs[0].attempts == 2
    assert more.arms[0].seconds is not None
    assert not list((tmp_path / "c").glob("*.begun.json"))
    assert not list((tmp_path / "c").glob("*.unfinished"))


def test_a_budget_too_small_for_one_arm_says_what_fits(data: Path) -> None:
    with pytest.raises(OptionError) as caught:
        regraft.compare(data, small(), plans=["probe", "full"], budget=1e-3, near=False)
    assert re.fullmatch(
        r"--budget 1s is too small for one arm: the cheapest, probe, takes about \d+\.\d s here; "
        r"give --budget \d+s or more\.",
        str(caught.value),
    )
    with pytest.raises(OptionError, match="budget must be above 0 seconds, got 0"):
        regraft.compare(data, small(), plans=["probe", "full"], budget=0)


def test_arms_with_fewer_seeds_are_paired_where_both_ran() -> None:
    # On the seed that both ran they are equal; the mean over all seeds says otherwise.
    found = made(cheap=[scored(0.9), scored(0.5)], dear=[scored(0.91)])
    assert [arm.name for arm in found.arms] == ["dear", "cheap"]
    assert found.arms[1].difference == pytest.approx(-0.01)
    assert found.arms[1].accuracy == pytest.approx(0.7)


def test_p_values_are_corrected_for_all_of_them() -> None:
    runs = {"best": 0.9, "one": 0.8, "two": 0.79, "three": 0.9}
    found = made(**{
        name: [scored(mean + off, test_part="given") for off in spread]
        for (name, mean), spread in zip(
            runs.items(), [(0.0, 0.01, 0.02), (0, 0, 0.01), (0.01, 0, 0), (0, 0, 0.01)], strict=True
        )
    })  # fmt: skip
    singles = [arm.p_single for arm in found.arms[1:]]
    assert [arm.p_value for arm in found.arms[1:]] == holm(singles)
    assert found.best.p_value is None


def test_seconds_of_ended_attempts_count(tmp_path: Path) -> None:
    first = Attempts(tmp_path / "run.begun.json")
    first.begin()
    first.start -= 100.0  # as if an epoch had ended after 100 s
    first.note()
    second = Attempts(tmp_path / "run.begun.json")
    second.begin()
    done = second.added(scored(0.9, seconds=5.0))
    assert done.attempts == 2
    assert done.seconds == pytest.approx(105, abs=20)
    second.forget()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_solved_heads_are_compared_without_torch(data: Path) -> None:
    program = (
        "import sys, regraft\n"
        f"found = regraft.compare({str(data)!r}, 'test_resnet', weights='random', size=32,\n"
        "    plans=['probe', 'early'], seeds=1, geometry='crop', near=False)\n"
        "assert found.best.gap is not None\n"
        "print({'torch', 'timm', 'scipy'} & set(sys.modules))"
    )
    for _ in range(2):  # once for what is kept, then from that alone
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
    assert done.stdout.strip() == "set()"
