"""Near duplicates: what people do to pictures is found, and what only looks alike is not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from regraft.data.near import BLOCK, LIMIT, components, near_groups
from regraft.data.symmetry import WAYS, back, laid, places
from regraft.files import digest
from tests.data.drawn import saved
from tests.data.scenes import copies, jpeg, look_of, scene

COUNT = 60


def judged(files: list[bytes], labels: list[str] | None = None):
    looks = np.stack([look_of(raw) for raw in files])
    return near_groups(looks, [digest(raw) for raw in files], labels or ["a"] * len(files))


def as_sets(groups: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == g).tolist()) for g in np.unique(groups)}


@pytest.fixture(scope="module")
def scenes() -> list[Image.Image]:
    return [scene(seed, style=seed % 3) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def kinds() -> list[str]:
    return [str(seed % 3) for seed in range(COUNT)]


def test_no_two_scenes_are_near(scenes, kinds) -> None:
    found = judged([jpeg(image) for image in scenes], kinds)
    assert len(found.pairs) == 0
    assert len(set(found.groups.tolist())) == COUNT


@pytest.mark.parametrize("how", list(copies(scene(0))))
def test_a_copy_is_near_its_picture_and_nothing_else(scenes, kinds, how: str) -> None:
    files = [jpeg(image) for image in scenes] + [copies(image)[how] for image in scenes]
    found = judged(files, kinds * 2)
    assert as_sets(found.groups) == {frozenset({i, i + COUNT}) for i in range(COUNT)}
    assert found.limit == LIMIT


def test_equal_bytes_and_equal_pixels_are_one_group_whatever_they_show() -> None:
    white, grey = Image.new("RGB", (50, 50), "white"), Image.new("RGB", (50, 50), "grey")
    tiny = scene(1).resize((8, 8))
    files = [saved(i, k) for i in (white, grey, tiny) for k in ("PNG", "PNG", "BMP")]
    assert as_sets(judged(files).groups) == {frozenset(range(i, i + 3)) for i in (0, 3, 6)}


def test_plain_pictures_are_not_near() -> None:
    """A shade of two levels over the picture is nothing to know it by."""
    shades = [np.linspace(100, 102 + 0.5 * i, 64 * 64).reshape(64, 64) for i in range(12)]
    files = [saved(Image.fromarray(s.astype(np.uint8)), "PNG") for s in shades]
    assert len(judged(files).pairs) == 0


def test_tiny_pictures_are_not_near() -> None:
    """Handwriting of 8 x 8 pixels: many of a class differ by a grey level or two."""
    random = np.random.default_rng(0)
    digit = random.integers(0, 256, (8, 8))
    drawn = [(digit + random.integers(-6, 7, (8, 8))).clip(0, 255) for _ in range(20)]
    files = [saved(Image.fromarray(d.astype(np.uint8)), "PNG") for d in drawn]
    assert len(set(judged(files).groups.tolist())) == 20


def test_the_same_shapes_in_another_colour_are_not_near() -> None:
    pixels = np.asarray(scene(5)).mean(2)
    red = np.stack([pixels, pixels / 4, pixels / 4], axis=2)
    blue = np.stack([pixels / 4, pixels / 4, pixels * 1.8], axis=2)
    files = [jpeg(Image.fromarray(p.clip(0, 255).astype(np.uint8))) for p in (red, blue)]
    assert len(judged(files).pairs) == 0


def test_where_classes_look_alike_the_limit_is_lower() -> None:
    """Prints of one form: what differs between classes is little, and so is the limit."""
    form = np.asarray(scene(7, 120, 120)).astype(float)
    files, labels = [], []
    for number in range(40):
        own = np.asarray(scene(1000 + number, 120, 120)).astype(float)
        files.append(saved(Image.fromarray((0.75 * form + 0.25 * own).astype(np.uint8)), "PNG"))
        labels.append(str(number % 4))
    found = judged(files, labels)
    assert found.limit < 0.7 * LIMIT
    assert len(found.pairs) == 0


def test_a_clip_is_one_group_by_its_chain_of_frames() -> None:
    """The first and the last frame share little, each with the next nearly all."""
    long = scene(9, 400, 120)
    frames = [jpeg(long.crop((3 * i, 0, 3 * i + 160, 120))) for i in range(20)]
    others = [jpeg(scene(100 + i)) for i in range(60)]
    found = judged(frames + others, ["clip"] * 50 + ["other"] * 30)
    assert len(set(found.groups[:20].tolist())) == 1
    assert len(set(found.groups[20:].tolist())) == 60


def test_a_chain_of_half_alike_pictures_does_not_swallow_a_class() -> None:
    """Each is a mixture of two scenes; neighbours are alike, the ends are not."""
    ends = [np.asarray(scene(seed, 120, 120)).astype(float) for seed in (21, 22, 23)]
    files = []
    for one, two in ((0, 1), (1, 2)):
        for share in np.linspace(0, 1, 13)[:-1]:
            mixed = (1 - share) * ends[one] + share * ends[two]
            files.append(saved(Image.fromarray(mixed.astype(np.uint8)), "PNG"))
    others = [jpeg(scene(300 + i)) for i in range(40)]
    found = judged(files + others, ["mixed"] * 24 + ["other"] * 40)
    sizes = [len(group) for group in as_sets(found.groups)]
    assert max(sizes) < 12


def test_many_poor_copies_of_one_picture_stay_one_group_though_they_are_the_whole_class() -> None:
    """Each is like the first and none as like as two frames: no chain, but a star."""
    whole = np.asarray(scene(31, 120, 120)).astype(float)
    files = [saved(Image.fromarray(whole.astype(np.uint8)), "PNG")]
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(0, 15, (30, 30)).repeat(4, 0).repeat(4, 1)
        poor = (whole + noise[..., None]).clip(0, 255).astype(np.uint8)
        files.append(saved(Image.fromarray(poor), "PNG"))
    others = [jpeg(scene(400 + i)) for i in range(30)]
    found = judged(files + others, ["same"] * 13 + ["other"] * 30)
    assert len(set(found.groups[:13].tolist())) == 1
    assert len(set(found.groups[13:].tolist())) == 30


def test_the_order_of_the_rows_changes_nothing(scenes, kinds) -> None:
    files = (
        [jpeg(i) for i in scenes] + [copies(i)["cropped"] for i in scenes[:20]] + [jpeg(scenes[3])]
    )
    labels = kinds + kinds[:20] + [kinds[3]]
    straight = judged(files, labels)
    order = np.random.default_rng(1).permutation(len(files))
    mixed = judged([files[i] for i in order], [labels[i] for i in order])
    assert mixed.limit == straight.limit
    back = {frozenset(int(order[i]) for i in group) for group in as_sets(mixed.groups)}
    assert back == as_sets(straight.groups)
    assert {3, 63, 80} in back


def test_copies_far_apart_in_many_rows_are_found() -> None:
    """More rows than are compared at once, so that pairs lie in different blocks."""
    random = np.random.default_rng(0)
    base = look_of(jpeg(scene(1)))
    many = np.tile(base, (BLOCK + 200, 1))
    many[:, -576:] = random.uniform(0, 255, (len(many), 576))
    many[:, 2] = np.arange(len(many))
    many[-1, -576:] = many[0, -576:] * 0.9 + 5
    digests = [f"{i:064x}" for i in range(len(many))]
    found = near_groups(many, digests, [str(i % 2) for i in range(len(many))])
    assert found.pairs.tolist() == [[0, len(many) - 1]]


def test_marks_on_plain_ground_are_no_copies_of_each_other() -> None:
    """Dots at nearly the same place look alike and are still two pictures, unless equal."""
    random = np.random.default_rng(0)
    down, right = np.mgrid[:200, :200]
    files = []
    for _ in range(30):
        y, x = random.integers(95, 105, 2)
        pixels = random.normal(128, 4, (200, 200, 3))
        pixels[np.hypot(down - y, right - x) < 14] = 40
        files.append(jpeg(Image.fromarray(pixels.clip(0, 255).astype(np.uint8))))
    assert len(set(judged(files, ["dot"] * 30).groups.tolist())) == 30


def test_without_looks_only_equal_bytes_are_alike() -> None:
    found = near_groups(None, ["b", "a", "b"], ["x", "y", "x"])
    assert as_sets(found.groups) == {frozenset({0, 2}), frozenset({1})}
    assert near_groups(None, [], []).groups.tolist() == []


def test_components_join_chains() -> None:
    pairs = np.array([[4, 3], [1, 2], [3, 1]])
    assert components(6, pairs).tolist() == [0, 1, 1, 1, 1, 5]


@pytest.mark.parametrize("way", range(1, WAYS))
def test_a_copy_that_lies_otherwise_is_near_its_picture(scenes, kinds, way: int) -> None:
    turned = [Image.fromarray(laid(np.asarray(one)[None], way)[0]) for one in scenes]
    files = [jpeg(image) for image in scenes] + [jpeg(image, 85) for image in turned]
    found = judged(files, kinds * 2)
    assert as_sets(found.groups) == {frozenset({i, i + COUNT}) for i in range(COUNT)}
    # rows stand in the order of their digests, so a pair may be told from either side
    ways = {way, int(back(np.array([way]))[0])}
    assert set(found.ways.tolist()) <= ways


def test_what_undoes_a_way() -> None:
    grid = np.arange(2 * 5 * 5).reshape(2, 5, 5)
    for way in range(WAYS):
        undone = laid(laid(grid, way), int(back(np.array([way]))[0]))
        assert np.array_equal(undone, grid)
        assert np.array_equal(
            grid.reshape(2, -1)[:, places(5, way)], laid(grid, way).reshape(2, -1)
        )
