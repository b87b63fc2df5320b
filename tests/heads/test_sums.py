"""The sums of a ridge head: what comes and goes leaves the head of a fit on what is there."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft import heads
from regraft.errors import BundleError, HeadError
from regraft.heads import sums as module
from regraft.heads.contract import clusters
from regraft.heads.fitted import fit_head
from regraft.heads.ridge import Ridge
from regraft.heads.spectrum import decompose
from regraft.heads.sums import Sums, read, sums_of

NAMES = ("ant", "bee", "cat", "dog")


def made(rows: np.ndarray, labels: list[str], penalty: float = 0.03, lift: int = 0) -> Sums:
    """The sums of a ridge head that was fitted on these rows."""
    classes = sorted(set(labels))
    numbers = np.array([classes.index(label) for label in labels])
    head = heads.fit("ridge", rows, numbers, len(classes), lift=lift, penalty=penalty)
    assert head.settings == {"penalty": penalty, "lift": lift}
    return sums_of(head.layers, rows, labels, at=["end"], settings=head.settings, seed=0)


def named(n: int, dim: int, n_classes: int, seed: int) -> tuple[np.ndarray, list[str]]:
    rows, numbers = clusters(n, dim, n_classes, seed=seed)
    return rows, [NAMES[k] for k in numbers]


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, relative to the largest number."""
    return float(np.abs(one - other).max() / np.abs(other).max())


def check(sums: Sums, rows: np.ndarray, labels: list[str]) -> None:
    """Whether `sums` give the head of a fit on `rows`: weights in float64, scores in float32."""
    classes = sorted(set(labels))
    numbers = np.array([classes.index(label) for label in labels])
    assert sums.classes == tuple(classes)
    assert sums.moments.n == len(rows)
    fresh = decompose(rows, numbers, len(classes))
    shift, weight, target = sums.weights()
    assert apart(shift, fresh.shift) < 1e-12
    assert apart(weight, fresh.weight(sums.settings["penalty"])) < 1e-9
    assert apart(target, fresh.target) < 1e-15
    solved = Ridge().solve(rows, numbers, len(classes), sums.settings, seed=0)
    assert apart(sums.solve()(rows), solved(rows)) < 2e-5


@settings(max_examples=25)
@given(
    st.integers(0, 10_000),
    st.sampled_from([(40, 6), (30, 60)]),  # more rows than columns, and fewer
    st.lists(st.integers(1, 29), min_size=1, max_size=3, unique=True),
)
def test_rows_come_in_parts_with_new_classes(seed, size, cuts) -> None:
    rows, labels = named(*size, 4, seed)
    if seed % 2:  # class after class: each part brings classes that the ones before lack
        order = np.argsort(labels, kind="stable")[::-1]
        rows, labels = rows[order], [labels[k] for k in order]
    edges = [0, *sorted(cuts), len(rows)]
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    whole = made(rows, labels)
    grown = whole.of(rows[parts[0]], labels[parts[0]])
    joined = grown
    for part in parts[1:]:
        grown = grown.plus(rows[part], labels[part])
        joined = whole.of(rows[part], labels[part]).join(joined)
    check(grown, rows, labels)
    check(joined, rows, labels)
    assert grown.counts == {name: labels.count(name) for name in sorted(set(labels))}


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([(40, 6), (30, 60)]), st.integers(8, 28))
def test_rows_that_went_were_never_there(seed, size, keep) -> None:
    rows, labels = named(*size, 4, seed)
    left = made(rows, labels).minus(rows[keep:], labels[keep:])
    check(left, rows[:keep], labels[:keep])
    again = left.plus(rows[keep:], labels[keep:])
    check(again, rows, labels)


