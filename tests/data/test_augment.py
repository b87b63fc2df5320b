"""Augmentation: one line of text, each op what its name says, the same bits for the same place."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.data.augment import OPS, PRESETS, Augment, parse
from regraft.data.randaugment import OPERATIONS
from regraft.data.views import View
from regraft.data.warp import Map, joined, sample, turn
from regraft.errors import OptionError
from regraft.files import digest

SIDE = 48
KEY = digest(b"a picture")


def scene() -> np.ndarray:
    """(48, 48, 3) uint8: a bright square up and left of the middle, on a dark slope."""
    down, right = np.mgrid[:SIDE, :SIDE]
    out = np.stack([down, right, down + right], -1).astype(np.uint8)
    out[8:20, 6:18] = (250, 120, 40)
    return out


def bright(picture: np.ndarray) -> tuple[float, float]:
    """The middle (y, x) of the bright square, in pixels."""
    ys, xs = np.nonzero(picture[..., 0] > 150)
    return float(ys.mean()), float(xs.mean())


def made(text: str, number: int = 0) -> np.ndarray:
    (out,) = View(text, 7, number).of((scene(),), KEY)
    assert out.shape == (SIDE, SIDE, 3)
    assert out.dtype == np.uint8
    return out


numbers = {
    name: st.floats(op.least, op.most, exclude_min=True, allow_nan=False)
    for name, op in OPS.items()
    if name != "randaugment"
}
texts = st.dictionaries(st.sampled_from(sorted(numbers)), st.none(), max_size=6).flatmap(
    lambda names: st.fixed_dictionaries({name: numbers[name] for name in names})
)


@given(texts, st.randoms(), st.one_of(st.none(), st.tuples(st.integers(1, 14), st.floats(0, 30))))
@settings(max_examples=60, deadline=None)
def test_what_is_spelled_is_read_and_the_order_says_nothing(values, random, pair) -> None:
    parts = [f" {name} = {value!r}" for name, value in values.items()]
    parts += [f"randaugment={pair[0]}:{pair[1]!r}"] if pair else []
    first = parse(",".join(parts))
    random.shuffle(parts)
    again = parse(",".join(parts))
    assert str(first) == str(again)
    assert parse(str(first)) == first
    held = dict(first.numbers)
    assert {name: held[name] for name in values} == values
    assert held.get("randaugment") == pair


@given(st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_or_refused_in_one_sentence(text: str) -> None:
    try:
        read = parse(text)
    except OptionError as problem:
        said = str(problem)
    else:
        said = "--augment"
        assert parse(str(read)) == read
    assert said.startswith("--augment")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("filp", r"got 'filp'\. Did you mean 'flip'"),
        ("tutorail", r"Did you mean 'tutorial'"),
        ("rotate", r"rotate must be a number above 0 and up to 180 .*got none"),
        ("rotate=200", r"got '200'"),
        ("zoom=-1", r"got '-1'"),
        ("flip=nan", r"got 'nan'"),
        ("shear=inf", r"got 'inf'"),
        ("crop=0", r"above 0 and up to 1"),
        ("flip, flip=0.2", r"names 'flip' twice"),
        ("randaugment=0:3", r"1 to 14 and 0 to 30"),
        ("randaugment=2:31", r"e\.g\. randaugment=2:9"),
        ("randaugment=x", r"got 'x'"),
        ("rescale", r"always scaled"),
        ("mixup=0.2", r"use --mixup"),
        ("light=2", r"must name some of|got 'light'"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        parse(text)


def test_presets_can_be_changed() -> None:
    held = dict(parse("tutorial, rotate=5, erase").numbers)
    assert held == dict(parse(PRESETS["tutorial"]).numbers) | {"rotate": 5.0, "erase": 0.25}
    assert parse("") == Augment()
    assert not parse(" , ")
    assert str(parse("randaugment")) == "randaugment=2:9"


def test_flips() -> None:
    assert (made("flip=1") == scene()[:, ::-1]).all()
    assert (made("vflip=1") == scene()[::-1]).all()
    assert (made("flip=1, vflip=1") == scene()[::-1, ::-1]).all()
    share = np.mean([(made("flip=0.3", n) != scene()).any() for n in range(200)])
    assert 0.2 < share < 0.4


def test_rotation_moves_the_square_around_the_middle() -> None:
    middle = SIDE / 2 - 0.5
    before = np.array(bright(scene())) - middle
    seen = [np.array(bright(made("rotate=30", n))) - middle for n in range(12)]
    turns = []
    for after in seen:
        assert abs(np.hypot(*after) - np.hypot(*before)) < 1
        angle = np.degrees(np.arctan2(*after) - np.arctan2(*before))
        turns.append((angle + 180) % 360 - 180)
    assert max(map(abs, turns)) <= 31
    assert np.ptp(turns) > 20


def test_a_quarter_turn_is_one_to_a_level() -> None:
    turned = sample(scene(), turn(np.pi / 2)).astype(int)
    assert np.abs(turned - np.rot90(scene(), -1)).max() <= 1  # Pillow cuts fractions off


def test_shift_moves_and_mirrors_at_the_edges() -> None:
    moved = sample(scene(), Map(y0=-5.0, x0=3.0))
    np.testing.assert_array_equal(moved[5:, :-3], scene()[:-5, 3:])
    np.testing.assert_array_equal(moved[:5, :-3], scene()[:5, 3:][::-1])
    places = np.array([bright(made("shift=0.1", n)) for n in range(30)]) - bright(scene())
    assert np.abs(places).max() <= 0.1 * SIDE + 0.5
    assert (np.ptp(places, axis=0) > 4).all()


def test_zoom_changes_the_area_and_each_side_on_its_own() -> None:
    areas, ratios = [], []
    for number in range(30):
        ys, xs = np.nonzero(made("zoom=0.4", number)[..., 0] > 150)
        tall, wide = np.ptp(ys) + 1, np.ptp(xs) + 1
        areas.append(tall * wide / 144)
        ratios.append(tall / wide)
    assert min(areas) < 0.8 < 1.2 < max(areas)
    assert min(ratios) < 0.85 < 1.15 < max(ratios)


def test_shear_slants_columns_and_keeps_rows() -> None:
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, SIDE // 2 - 2 : SIDE // 2 + 2] = 255
    out = sample(picture, Map(xy=0.5))
    middles = [np.nonzero(line)[0].mean() for line in out[..., 0] > 127]
    steps = np.polyfit(np.arange(SIDE), middles, 1)
    assert abs(steps[0] + 0.5) < 0.02


def test_crop_shows_a_part_larger() -> None:
    for number in range(20):
        out = made("crop=0.3", number)
        spread = np.ptp(out[..., 2].astype(int))
        assert spread <= 260
        assert (out != scene()).any()
    assert (made("crop=1", 1).astype(int) - scene()).any()  # proportions change


def test_steps_join_to_what_they_are_one_after_the_other() -> None:
    steps = [Map(yy=0.5, xx=0.5), turn(0.3), Map(y0=2, x0=-3)]
    place = np.array([4.0, 5.0])
    for step in reversed(steps):
        y, x = place
        place = np.array([step.yy * y + step.yx * x + step.y0, step.xy * y + step.xx * x + step.x0])
    whole = joined(steps)
    assert np.allclose(
        [whole.yy * 4 + whole.yx * 5 + whole.y0, whole.xy * 4 + whole.xx * 5 + whole.x0], place
    )


def test_colours() -> None:
    plain = scene().astype(float)
    means = [made("brightness=0.5", n).mean() / plain.mean() for n in range(20)]
    assert min(means) < 0.7 < 1.3 < max(means)
    spreads = [made("contrast=0.5", n).std() / plain.std() for n in range(20)]
    assert min(spreads) < 0.7 < 1.1 < max(spreads)  # dark levels end at 0
    grey = made("gray=1").astype(int)
    assert np.ptp(grey, axis=-1).max() == 0
    dull = [np.ptp(made("saturation=1", n).astype(int), axis=-1).max() for n in range(20)]
    assert min(dull) < 150
    edges = [np.abs(np.diff(made("blur=4", n).astype(int), axis=1)).max() for n in range(20)]
    assert min(edges) < 60 < np.abs(np.diff(plain, axis=1)).max()


def test_erasing_leaves_the_rest() -> None:
    shares = []
    for number in range(20):
        changed = (made("erase=1", number) != scene()).any(-1)
        ys, xs = np.nonzero(changed)
        box = changed[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        assert box.mean() > 0.9  # one rectangle
        shares.append(changed.mean())
    assert max(shares) < 0.36
    assert min(shares) < 0.15


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_randaugments_operations_grow_with_their_magnitude(name: str) -> None:
    op = OPERATIONS[name]
    rng = np.random.default_rng(0)
    picture = (scene() // 2 + 40 + rng.integers(0, 20, (SIDE, SIDE, 3))).astype(np.uint8)
    least, some, most = (
        np.abs(op(picture, size, 1.0).astype(int) - picture).mean() for size in (0.0, 0.5, 1.0)
    )
    if name == "identity":
        assert least == some == most == 0
    elif name in ("autocontrast", "equalize"):
        assert least == most > 0
    else:
        assert least == 0 < some
        assert some <= most or "shift" in name


def test_randaugment_draws_many_operations() -> None:
    seen = {made("randaugment=1:20", n).tobytes() for n in range(40)}
    assert len(seen) > 15


EVERYTHING = (
    "crop=0.4, flip, rotate=20, zoom=0.2, shift=0.1, shear=8, randaugment=2:9, brightness=0.3, "
    "contrast=0.3, saturation=0.3, gray, blur=1.5, erase=0.5"
)


def bits(number: int) -> bytes:
    return made(EVERYTHING, number).tobytes()


def test_a_view_depends_on_content_number_and_seed_alone() -> None:
    truth = [bits(number) for number in range(16)]
    assert len(set(truth)) == 16
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(bits, list(range(16)) * 4)) == truth * 4
    np.random.seed(0)
    np.random.rand()
    assert bits(3) == truth[3]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(bits, range(16)) == truth
    row = (scene(),)
    assert View(EVERYTHING, 8, 3).of(row, KEY)[0].tobytes() != truth[3]
    assert View(EVERYTHING, 7, 3).of(row, digest(b"another"))[0].tobytes() != truth[3]
    assert (row[0] == scene()).all()


def test_pictures_that_are_not_square_and_very_small_ones() -> None:
    for height, width in ((1, 1), (2, 9), (30, 50)):
        picture = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
        for number in range(8):
            (out,) = View(EVERYTHING + ", vflip", 0, number).of((picture,), KEY)
            assert out.shape == picture.shape


def test_only_pictures_can_be_augmented() -> None:
    with pytest.raises(OptionError, match="--augment is for images"):
        View("flip", 0, 0).of((np.zeros(5, np.int64), np.ones(5, np.int64)), KEY)
