"""Plan files: read strictly, written so that they come back the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft import __version__
from regraft.errors import OptionError
from regraft.plans import Phase, Recipe
from regraft.plans.setting import Setting, settings_of
from regraft.plans.text import FORMAT, read_plan, write_plan


def values(setting: Setting) -> st.SearchStrategy:
    """Any value that a setting may have."""
    held = setting.range
    if held.among:
        return st.sampled_from(held.among)
    low = held.least if held.least is not None else held.above
    high = held.most if held.most is not None else held.below
    number = st.floats(
        low, high,
        exclude_min=held.above is not None, exclude_max=held.below is not None,
        allow_nan=False, allow_infinity=False,
    )  # fmt: skip
    kinds = {
        str: st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        float: number,
        int: st.integers(int(low or 0), int(high or 10**6)),
        bool: st.booleans(),
    }
    return st.one_of(*(kinds[kind] for kind in setting.types))


def records(record: type) -> st.SearchStrategy:
    return st.builds(record, **{name: values(one) for name, one in settings_of(record).items()})


@given(st.lists(records(Phase), min_size=1, max_size=4), records(Recipe))
def test_what_is_written_is_read_back(phases: list[Phase], recipe: Recipe) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.toml"
        path.write_text(write_plan(phases, recipe), encoding="utf-8")
        assert read_plan(path) == (tuple(phases), recipe)


def read(folder: Path, text: str) -> tuple[tuple[Phase, ...], Recipe]:
    path = folder / "my.toml"
    path.write_text(text)
    return read_plan(path)


def test_a_file_by_hand(tmp_path: Path) -> None:
    text = 'batch = 8\n[[phase]]\nsolve = true\n[[phase]]\ncut = "layer4"\nepochs = 3\nlr = 1\n'
    phases, recipe = read(tmp_path, text)
    assert phases == (Phase(solve=True), Phase("layer4", 3, 1.0))
    assert recipe == Recipe(batch=8)
    assert type(phases[1].lr) is float


PHASE = "[[phase]]\nepochs = 1\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batch = 8", "must have at least one [[phase]] table"),
        ("[phase]\nepochs = 1", "must be written as [[phase]] tables"),
        ("phase = 3", "must be written as [[phase]] tables"),
        ("epochs = 1\n" + PHASE, "there is no setting 'epochs'"),
        ("bach = 8\n" + PHASE, "there is no setting 'bach'. Did you mean 'batch'"),
        ("batch = '8'\n" + PHASE, "batch must be a whole number, 1 or more, got '8'"),
        ("batch = 8.0\n" + PHASE, "batch must be a whole number"),
        ("[[phase]]\nepoch = 1", "phase 1: there is no setting 'epoch'. Did you mean 'epochs'?"),
        (PHASE + "[[phase]]\nlr = '1'", "phase 2: lr must be a number, 0 or more, got '1'"),
        (PHASE + "solve = 1", "solve must be true or false, got 1"),
        (PHASE + "lr = nan", "lr must be a number"),
        (PHASE + "cut = 1.5", "cut must be a stage's number or name"),
        ("batch = ", "my.toml is not a plan"),
        (f"format = {FORMAT + 1}\nregraft = '9.1'\n" + PHASE, "was written by regraft 9.1 (format"),
        (f"format = {FORMAT + 1}\nregraft = '9.1'\nnew = 1\n" + PHASE, "install regraft 9.1"),
        (f"format = {FORMAT + 1}\n" + PHASE, "was written by a newer regraft"),
        ("format = 'x'\n" + PHASE, "'format' must be a whole number"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_says_who_wrote_it() -> None:
    lines = write_plan((Phase("end", 1),), Recipe()).splitlines()
    assert lines[:2] == [f"format = {FORMAT}", f'regraft = "{__version__}"']