def test_a_class_whose_last_row_goes_disappears() -> None:
    rows, labels = named(40, 6, 4, 1)
    bees = [label == "bee" for label in labels]
    stay = [not bee for bee in bees]
    left = made(rows, labels).minus(rows[bees], ["bee"] * sum(bees))
    check(left, rows[stay], [label for label in labels if label != "bee"])
    with pytest.raises(HeadError, match="no row of the class 'bee'"):
        left.minus(rows[:1], ["bee"])


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_a_column_that_only_removed_rows_used_stays_silent(level: float) -> None:
    """What rounding leaves of it must not be scaled to variance one."""
    rows, labels = named(60, 8, 3, 2)
    rows[:, 5] = level
    rows[40:, 5] += np.random.default_rng(0).normal(size=20).astype(np.float32) * 1e3
    left = made(rows, labels).minus(rows[40:], labels[40:])
    assert (left.weights()[1][5] == 0).all()
    seen = np.tile(rows[:1], (2, 1))
    seen[1, 5] = 500.0
    scores = left.solve()(seen)
    np.testing.assert_array_equal(scores[0], scores[1])
    fresh = made(rows[:40], labels[:40])
    assert apart(left.solve()(rows), fresh.solve()(rows)) < 2e-5


def test_a_column_stays_silent_however_its_rows_go() -> None:
    """One by one: what the largest left in the rounding is more than all that the last one had."""
    rows, labels = named(60, 8, 3, 2)
    rows[:, 5] = 0.0
    rows[40, 5], rows[41, 5] = 5.0, 1e-5
    left = made(rows, labels)
    for row in range(40, 60):
        left = left.minus(rows[row : row + 1], labels[row : row + 1])
    assert (left.weights()[1][5] == 0).all()
    check(left, rows[:40], labels[:40])
    both = made(rows[:10], labels[:10]).join(left.minus(rows[:10], labels[:10]))
    assert both.moments.peak[5] == left.moments.peak[5] > 0
    assert set(np.log2(left.moments.peak[left.moments.peak > 0]) % 4) == {0.0}


def test_a_lift_stays_as_it_is() -> None:
    rows, labels = named(80, 12, 3, 3)
    first = made(rows[:50], labels[:50], lift=64)
    assert len(first.before) == 3
    grown = first.plus(rows[50:], labels[50:])
    lifted = rows
    for layer in first.before:
        lifted = layer(lifted)
    fresh = decompose(lifted, np.array([NAMES.index(one) for one in labels]), 3)
    assert apart(grown.weights()[1], fresh.weight(0.03)) < 1e-9
    assert grown.solve().names() == ["scale", "signs", "relu", "affine"]
    assert grown.solve().dim == 12
    with pytest.raises(HeadError, match="passed different layers"):
        grown.join(made(rows, labels))


def test_without_rows_the_probabilities_are_still_some() -> None:
    rows, labels = named(400, 10, 3, 4)
    sums = made(rows, labels)
    layers = sums.solve()
    numbers = np.array([NAMES.index(one) for one in labels])
    calibration = sums.neutral(layers, 0.0)
    assert calibration.log_loss(layers(rows), numbers) < 0.7 * np.log(3)
    shares = np.log((np.bincount(numbers) + 0.5) / (len(rows) + 1.5))
    np.testing.assert_allclose(calibration.bias, shares)
    np.testing.assert_allclose(sums.neutral(layers, 1.0).bias, 0, atol=1e-12)
    spread = layers(rows)
    spread = spread - spread.mean(axis=1, keepdims=True)
    expected = np.sqrt(2 * np.log(3)) / np.sqrt((spread**2).mean())
    assert calibration.sharpness == pytest.approx(expected, rel=1e-3)


def kept(folder: Path, sums: Sums) -> dict[str, Path]:
    for name, data in sums.files().items():
        (folder / name).write_bytes(data)
    return {"meta": folder / module.META, "body": folder / module.ARRAYS}


@pytest.mark.parametrize("lift", [0, 64])
def test_what_is_kept_is_read_back(tmp_path: Path, lift: int) -> None:
    rows, labels = named(50, 8, 3, 5)
    sums = made(rows, labels, lift=lift)
    assert read(tmp_path) is None
    kept(tmp_path, sums)
    again = read(tmp_path)
    assert again is not None
    np.testing.assert_array_equal(again.moments.xx, sums.moments.xx)
    assert again.files() == sums.files()
    np.testing.assert_array_equal(again.solve()(rows), sums.solve()(rows))


