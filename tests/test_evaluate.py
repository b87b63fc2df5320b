import json

import numpy as np
import pytest

from regraft.errors import DataError
from regraft.evaluate import balanced_interval, evaluate, wilson

CLASSES = ("ant", "bee", "cat")


def made(n=60, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    p = rng.dirichlet(np.ones(3), n) + 0.8 * np.eye(3)[truth]
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32), truth


def test_scores_are_those_of_scikit_learn():
    from sklearn import metrics

    p, truth = made()
    answer = p.argmax(axis=1)
    scores = evaluate(p, [CLASSES[k] for k in truth], CLASSES)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(truth, answer))
    assert scores.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(truth, answer))
    assert scores.log_loss == pytest.approx(metrics.log_loss(truth, p), rel=1e-5)
    np.testing.assert_array_equal(scores.confusion, metrics.confusion_matrix(truth, answer))
    table = metrics.precision_recall_fscore_support(truth, answer)
    for k, one in enumerate(scores.per_class):
        ours = (one.precision, one.recall, one.f1, one.n)
        assert ours == pytest.approx([column[k] for column in table])
        assert one.recall_ci95[0] < one.recall <= one.recall_ci95[1]
    assert scores.unknown == {}
    assert scores.accuracy_known == scores.accuracy


def test_a_label_that_the_head_never_saw_is_named_and_not_scored():
    p, truth = made(10)
    labels = [CLASSES[k] for k in truth[:8]] + ["dog", "dog"]
    scores = evaluate(p, labels, CLASSES)
    right = int((p[:8].argmax(axis=1) == truth[:8]).sum())
    assert scores.n == 8
    assert scores.unknown == {"dog": 2}
    assert scores.accuracy == scores.accuracy_known == pytest.approx(right / 8)
    assert sum(map(sum, scores.confusion)) == 8


def test_what_is_not_there_is_null_and_never_nan():
    p = np.array([[1, 0, 0], [1, 0, 0]], np.float32)
    assert "null" in json.dumps(evaluate(p, ["ant", "bee"], CLASSES).json(), allow_nan=False)
    scores = evaluate(p, ["ant", "bee"], CLASSES)
    assert scores.per_class[2].recall is None
    assert scores.per_class[1].precision is None
    assert scores.balanced_accuracy == 0.5  # over the classes that occur
    assert scores.log_loss == pytest.approx(15.94 / 2, abs=0.01)


def test_wrong_input_is_refused():
    p, _ = made(4)
    with pytest.raises(DataError, match="shape"):
        evaluate(p, ["ant"] * 3, CLASSES)
    with pytest.raises(DataError, match="no labelled row"):
        evaluate(p[:0], [], CLASSES)
    with pytest.raises(DataError, match="none of the 4 rows has a class of the model"):
        evaluate(p, ["dog"] * 4, CLASSES)
    p[0, 0] = np.nan
    with pytest.raises(DataError, match="finite"):
        evaluate(p, ["ant"] * 4, CLASSES)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (145, 153, 0.90022, 0.97328),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 2, 0.0945, 0.9055),
    ],
)
def test_wilson_interval(right, n, low, high):
    assert wilson(right, n) == pytest.approx((low, high), abs=1e-4)


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    share, n = np.array([0.97, 0.8, 0.6]), np.array([20, 40, 15])
    drawn = rng.binomial(n, share, size=(2000, 3))
    inside = [a <= share.mean() <= b for a, b in (balanced_interval(d, n) for d in drawn)]
    assert 0.93 < np.mean(inside) < 0.985
