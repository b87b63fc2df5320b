"""Pictures in scikit-learn's pipelines, searches and cross-validation."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline

import regraft
from regraft.data import pillow_modes
from regraft.errors import BadInput, RegraftError
from regraft.sklearn import TransferClassifier, TransferFeatures
from tests.nets import small
from tests.pictures import CLASSES, picture, write_folder


@pytest.fixture(scope="module")
def net():
    return small()


@pytest.fixture(scope="module")
def one_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(one_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One cache for all tests here: the network is converted once."""
    monkeypatch.setenv("REGRAFT_CACHE", str(one_cache))
    return one_cache


@pytest.fixture
def photos(tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """36 paths and their labels, in no order of the labels."""
    home = write_folder(tmp_path / "photos", 12)
    paths = sorted(home.rglob("*.png"), key=lambda p: (p.stem, p.parent.name))
    return np.array([str(p) for p in paths]), np.array([p.parent.name for p in paths])


@pytest.mark.parametrize(
    "labels",
    [np.array([7, -3, 12]), np.array(["10", "9", "a/b"]), np.array([True, False]),
     np.array(["x", "y"], object), np.array([0.0, 2.0])],
)  # fmt: skip
def test_labels_of_any_type_come_back_as_they_went_in(labels: np.ndarray) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, len(labels), 80)
    rows = random.normal(size=(80, 5)) + 4 * np.eye(5)[truth]
    made = TransferClassifier().fit(rows, labels[truth])
    assert made.classes_.dtype == labels.dtype
    assert list(made.classes_) == sorted(labels)
    assert made.predict(rows).dtype == labels.dtype
    assert made.score(rows, labels[truth]) > 0.9
    assert np.abs(made.predict_proba(rows).sum(axis=1) - 1).max() < 1e-5


def test_pictures_give_what_fit_and_predict_give(photos, net, tmp_path: Path) -> None:
    paths, labels = photos
    made = TransferClassifier(net, head="ridge").fit(paths, labels)
    pairs = [*zip(paths.tolist(), labels.tolist(), strict=True)]
    run = regraft.fit(pairs, net, plan="probe", head="ridge", test=_test_part(tmp_path))
    told = run.predict(list(map(Path, paths)))
    ours = made.predict_proba(paths)
    assert list(made.classes_) == list(CLASSES) == list(run.model.classes)
    for row, one in zip(ours, sorted(told, key=lambda p: list(paths).index(p.file)), strict=True):
        assert {c: float(p) for c, p in zip(made.classes_, row, strict=True)} == one.probabilities
    assert (made.predict(paths) == labels).mean() > 0.9
    assert made.backbone_ == net.info
    assert made.at_ == (net.info.stages[-1].name,)


def _test_part(home: Path) -> Path:
    for kind in CLASSES:
        (home / "test" / kind).mkdir(parents=True)
        picture(kind, 900).save(home / "test" / kind / "one.png")
    return home / "test"


def test_cross_validation_decodes_every_picture_once(photos, net, monkeypatch, tmp_path) -> None:
    paths, labels = photos
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "empty"))
    decoded = []

    def counted(raw, white=0.0, decode=pillow_modes.decode):
        decoded.append(raw)
        return decode(raw, white)

    monkeypatch.setattr(pillow_modes, "decode", counted)
    made = TransferClassifier(net, precision="f32", depths="all")
    scores = cross_val_score(made, paths, labels, cv=3, error_score="raise")
    assert scores.mean() > 0.6
    assert len(decoded) == len(paths)
    grid = {"at": ["end", "middle"], "head": ["ridge", "prototypes"], "balance": [0.0, 1.0]}
    search = GridSearchCV(made, grid, cv=3, error_score="raise").fit(paths, labels)
    assert search.score(paths, labels) > 0.6
    assert len(decoded) == len(paths), "depths='all' computes every stage in the first pass"


def test_features_in_a_pipeline_that_is_searched(photos, net) -> None:
    paths, labels = photos
    steps = Pipeline([("look", TransferFeatures(net)), ("head", LogisticRegression(max_iter=500))])
    search = GridSearchCV(steps, {"look__at": ["end", "middle", "stem"], "head__C": [0.1, 10]},
                          cv=3, error_score="raise")  # fmt: skip
    search.fit(paths, labels)
    assert search.best_score_ > 0.6
    assert len(search.cv_results_["params"]) == 6