def test_no_flipped_bit_is_believed(tmp_path: Path) -> None:
    files = kept(tmp_path, made(*named(50, 8, 3, 5)))
    body = files["body"].read_bytes()
    for place in np.random.default_rng(0).integers(0, 8 * len(body), 60):
        bad = bytearray(body)
        bad[place // 8] ^= 1 << (place % 8)
        files["body"].write_bytes(bytes(bad))
        with pytest.raises(BundleError, match=r"the sums in .* are not what was written"):
            read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"n": 49},
        {"n": True},
        {"classes": ["ant", "bee"]},
        {"classes": ["bee", "ant", "cat"]},
        {"classes": "abc"},
        {"at": []},
        {"settings": {"penalty": 0}},
        {"settings": {"penalty": -1.0}},
        {"settings": []},
        {"seed": "0"},
        {"layers": ["affine"]},
        {"layers": 3},
        {"digest": "0" * 64},
        {"more": 1},
    ],
    ids=str,
)
def test_nothing_in_the_table_is_trusted(tmp_path: Path, change: dict) -> None:
    files = kept(tmp_path, made(*named(50, 8, 3, 5)))
    table = json.loads(files["meta"].read_text()) | change
    files["meta"].write_text(json.dumps(table))
    with pytest.raises(BundleError, match=r"sums\.json"):
        read(tmp_path)


def test_half_of_it_is_nothing(tmp_path: Path) -> None:
    files = kept(tmp_path, made(*named(50, 8, 3, 5)))
    files["body"].unlink()
    with pytest.raises(BundleError, match=r"sums\.safetensors cannot be read"):
        read(tmp_path)
    files["meta"].write_text("{")
    files["body"].write_bytes(b"")
    with pytest.raises(BundleError, match="not what was written"):
        read(tmp_path)


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    """Whoever changes the arrays can write their checksum too: what they say must still hold."""
    sums = made(*named(50, 8, 3, 5))
    bad = sums.moments.x.copy()
    bad[0] = np.nan
    for broken in (
        replace(sums.moments, x=bad),
        replace(sums.moments, y=sums.moments.y + 0.5),
        replace(sums.moments, y=np.array([50.0, 0.0, 0.0])),
        replace(sums.moments, xy=sums.moments.xy[:, :2]),
        replace(sums.moments, x=sums.moments.x[:-1]),
        replace(sums.moments, peak=sums.moments.peak[:-1]),
        replace(sums.moments, peak=sums.moments.peak - 1),
    ):
        try:
            kept(tmp_path, replace(sums, moments=broken))
        except IndexError:
            continue  # not even written
        with pytest.raises(BundleError, match="not what was written"):
            read(tmp_path)


@pytest.mark.parametrize("name", heads.HEADS)
def test_settings_of_a_fitted_head_are_not_chosen_again(name: str) -> None:
    rows, labels = clusters(60, 8, 3)
    options = {"hidden": (8,)} if name == "mlp" else {}
    fitted = heads.fit(name, rows, labels, 3, seed=1, **options)
    other, truth = clusters(60, 8, 3, seed=9, apart=0.3)
    settled = heads.settled(name, fitted.settings)
    fixed = fit_head(name, settled, other, truth, 3, seed=1)
    chosen = {key: fixed.settings[key] for key in settled.SETTLED}
    assert chosen == {key: fitted.settings[key] for key in settled.SETTLED}
    same = fit_head(name, heads.settled(name, fitted.settings), rows, labels, 3, seed=1)
    for key, array in fitted.arrays().items():
        np.testing.assert_allclose(same.arrays()[key], array, rtol=1e-4, atol=1e-5)


def test_settings_that_are_none() -> None:
    with pytest.raises(HeadError, match="lack 'penalty'"):
        heads.settled("ridge", {"lift": 0})
    for name, settings_ in (
        ("ridge", {"penalty": 0.0, "lift": 0}),
        ("logistic", {"penalty": -1.0}),
        ("prototypes", {"metric": "nearest"}),
    ):
        with pytest.raises(HeadError, match="must"):
            heads.settled(name, settings_)
