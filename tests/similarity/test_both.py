"""Pictures against the source's own: the same, shifted, too few, not the same stages."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.errors import DataError
from regraft.similarity import Similarity, against_source
from regraft.similarity.both import frechet, frechet_share, shrunk


def rows(n: int, seed: int, shift: float = 0.0, width: int = 96) -> np.ndarray:
    """(n, width) with a few strong directions, as features have them."""
    random = np.random.default_rng(seed)
    scales = 1.0 / np.arange(1, width + 1)
    return (random.normal(size=(n, width)) * scales + shift * scales).astype(np.float32)


def test_the_same_source_is_like_it_and_a_shift_less_and_less() -> None:
    source = {"low": rows(120, 0), "end": rows(120, 1)}
    found = [
        against_source({"low": rows(90, 2, shift), "end": rows(90, 3, shift)}, source)
        for shift in (0.0, 1.0, 2.0, 5.0)
    ]
    assert [f.verdict for f in found][::3] == ["like the source", "unlike"]
    assert found[0].score > 0.95
    scores = [f.score for f in found]
    assert scores == sorted(scores, reverse=True)
    assert [s.stage for s in found[0].per_stage] == ["low", "end"]
    assert max(s.a_distance for s in found[0].per_stage) < 0.7
    assert min(s.a_distance for s in found[3].per_stage) > 1.9
    assert found[0].method == "source folder"
    assert Similarity.from_json(found[0].json()) == found[0]


def test_only_one_stage_is_far() -> None:
    own = {"low": rows(80, 2), "end": rows(80, 3, 5.0)}
    low, end = against_source(own, {"low": rows(80, 0), "end": rows(80, 1)}).per_stage
    assert low.score > 0.9 > 0.3 > end.score


def test_frechet_of_known_distributions() -> None:
    random = np.random.default_rng(0)
    one = random.normal(size=(20_000, 3))
    other = random.normal(size=(20_000, 3)) * [1.0, 2.0, 3.0] + [2.0, 0.0, 0.0]
    assert frechet(one, other) == pytest.approx(4 + 0 + 1 + 4, rel=0.03)
    assert frechet(one, one) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(shrunk(other), np.diag([1.0, 4.0, 9.0]), atol=0.25)


@pytest.mark.parametrize("n", [10, 40, 200])
def test_chance_is_taken_off(n: int) -> None:
    shares = [
        frechet_share(rows(n, seed).astype(float), rows(n, seed + 99).astype(float))
        for seed in range(5)
    ]
    assert np.mean(shares) < 0.06


def test_few_are_rough_and_fewer_refused() -> None:
    few = against_source({"end": rows(5, 0)}, {"end": rows(50, 1)})
    assert few.rough
    assert "rough" in few.why
    with pytest.raises(DataError, match="at least 4 pictures each"):
        against_source({"end": rows(3, 0)}, {"end": rows(50, 1)})
    with pytest.raises(DataError, match="the same stages"):
        against_source({"end": rows(9, 0)}, {"low": rows(9, 1)})


def test_equal_rows_without_spread_are_alike() -> None:
    still = np.ones((12, 5), np.float32)
    assert against_source({"end": still}, {"end": still}).score == 1