def test_features_of_two_stages_stand_side_by_side_and_have_names(photos, net) -> None:
    paths, _ = photos
    wide = TransferFeatures(net, at="middle+top", precision="f32").fit(paths)
    rows = wide.transform(paths)
    assert rows.shape == (36, 16 + 24)
    assert rows.dtype == np.float32
    assert np.array_equal(
        rows[:, 16:], TransferFeatures(net, at="top", precision="f32").fit_transform(paths)
    )
    assert list(wide.get_feature_names_out()[[0, -1]]) == [
        "transferfeatures0",
        "transferfeatures39",
    ]
    frame = wide.set_output(transform="pandas").transform(paths)
    assert list(frame.columns) == list(wide.get_feature_names_out())


def test_a_table_of_paths_and_numbers(photos, net) -> None:
    paths, labels = photos
    table = pd.DataFrame({"photo": paths, "weight": np.arange(36.0)}, index=np.arange(36)[::-1])
    both = ColumnTransformer(
        [("look", TransferFeatures(net), "photo"), ("rest", "passthrough", ["weight"])]
    )
    made = make_pipeline(both, TransferClassifier()).fit(table, labels)
    assert made[-1].n_features_in_ == 25
    assert made.score(table, labels) > 0.9
    one = TransferFeatures(net).fit_transform(table[["photo"]])
    assert np.array_equal(one, TransferFeatures(net).fit_transform(table["photo"]))


def test_pixels_are_pictures_too(net) -> None:
    labels = np.array([kind for kind in CLASSES for _ in range(8)])
    pixels = np.stack([np.asarray(picture(kind, n)) for n, kind in enumerate(labels)])
    made = TransferClassifier(net).fit(pixels, labels)
    assert made.score(pixels, labels) > 0.9
    assert np.array_equal(made.predict_proba(list(pixels)), made.predict_proba(pixels))


def test_pixels_are_seen_as_a_file_is(photos, net) -> None:
    from PIL import Image

    paths, _ = photos
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    look = TransferFeatures(net).fit(paths)
    assert np.array_equal(look.transform(pixels), look.transform(paths))


def test_a_stage_and_a_head_are_chosen(photos, net) -> None:
    paths, labels = photos
    made = TransferClassifier(net, at="auto").fit(paths, labels)
    assert set(made.at_) <= {stage.name for stage in net.info.stages}
    assert made.why_.endswith(".")
    assert made.head_.validation.accuracy > 0.8


def test_groups_are_left_out_together() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 4)
    labels = groups % 2
    rows = random.normal(size=(20, 60))[groups]
    alone = TransferClassifier(head="ridge").fit(rows, labels)
    grouped = TransferClassifier(head="ridge").fit(rows, labels, groups=groups)
    assert alone.head_.validation.accuracy == 1.0
    assert grouped.head_.validation.accuracy < 0.8
    scores = cross_val_score(TransferClassifier(head="ridge"), rows, labels, groups=groups,
                             cv=LeaveOneGroupOut(), error_score="raise")  # fmt: skip
    assert 0.1 < scores.mean() < 0.8
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        TransferClassifier().fit(rows, labels, groups=groups[1:])


def test_balance_gives_the_rare_class_more(net) -> None:
    random = np.random.default_rng(0)
    labels = (np.arange(300) < 20).astype(int)
    rows = random.normal(size=(300, 4)) + labels[:, None]
    shares = [
        TransferClassifier(head="logistic", balance=b).fit(rows, labels).predict(rows).mean()
        for b in (0.0, 1.0)
    ]
    assert shares[1] > 2 * shares[0]


def test_a_number_as_random_state_decides_all(photos) -> None:
    random = np.random.default_rng(0)
    rows, labels = random.normal(size=(60, 8)), np.arange(60) % 3
    first, again = (
        TransferClassifier(head="mlp", random_state=s).fit(rows, labels).predict_proba(rows)
        for s in (4, 4)
    )
    assert np.array_equal(first, again)
    drawn = np.random.RandomState(4)
    assert TransferClassifier(head="mlp", random_state=drawn).fit(rows, labels).score(rows, labels)


def test_clones_share_the_network_and_fitted_ones_can_be_pickled(photos, net) -> None:
    paths, labels = photos
    made = TransferClassifier(net, head="ridge", threads=1)
    assert clone(made).backbone is net
    assert clone(made).get_params() == made.get_params()
    by_name = TransferClassifier("test_resnet", weights="random", size=64).fit(paths, labels)
    same = pickle.loads(pickle.dumps(by_name))
    assert np.array_equal(same.predict_proba(paths), by_name.predict_proba(paths))
    own = made.fit(paths, labels)
    again = pickle.loads(pickle.dumps(own))
    assert np.array_equal(again.predict_proba(paths), own.predict_proba(paths))


