import numpy as np
import pytest

from regraft import heads
from regraft.errors import HeadError
from regraft.heads import logistic
from regraft.heads.calibrate import log_prior
from regraft.heads.contract import clusters
from regraft.heads.logistic import Logistic, solve_logistic, spread_over


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("n", "dim"), [(80, 5), (25, 60)])
@pytest.mark.parametrize("c", [0.01, 1.0])
def test_it_equals_scikit_learn_at_the_same_c(n_classes, n, dim, c):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rows, labels = clusters(n, dim, n_classes, apart=1.0)
    x = StandardScaler().fit_transform(rows.astype(np.float64))
    reference = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(x, labels)
    w = solve_logistic(x, labels, n_classes, 1.0 / (c * n), tolerance=1e-10)
    theirs = np.r_[reference.coef_.T, reference.intercept_[None]]
    if n_classes > 2:  # a constant added to all classes changes nothing
        w[-1] -= w[-1].mean()
        theirs[-1] -= theirs[-1].mean()
    np.testing.assert_allclose(w, theirs, atol=1e-5)
    layers = Logistic().solve(rows, labels, n_classes, {"penalty": 1.0 / (c * n)}, seed=0)
    scores = spread_over(x @ w[:-1] + w[-1]) - log_prior(labels, n_classes)
    ours = layers(rows)  # a constant added to all classes changes nothing
    ours += (scores - ours).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, scores, atol=2e-4)


def test_the_penalty_comes_from_unseen_rows():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    noise = rng.normal(size=(120, 30)).astype(np.float32)
    clear = noise + 3 * np.eye(30, dtype=np.float32)[labels]
    strong, weak = (heads.fit("logistic", x, labels, 3) for x in (noise, clear))
    assert strong.settings["penalty"] >= weak.settings["penalty"]
    assert strong.validation.kind == "k-fold"
    assert strong.validation.accuracy < 0.5
    assert weak.validation.accuracy > 0.85


def test_too_many_rows_are_refused_before_they_are_read(monkeypatch):
    monkeypatch.setattr(logistic, "MOST_BYTES", 1000)
    rows, labels = clusters(100, 5, 2)
    with pytest.raises(HeadError, match="ridge head, which streams"):
        heads.fit("logistic", rows, labels, 2)
