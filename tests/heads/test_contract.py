from dataclasses import replace

import numpy as np
import pytest

from regraft import heads
from regraft.errors import HeadError
from regraft.heads.contract import check_head, clusters
from regraft.heads.folds import fair
from regraft.heads.prototypes import Prototypes


@pytest.mark.parametrize("name", heads.HEADS)
def test_every_head_keeps_the_contract(name):
    check_head(name)


@pytest.mark.parametrize("name", heads.HEADS)
def test_wrong_input_is_refused_in_one_sentence(name):
    rows, labels = clusters(12, 3, 2)
    for bad_labels, n_classes, say in (
        (labels[:-1], 2, "labels must have the shape"),
        (labels.astype(float), 2, "whole numbers"),
        (labels + 1, 2, "must lie in 0..1"),
        (labels, 3, "Class number 2 has no row"),
        (labels * 0, 1, "at least two classes"),
    ):
        with pytest.raises(HeadError, match=say):
            heads.fit(name, rows, bad_labels, n_classes)
    with pytest.raises(HeadError, match="validation"):
        heads.fit(name, rows, labels, 2, validation=(rows[:, :2], labels))
    fitted = heads.fit(name, rows, labels, 2)
    with pytest.raises(HeadError, match=r"shape \(N, 3\)"):
        fitted.scores(rows[:, :2])


def test_an_unknown_head_names_the_close_one():
    with pytest.raises(HeadError, match="Did you mean 'ridge'"):
        heads.head("rigde")
    with pytest.raises(HeadError, match="options"):
        heads.head("ridge", colour="blue")


class _Constant:
    """A head that learned nothing."""

    def tune(self, rows, labels, n_classes, *, seed, groups, held_out):
        from regraft.heads.fitted import Tuned

        return Tuned({}, np.zeros((len(labels), n_classes), np.float32), "k-fold")

    def solve(self, rows, labels, n_classes, settings, *, seed):
        from regraft.heads.layers import Layers, affine

        d = rows.shape[1]
        return Layers((affine(np.zeros(d), np.zeros((d, n_classes)), np.zeros(n_classes)),))


class _Forgetful(Prototypes):
    """A head that lets every row count, or that pays no heed to groups."""

    def __init__(self, forget):
        self.forget = forget

    def tune(self, rows, labels, n_classes, *, seed, groups, held_out):
        kept = None if self.forget == "groups" else groups
        tuned = super().tune(rows, labels, n_classes, seed=seed, groups=kept, held_out=held_out)
        if self.forget == "groups":
            alone = fair(labels, groups) if held_out is None else None
            return replace(tuned, kind="leave-group-out" if groups is not None else tuned.kind,
                           fair=alone)  # fmt: skip
        return replace(tuned, fair=None)


@pytest.mark.parametrize(
    ("name", "options", "broken"),
    [
        ("_Constant", {}, "easy rows"),
        ("_Forgetful", {"forget": "groups"}, "copies of noise"),
        ("_Forgetful", {"forget": "fair"}, "must not count"),
    ],
)
def test_the_contract_can_fail(monkeypatch, name, options, broken):
    monkeypatch.setitem(heads.HEADS, "mine", f"{__name__}:{name}")
    with pytest.raises(HeadError, match=f"breaks its contract: .*{broken}"):
        check_head("mine", **options)


@pytest.mark.parametrize("name", heads.HEADS)
def test_any_seed_is_taken(name):
    rows, labels = clusters(20, 3, 2)
    for seed in (2**31, 2**64 - 1, 2**70):
        assert heads.fit(name, rows, labels, 2, seed=seed).validation.n == 20


@pytest.mark.parametrize("name", heads.HEADS)
def test_tampered_storage_is_refused(name):
    rows, labels = clusters(30, 5, 3)
    fitted = heads.fit(name, rows, labels, 3)
    config, arrays = fitted.config(), fitted.arrays()
    key = next(k for k in arrays if k.endswith("shift"))
    nan = arrays[key].copy()
    nan[0] = np.nan
    for bad_config, bad_arrays in (
        (config | {"more": 1}, arrays),
        ({k: v for k, v in config.items() if k != "dim"}, arrays),
        (config | {"dim": 6}, arrays),
        (config | {"n_classes": 2}, arrays),
        (config | {"layers": [*config["layers"], "pickle"]}, arrays),
        (config | {"layers": [*config["layers"], "relu"]}, arrays),
        (config | {"layers": []}, arrays),
        (config | {"layers": ["relu"] * 40}, arrays),
        (config | {"layers": "affine"}, arrays),
        (config, {k: v for k, v in arrays.items() if k != key}),
        (config, arrays | {"left.over": np.zeros(3, np.float32)}),
        (config, arrays | {key: arrays[key].astype(np.float64)}),
        (config, arrays | {key: arrays[key][:-1]}),
        (config, arrays | {key: nan}),
        (config, arrays | {"calibration.sharpness": np.array([-1.0])}),
        (config, arrays | {"calibration.sharpness": np.array([1.0, 2.0])}),
        (config, arrays | {"calibration.bias": np.zeros(2)}),
    ):
        with pytest.raises(HeadError):
            heads.restore(bad_config, bad_arrays)
