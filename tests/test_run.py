"""fit: whole runs on small pictures; scores only on unseen rows; the same bytes twice."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regraft
from regraft.cli.fit import from_settings
from regraft.errors import CutError, DataError, OptionError
from regraft.files import digest
from tests.nets import small
from tests.pictures import picture, write_folder


@pytest.fixture(scope="module")
def net():
    return small()


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("flat") / "data", 10)


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parted") / "data"
    return write_folder(folder, 6, parts=("train", "val", "test"))


def tree(folder: Path) -> dict[str, str]:
    """Every file below with its digest."""
    return {
        p.relative_to(folder).as_posix(): digest(p.read_bytes())
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_a_flat_folder_is_divided_and_scored_on_what_was_held_out(flat: Path, net) -> None:
    report = regraft.fit(flat, net, head="ridge").report
    assert report["train"]["n"] == 24
    assert report["test"]["n"] == 6
    assert report["test_part"] == "a fifth held out"
    assert report["validation"]["kind"] == "leave-one-out"
    assert report["validation"]["n"] == 24
    assert report["test"]["accuracy"] > 0.6
    assert report["classes"] == ["checks", "dots", "stripes"]
    assert report["cache"] == {"state": "cold", "hits": 0, "misses": 30}
    assert report["seconds"]["total"] >= report["seconds"]["features"] > 0
    assert report["peak_memory_bytes"] > 10e6
    json.dumps(report, allow_nan=False)


def test_given_parts_are_used_as_given(parted: Path, net) -> None:
    report = regraft.fit(parted, net).report
    assert report["validation"]["kind"] == "held out"
    assert report["validation"]["n"] == 18
    assert report["train"]["n"] == 36  # the final head learns from both
    assert report["test"]["n"] == 18
    assert report["test_part"] == "the data's own test part"


def test_data_given_to_test_on_win(parted: Path, flat: Path, net) -> None:
    report = regraft.fit(parted, net, test=flat).report
    assert report["test_part"] == "the data given to test on"
    assert report["cache"]["hits"] + report["cache"]["misses"] == 36 + 30  # not the own test part


def test_copies_of_training_pictures_are_named_and_not_scored(
    parted: Path, flat: Path, net, caplog: pytest.LogCaptureFixture
) -> None:
    # the first six pictures of each class in `flat` are those of parted/train
    report = regraft.fit(parted, net, test=flat).report
    assert report["test"]["n"] == 12
    leaks = report["audit"]["leaks"]
    assert len(leaks) == 18
    assert "dots/000.png" in [leak["file"] for leak in leaks if leak["kind"] == "exact"]
    assert "18 images to test or choose on are known from training" in caplog.text


def test_look_alikes_are_scored_if_they_are_known_to_differ(tmp_path: Path, net) -> None:
    data = write_folder(tmp_path / "data", 6, parts=("train", "test"))
    with Image.open(data / "train" / "dots" / "000.png") as image:
        image.point(lambda level: min(255, level + 6)).save(data / "test" / "dots" / "alike.png")
    kept = regraft.fit(data, net, geometry="crop")
    assert "test/dots/alike.png" in [leak["file"] for leak in kept.report["audit"]["leaks"]]
    every = regraft.fit(data, net, geometry="crop", near=False)
    assert every.report["audit"]["leaks"] == []
    assert every.report["test"]["n"] == 19 > kept.report["test"]["n"]
    assert every.settings["near"] is False


def test_equal_pictures_never_lie_on_both_sides(tmp_path: Path, net) -> None:
    data = write_folder(tmp_path / "data", 5)
    for kind in ("checks", "dots", "stripes"):
        for number in range(5):
            shutil.copy(data / kind / f"{number:03d}.png", data / kind / f"copy{number}.png")
    for seed in range(3):
        run = regraft.fit(data, net, seed=seed)
        assert run.report["test"]["n"] == 6
        assert run.report["test"]["n"] + run.report["train"]["n"] == 30


def test_two_runs_of_one_resolved_run_toml_give_the_same_bytes(
    flat: Path, tmp_path: Path, own_cache: Path
) -> None:
    first = regraft.fit(flat, small(), at="auto").save(tmp_path / "a")
    settings = tomllib.loads((tmp_path / "a" / "run.toml").read_text())
    assert settings["at"] == first.report["at"]
    assert settings["depths"] == "all"
    shutil.rmtree(own_cache)
    for name in ("b", "c"):
        given = from_settings(settings) | {"backbone": small()}
        regraft.fit(**given).save(tmp_path / name)
    assert tree(tmp_path / "b" / "bundle") == tree(tmp_path / "c" / "bundle")
    assert tree(tmp_path / "b" / "bundle") == tree(tmp_path / "a" / "bundle")


def test_another_seed_is_another_split(flat: Path, net) -> None:
    runs = [regraft.fit(flat, net, seed=seed) for seed in (0, 1)]
    weights = [run.model.head.arrays() for run in runs]
    assert any((weights[0][k] != weights[1][k]).any() for k in weights[0])


def test_a_bundle_names_no_place_and_no_time(flat: Path, net, tmp_path: Path) -> None:
    run = regraft.fit(flat, net).save(tmp_path / "run")
    for path in (tmp_path / "run" / "bundle").iterdir():
        content = path.read_bytes()
        for word in (str(tmp_path), str(flat), flat.parent.name, "202"):
            if word != "202" or path.suffix in (".md",):
                assert word.encode() not in content, (path.name, word)
    assert run.folder == tmp_path / "run"


def test_what_was_fitted_predicts_the_same_after_loading(flat: Path, net, tmp_path: Path) -> None:
    run = regraft.fit(flat, net).save(tmp_path / "run")
    loaded = regraft.load(tmp_path / "run", backbone=net)
    assert loaded.predict(flat) == run.predict(flat)
    again = loaded.evaluate(flat)
    assert again["cache"]["misses"] == 0
    # a run knows what it learned from, and scores only the rest; so does its bundle in its place,
    # which a bundle that was shipped does not
    assert (again["n"], again["trained_on"]) == (6, 24)
    assert again["accuracy"] == run.report["test"]["accuracy"] == run.evaluate(flat)["accuracy"]
    inside = regraft.load(tmp_path / "run" / "bundle", backbone=net).evaluate(flat)
    assert (inside["n"], inside["trained_on"]) == (6, 24)
    shutil.copytree(tmp_path / "run" / "bundle", tmp_path / "bundle")
    shipped = regraft.load(tmp_path / "bundle", backbone=net).evaluate(flat)
    assert (shipped["n"], shipped["trained_on"]) == (30, 0)


def test_nothing_is_left_to_score(flat: Path, net, tmp_path: Path) -> None:
    run = regraft.fit(flat, net)
    data = regraft.images(flat)
    ids = {e.id for e in data.examples if digest(e.read()) in run.model.trained}
    known = data.only(tuple(e for e in data.examples if e.id in ids))
    with pytest.raises(DataError, match="was trained on all of these 24 files"):
        run.evaluate(known)
    for path in flat.rglob("*.png"):
        new = tmp_path / "bad" / path.relative_to(flat)
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 30 files in .* could be read"):
        run.evaluate(tmp_path / "bad")


def test_copies_in_training_do_not_vouch_for_each_other(tmp_path: Path, net) -> None:
    """Noise has nothing to learn: copies left in while one is left out would score 100 %."""
    random = np.random.default_rng(0)
    for kind in ("a", "b"):
        home = tmp_path / "data" / kind
        home.mkdir(parents=True)
        for number in range(20):
            pixels = random.integers(0, 256, (24, 24, 3), np.uint8)
            for copy in range(3):
                Image.fromarray(pixels).save(home / f"{number}-{copy}.png")
    for head in ("ridge", "logistic", "prototypes", "auto"):
        held = regraft.fit(tmp_path / "data", net, head=head).report["validation"]
        assert held["accuracy"] < 0.8, head


def test_copies_in_validation_are_not_scored(tmp_path: Path, net) -> None:
    data = write_folder(tmp_path / "data", 4, parts=("train", "val", "test"))
    shutil.copy(data / "train" / "dots" / "000.png", data / "val" / "dots" / "copy.png")
    report = regraft.fit(data, net).report
    assert [leak["file"] for leak in report["audit"]["leaks"]] == ["val/dots/copy.png"]
    assert report["validation"]["n"] == 12


def test_test_data_of_which_nothing_can_be_read(flat: Path, tmp_path: Path, net) -> None:
    (tmp_path / "bad" / "dots").mkdir(parents=True)
    (tmp_path / "bad" / "dots" / "x.png").write_bytes(b"no")
    with pytest.raises(DataError, match="none of the 1 files given to test on"):
        regraft.fit(flat, net, test=tmp_path / "bad")


def test_only_the_test_part_of_the_data_to_test_on(parted: Path, flat: Path, net) -> None:
    report = regraft.fit(flat, net, test=parted).report
    assert report["test"]["n"] + len(report["audit"]["leaks"]) == 18


@pytest.mark.parametrize("at", ["stem", "middle", "stem+top", "end"])
def test_features_of_earlier_stages(at: str, flat: Path, net) -> None:
    run = regraft.fit(flat, net, at=at)
    assert run.model.at == tuple("flat" if at == "end" else at for at in at.split("+")) or (
        at == "end" and len(run.model.at) == 1
    )
    assert len(run.predict(flat)) == 30


@pytest.mark.parametrize("head", ["ridge", "logistic", "mlp", "prototypes"])
def test_every_head(head: str, parted: Path, net) -> None:
    report = regraft.fit(parted, net, head=head).report
    assert report["head"] == head
    assert report["validation"]["n"] > 0
    assert report["test"]["accuracy"] > 0.4


def test_unreadable_files_are_told_and_left_out(tmp_path: Path, net) -> None:
    data = write_folder(tmp_path / "data", 6)
    (data / "dots" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much")
    report = regraft.fit(data, net).report
    assert [s["file"] for s in report["audit"]["skipped"]] == ["dots/broken.jpg"]
    assert report["train"]["n"] + report["test"]["n"] == 18


def test_a_class_whose_every_file_is_bad(tmp_path: Path, net) -> None:
    data = write_folder(tmp_path / "data", 4)
    shutil.rmtree(data / "stripes")
    for path in (data / "dots").iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="at least two classes, got only 'checks'"):
        regraft.fit(data, net)


def test_not_one_readable_file(tmp_path: Path, net) -> None:
    data = write_folder(tmp_path / "data", 2)
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 6 files in .* could be read"):
        regraft.fit(data, net)


def test_a_validation_class_that_nobody_trains_on(tmp_path: Path, net) -> None:
    data = write_folder(tmp_path / "data", 3, parts=("train", "val", "test"))
    (data / "val" / "extra").mkdir()
    picture("dots", 99).save(data / "val" / "extra" / "x.png")
    with pytest.raises(DataError, match="validation part has the class 'extra'"):
        regraft.fit(data, net)


def test_a_test_class_that_nobody_trains_on_is_named_and_not_scored(tmp_path: Path, net) -> None:
    data = write_folder(tmp_path / "data", 5, parts=("train", "test"))
    (data / "test" / "extra").mkdir()
    picture("dots", 99).save(data / "test" / "extra" / "x.png")
    test = regraft.fit(data, net).report["test"]
    assert test["n"] == 15
    assert test["unknown"] == {"extra": 1}


def test_a_test_part_without_a_class_to_learn_is_replaced(tmp_path: Path, net, caplog) -> None:
    data = write_folder(tmp_path / "data", 5, parts=("train", "test"))
    for folder in list((data / "test").iterdir()):
        folder.rename(folder.with_name(folder.name.upper()))
    report = regraft.fit(data, net, plan="probe").report
    assert report["test_part"] == "a fifth held out"
    assert report["train"]["n"] + report["test"]["n"] == 15
    assert report["test"]["unknown"] == {}
    assert "'CHECKS' (5 in test) and 'checks' (5 in train) differ only in case" in caplog.text
    assert "no class of the test part is among those to learn" in caplog.text
    assert "the score comes from a fifth held out" in caplog.text


def test_data_to_test_on_without_a_class_to_learn_are_refused(tmp_path: Path, net) -> None:
    data = write_folder(tmp_path / "data", 3)
    test = write_folder(tmp_path / "other", 3)
    for folder in list(test.iterdir()):
        folder.rename(folder.with_name(folder.name.upper()))
    with pytest.raises(DataError, match=r"no class in common .*is 'CHECKS' the class 'checks'\?"):
        regraft.fit(data, net, test=test)
    run = regraft.fit(data, net, plan="probe")
    with pytest.raises(DataError, match="no class in common"):
        run.evaluate(test)


def test_labels_of_other_data_are_spelled_as_the_model_spells_them(tmp_path: Path, net) -> None:
    data = write_folder(tmp_path / "data", 4)
    test = write_folder(tmp_path, 3, parts=("unused", "test")) / "test"
    for folder in list(test.iterdir()):
        folder.rename(folder.with_name(folder.name + " "))
    run = regraft.fit(data, net, plan="probe", test=test)
    assert run.report["test"]["unknown"] == {}
    assert run.report["classes"] == ["checks", "dots", "stripes"]
    assert [note for note in run.report["audit"]["notes"] if "one class spelled" in note]
    assert regraft.fit(data, net, plan="probe").evaluate(test)["unknown"] == {}


@pytest.mark.parametrize("per_class", [1, 2])
def test_hardly_any_images(per_class: int, tmp_path: Path, net) -> None:
    run = regraft.fit(write_folder(tmp_path / "data", per_class), net).save(tmp_path / "run")
    assert run.report["train"]["n"] == 3  # of two, one is held out
    assert run.report["validation"]["n"] == 0
    assert run.report["validation"]["accuracy"] is None
    assert (run.report["test"] is None) == (per_class == 1)
    found = run.predict(tmp_path / "data")
    assert all(max(one.probabilities.values()) > 0.34 for one in found)
    assert (tmp_path / "run" / "log.txt").exists()
    json.dumps(run.report, allow_nan=False)


def test_wrong_options(flat: Path, net, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"got 'rigde'\. Did you mean 'ridge'\?"):
        regraft.fit(flat, net, head="rigde")
    with pytest.raises(CutError, match=r"no stage 'stemm'.* Did you mean 'stem'"):
        regraft.fit(flat, net, at="stemm")
    with pytest.raises(OptionError, match="--seed must be 0 or more, got -1"):
        regraft.fit(flat, net, seed=-1)
    with pytest.raises(OptionError, match="depths must be one of"):
        regraft.fit(flat, net, depths="some")
    run = regraft.fit(flat, net)
    (tmp_path / "there").mkdir()
    with pytest.raises(OptionError, match="there exists"):
        run.save(tmp_path / "there")