def test_other_weights_than_in_fit_are_refused(photos, net) -> None:
    paths, labels = photos
    made = TransferClassifier(net).fit(paths, labels)
    with pytest.raises(BadInput, match="digest"):
        made.set_params(backbone=small(seed=1)).predict(paths)


def test_pictures_without_a_backbone_are_told_what_is_missing(photos) -> None:
    paths, labels = photos
    for rows in (paths, list(paths), [Path(p) for p in paths], pd.Series(paths)):
        with pytest.raises(BadInput, match=r"for pictures name one, such as Transfer.*'default'"):
            TransferClassifier().fit(rows, labels)


def test_the_geometries_that_are_named_are_those_that_there_are(photos, net) -> None:
    with pytest.raises(BadInput, match="geometry must be one of crop, squash, pad, got 'auto'"):
        TransferClassifier(net, geometry="auto").fit(*photos)


def test_files_that_cannot_be_read_are_named_never_guessed(photos, net, tmp_path: Path) -> None:
    paths, labels = photos
    made = TransferClassifier(net).fit(paths, labels)
    half, pipe = tmp_path / "half.png", tmp_path / "pipe.png"
    half.write_bytes(Path(paths[0]).read_bytes()[:300])
    os.mkfifo(pipe)
    for bad, why in ((half, "truncated"), (pipe, "a pipe"), (tmp_path / "no.png", "no such file")):
        rows = [*paths, bad]
        for call in (
            lambda rows=rows: made.predict(rows),
            lambda rows=rows: made.predict_proba(rows),
            lambda rows=rows: clone(made).fit(rows, [*labels, "dots"]),
            lambda rows=rows: TransferFeatures(net).fit(paths).transform(rows),
        ):
            with pytest.raises(ValueError, match=f"1 of 37 pictures.*{bad.name}.*{why}") as caught:
                call()
            assert isinstance(caught.value, RegraftError)


def test_pictures_in_memory_are_what_their_files_are(photos, net) -> None:
    paths, labels = photos
    made = TransferClassifier(net, head="ridge").fit(paths, labels)
    truth = made.predict_proba(paths[:3])
    raw = [Path(path).read_bytes() for path in paths[:3]]
    images = [Image.open(path) for path in paths[:3]]
    pixels = [np.asarray(image) for image in images]
    for rows in (raw, images, pixels, np.stack(pixels), [raw[0], images[1], pixels[2]]):
        assert np.array_equal(made.predict_proba(rows), truth)


@pytest.mark.parametrize(
    ("X", "said"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], r"row 0 is list"),
        (np.zeros((4, 3)), r"row 0 is ndarray of shape \(3,\).*backbone=None"),
        (np.zeros((4, 8, 8, 3)), "uint8"),
        (np.zeros((4, 8, 8), np.uint8), "uint8"),
        ([None], "row 0 is NoneType"),
        ("one.png", "must be a list"),
        ([], "at least one"),
        (7, "row 0"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(X, said: str, net) -> None:
    with pytest.raises(BadInput, match=said):
        TransferFeatures(net).fit(X)
    with pytest.raises(BadInput, match=said):
        TransferClassifier(net).fit(X, ["a", "b"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": "rigde"}, "ridge"),
        ({"at": "middle"}, "without a backbone"),
        ({"depths": "some"}, "depths must be one of"),
        ({"balance": 2.0}, "balance"),
        ({"backbone": "small", "weights": "random"}, "small"),
        ({"backbone": small(), "at": "botom"}, "botom"),
        ({"backbone": small(), "threads": 0}, "threads"),
        ({"backbone": small(), "geometry": "stretch"}, "geometry"),
    ],
)  # fmt: skip
def test_settings_are_checked_in_fit_with_one_sentence(options: dict, said: str, photos) -> None:
    paths, labels = photos
    made = TransferClassifier(**options)
    rows = paths if made.backbone is not None else np.arange(72.0).reshape(36, 2)
    with pytest.raises(BadInput, match=said):
        made.fit(rows, labels)


def test_labels_that_cannot_be_learned(photos, net) -> None:
    paths, labels = photos
    made = TransferClassifier(net)
    for bad, said in (
        (None, "requires y"),
        (labels[:-1], "inconsistent numbers of samples"),
        (np.full(36, "one"), "1 class: .*one"),
        (np.linspace(0, 1, 36), "Unknown label type"),
        (np.array([np.nan, *range(35)]), "NaN"),
    ):
        with pytest.raises(ValueError, match=said):
            made.fit(paths, bad)
    with pytest.raises(BadInput, match="choosing needs labels"):
        TransferFeatures(net, at="auto").fit(paths)
