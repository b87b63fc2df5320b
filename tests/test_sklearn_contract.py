"""scikit-learn's own checks: in full on rows of features, but for four exceptions on pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted, validate_data

from regraft.sklearn import TransferClassifier, TransferFeatures
from tests.nets import small
from tests.pictures import write_folder

CHECK = """
import sys
from sklearn.utils.estimator_checks import check_estimator
from regraft.sklearn import TransferClassifier, TransferFeatures
from tests.nets import small

made = {"classifier": TransferClassifier(), "features": TransferFeatures(None)}
results = check_estimator(made[sys.argv[1]])
assert {r["status"] for r in results} == {"passed"}, results
print(len(results))
"""


class Draw(TransformerMixin, BaseEstimator):
    """Numbers as pictures, so that scikit-learn's checks reach what looks at pictures.

    Every column is a stripe as bright as its number.
    """

    def fit(self, X, y=None):
        X = validate_data(self, X, dtype=np.float64)
        self.low_, self.span_ = X.min(axis=0), np.maximum(np.ptp(X, axis=0), 1e-9)
        return self

    def transform(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        grey = np.clip((X - self.low_) / self.span_ * 255, 0, 255).astype(np.uint8)
        column = np.arange(32) * X.shape[1] // 32
        return np.repeat(np.repeat(grey[:, None, column, None], 32, axis=1), 3, axis=3)

    def set_output(self, *, transform=None):
        return self


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


def in_a_process(code: str, *arguments: str) -> str:
    """What `code` prints, every warning an error and no optional check of scikit-learn left out."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=dict(os.environ, SCIPY_ARRAY_API="1"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("which", ["classifier", "features"])
def test_rows_of_features_keep_the_whole_contract(which: str) -> None:
    assert int(in_a_process(CHECK, which)) > 40


#: Where pictures depart from scikit-learn's contract, and why; docs/howto/scikit-learn.md has the
#: same list for people.
EXCEPTIONS = {
    "X is not numeric and 2-D": "a picture has no columns: X holds paths or pixels",
    "n_features_in_ is not set": "it counts the columns that X does not have",
    "features are float32, whatever comes in": "it is what networks compute in",
}


#: What no pipeline passes, whatever is in it: it fits its own steps.
OF_PIPELINES = {"check_estimators_overwrite_params", "check_dont_overwrite_parameters"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [TransferClassifier, TransferFeatures])
def test_pictures_pass_every_check_that_a_pipeline_can_pass(kind: type[BaseEstimator]) -> None:
    last = kind("test_resnet", weights="random", size=32, threads=1)
    results = check_estimator(make_pipeline(Draw(), last), on_fail=None, on_skip=None)
    assert len(results) > 40
    assert {r["check_name"] for r in results if r["status"] == "failed"} == OF_PIPELINES


def test_what_pictures_except_is_listed_and_true(photos, net) -> None:
    paths, labels = photos
    page = (Path(__file__).parent.parent / "docs" / "howto" / "scikit-learn.md").read_text()
    listed = [line for line in page.splitlines() if line.startswith("| ")][2:]
    assert [line.split(" | ")[0].strip("| ") for line in listed] == list(EXCEPTIONS)
    assert len(listed) <= 5
    for kind in (TransferClassifier, TransferFeatures):
        made = kind(net).fit(paths, labels)
        assert not get_tags(made).input_tags.two_d_array
        assert get_tags(made).input_tags.string
        assert get_tags(kind(None)).input_tags.two_d_array
        assert not hasattr(made, "n_features_in_")
    assert made.transform(paths).dtype == np.float32


def test_importing_regraft_does_not_import_scikit_learn() -> None:
    code = "import sys, regraft, regraft.run; print([m for m in sys.modules if 'sklearn' in m])"
    assert in_a_process(code) == "[]"


def test_without_scikit_learn_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from regraft.errors import MissingExtra\n"
        "try:\n    import regraft.sklearn\n"
        "except MissingExtra as problem:\n    print(problem)"
    )
    assert "pip install 'regraft[sklearn]'" in in_a_process(code)
