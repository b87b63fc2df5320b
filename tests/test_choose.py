import json
import subprocess
import sys

import numpy as np
import pytest

from regraft import choose as module
from regraft.choose import better, choose, rows_at
from regraft.errors import CutError, HeadError, OptionError
from regraft.heads.contract import View, clusters


def staged(n=120, n_classes=3, seed=0, **apart):
    """Stages of which each tells the classes apart as well as `apart` says; in that order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % n_classes)
    features = {}
    for name, distance in apart.items():
        centres = rng.normal(size=(n_classes, 12)) * distance
        features[name] = (centres[labels] + rng.normal(size=(n, 12))).astype(np.float32)
    return features, labels


def test_a_better_stage_is_chosen_and_said():
    features, labels = staged(stem=0.1, middle=2.0, end=0.3)
    choice = choose(features, labels, 3, at="auto", head="ridge")
    assert "middle" in choice.at
    assert "middle" in choice.why
    assert choice.fitted.validation.accuracy > 0.9
    assert sum(row.chosen for row in choice.table) == 1
    chosen = next(row for row in choice.table if row.chosen)
    assert chosen.at == choice.at
    assert chosen.n == 120
    assert chosen.log_loss == choice.fitted.validation.log_loss
    assert {row.at for row in choice.table} >= {("stem",), ("middle",), ("end",)}
    json.dumps([row.json() for row in choice.table], allow_nan=False)


def test_neighbours_are_joined_where_each_knows_a_part():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    half = {"a": labels // 2, "b": labels % 2}  # each stage sees one bit of the class
    features = {
        name: (3 * bit[:, None] + rng.normal(size=(200, 6))).astype(np.float32)
        for name, bit in half.items()
    }
    features["end"] = rng.normal(size=(200, 6)).astype(np.float32)
    choice = choose(features, labels, 4, at="auto", head="ridge")
    assert choice.at[:2] == ("a", "b")
    assert choice.fitted.validation.accuracy > 0.9
    assert choice.fitted.dim == rows_at(features, choice.at).shape[1]


def test_a_worse_stage_does_not_win_by_luck():
    moved = 0
    for seed in range(8):
        worse = {f"s{i}": 0.55 for i in range(5)}
        features, labels = staged(n=80, n_classes=2, seed=seed, **worse, end=1.0)
        moved += choose(features, labels, 2, at="auto", head="ridge").at[-1] != "end"
    assert moved <= 1


def test_better_asks_for_more_than_noise():
    features, labels = staged(weak=0.5, end=0.5, strong=1.5)
    one, other, strong = (
        choose(features, labels, 3, at=name, head="ridge").fitted for name in features
    )
    assert better(strong, one)
    assert not better(one, strong)
    assert not better(one, one)
    assert not better(one, other, errors=3.0)


def test_what_is_asked_for_is_done():
    features, labels = staged(stem=0.5, middle=2.0, end=0.5)
    for at, names in (("end", ("end",)), ("stem", ("stem",)), ("stem+end", ("stem", "end"))):
        for head in ("ridge", "prototypes"):
            choice = choose(features, labels, 3, at=at, head=head)
            assert (choice.at, choice.head) == (names, head)
            assert len(choice.table) == 1
            assert choice.why == "As asked."
    last = choose({"stem": features["stem"], "norm": features["end"]}, labels, 3, at="end")
    assert last.at == ("norm",)


def test_the_usual_head_depends_on_the_examples(monkeypatch):
    few, labels = staged(n=12, end=2.0)
    assert choose(few, labels, 3).head == "prototypes"
    many, labels = staged(n=150, end=1.0)
    assert choose(many, labels, 3).head == "logistic"
    monkeypatch.setattr(module, "MOST_LOGISTIC", 100)
    choice = choose(many, labels, 3)
    assert choice.head == "ridge"
    assert "logistic" not in {row.head for row in choice.table}
    assert "mlp" not in {row.head for row in choice.table}


def test_stages_are_ranked_on_fewer_rows_and_the_winner_on_all(monkeypatch):
    features, labels = staged(n=400, stem=0.1, middle=2.0, end=0.3)
    monkeypatch.setattr(module, "MOST_SEARCHED", 100)
    views = {name: View(rows) for name, rows in features.items()}
    choice = choose(views, labels, 3, at="auto", head="ridge", groups=np.arange(400) // 2)
    assert "middle" in choice.at
    assert choice.fitted.validation.n == 400
    assert {row.n for row in choice.table} == {100, 400}


@pytest.mark.parametrize("grouped", [False, True])
def test_a_rare_class_is_among_the_fewer_rows_that_stages_are_ranked_on(monkeypatch, grouped):
    monkeypatch.setattr(module, "MOST_SEARCHED", 64)
    for seed in range(4):
        features, labels = staged(n=240, seed=seed, middle=2.0, end=0.3)
        labels[:2] = 3
        features["middle"][:2] += 9.0
        groups = np.r_[0, 1, np.arange(238) // 3 + 2] if grouped else None
        choice = choose(features, labels, 4, at="auto", head="ridge", seed=seed, groups=groups)
        assert "middle" in choice.at
        assert choice.fitted.n_classes == 4
        assert max(row.n for row in choice.table) == 240
        assert min(row.n for row in choice.table) < 100


def test_fewer_rows_keep_groups_whole_and_two_of_every_class():
    labels = np.r_[np.zeros(300, int), np.ones(300, int), 2, 2, 2, 2, 3]
    groups = np.r_[np.arange(600) // 2, 300, 300, 301, 302, 303]
    small = module._Search({"end": np.arange(605)[:, None]}, labels, 4, 5, groups, None).smaller(
        100
    )
    assert 70 < len(small.labels) < 115
    kept = small.features["end"][:, 0]
    assert not set(groups[kept]) & set(np.delete(groups, kept))
    assert (small.labels == labels[kept]).all()
    assert len(set(groups[kept][small.labels == 2])) >= 2
    assert (small.labels == 3).sum() == 1


@pytest.mark.parametrize("at", ["end", "auto"])
def test_one_row_per_class_leaves_nothing_to_compare(at):
    features, labels = staged(n=30, n_classes=30, stem=2.0, end=2.0)
    choice = choose(features, labels, 30, at=at)
    assert (choice.at, choice.head) == (("end",), "prototypes")
    assert "1 example per class" in choice.why
    seen = choice.fitted.validation
    assert (seen.n, seen.accuracy, seen.log_loss) == (0, None, None)
    p = choice.fitted.probabilities(features["end"])
    assert (p.argmax(axis=1) == labels).all()
    assert (p[np.arange(30), labels] > 0.2).all()
    rows = [row.json() for row in choice.table]
    assert {row["n"] for row in rows} == {0}
    json.dumps(rows, allow_nan=False)


@pytest.mark.parametrize("head", ["auto", "ridge", "logistic", "prototypes"])
@pytest.mark.parametrize("at", ["end", "auto"])
def test_copies_of_noise_are_not_known(at, head):
    rng = np.random.default_rng(0)
    copies = np.r_[np.full(80, 3), 50, 40]
    groups = np.repeat(np.arange(len(copies)), copies)
    labels = (np.arange(len(copies)) % 2)[groups]
    features = {name: rng.normal(size=(len(copies), 40)).astype(np.float32)[groups]
                for name in ("stem", "end")}  # fmt: skip
    seen = choose(features, labels, 2, at=at, head=head, groups=groups).fitted.validation
    assert seen.kind in ("leave-group-out", "k-fold")
    assert 0.25 < seen.accuracy < 0.72
    alone = choose(features, labels, 2, head="ridge").fitted.validation
    assert alone.accuracy > 0.78, "copies do tell where they are not left out together"


def test_copies_do_not_make_many_examples_of_few():
    rng = np.random.default_rng(0)
    labels = np.arange(6) % 2
    rows = (rng.normal(size=(6, 12)) + 3 * labels[:, None]).astype(np.float32)
    groups = np.repeat(np.arange(6), 20)
    choice = choose({"end": rows[groups]}, labels[groups], 2, groups=groups)
    assert choice.head == "prototypes"
    assert choice.fitted.validation.kind == "leave-group-out"


def test_rows_of_one_group_are_one_witness():
    features, labels = staged(n=60, weak=0.5, end=0.9)
    one, other = (choose(features, labels, 3, at=name, head="ridge").fitted for name in features)
    errors = next(e for e in np.arange(0.1, 9, 0.1) if not better(other, one, e))
    assert better(other, one, errors - 0.1)
    assert not better(other, one, errors - 0.1, groups=np.argsort(np.argsort(
        module.losses(one) - module.losses(other))) // 20)  # fmt: skip


def test_groups_of_another_shape_are_refused():
    features, labels = staged(end=0.5)
    with pytest.raises(HeadError, match="groups must have the shape"):
        choose(features, labels, 3, at="auto", groups=np.arange(3))


def test_validation_rows_decide_where_given():
    features, labels = staged(n=90, stem=0.1, middle=2.0, end=0.3)
    held, held_labels = {k: v[60:] for k, v in features.items()}, labels[60:]
    train = {k: v[:60] for k, v in features.items()}
    choice = choose(train, labels[:60], 3, at="auto", validation=(held, held_labels))
    assert "middle" in choice.at
    assert {row.kind for row in choice.table} == {"held out"}
    assert {row.n for row in choice.table} == {30}


def test_the_choice_is_the_same_every_time():
    features, labels = staged(stem=1.0, middle=1.1, end=1.0)
    one, other = (choose(features, labels, 3, at="auto") for _ in range(2))
    assert one.table == other.table
    assert all(np.array_equal(v, other.fitted.arrays()[k]) for k, v in one.fitted.arrays().items())


def test_nothing_heavy_is_imported():
    """Choosing, fitting, scoring and reading back stay on NumPy: a warm run takes no second."""
    code = (
        "import sys, numpy as np\n"
        "from regraft import choose, evaluate, heads\n"
        "y = np.arange(40) % 2\n"
        "x = (np.arange(120).reshape(40, 3) % 7 + 3 * y[:, None]).astype(np.float32)\n"
        "choice = choose.choose({'a': x, 'end': x}, y, 2, at='auto')\n"
        "fitted, x = choice.fitted, choose.rows_at({'a': x, 'end': x}, choice.at)[0:40]\n"
        "back = heads.restore(fitted.config(), fitted.arrays())\n"
        "evaluate.evaluate(back.probabilities(x), ['no', 'yes'] * 20, ['no', 'yes'])\n"
        "heavy = {'torch', 'scipy', 'sklearn', 'timm', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_mistakes_are_named():
    features, labels = staged(stem=0.5, end=0.5)
    with pytest.raises(CutError, match="Did you mean 'stem'"):
        choose(features, labels, 3, at="stme")
    with pytest.raises(HeadError, match="Did you mean 'logistic'"):
        choose(features, labels, 3, head="logistics")
    with pytest.raises(OptionError, match="at least one stage"):
        choose({}, labels, 3)
    with pytest.raises(HeadError, match="labels"):
        choose(features, labels - 1, 3)
    rows, labels = clusters(20, 3, 2)
    rows[7, 0] = np.inf
    with pytest.raises(HeadError, match="Row 7 "):
        choose({"end": rows}, labels, 2)
