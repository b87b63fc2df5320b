"""Flows: kept equal live to the bit, nothing frozen runs twice, and the disk's bound holds."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import regraft
from regraft.backbones import Backbone, from_module
from regraft.backbones.info import Tap
from regraft.cache import trim
from regraft.data import images
from regraft.data.augment import parse
from regraft.data.views import View
from regraft.errors import DataError, EngineError, OptionError
from regraft.features import Features, compute
from regraft.flows import ANY_VIEW, PLAIN, Flows, Keeping, choose, flows, widened
from regraft.inputs import ImageSpec
from regraft.pipeline import Pipeline, pipeline
from tests import toy_text
from tests.nets import Small, small
from tests.pictures import write_folder

CUTS = (0, 1, 3)
AUGMENT = "flip, rotate=10, brightness=0.2"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", 3)


@pytest.fixture(scope="module")
def net() -> Backbone:
    return small()


def first(
    data: Path, net: Backbone, keep: str = "full", cuts: tuple[int, ...] = CUTS
) -> tuple[Features, Pipeline]:
    """One pass for pooled features and the flows, in the precision in which all is exact."""
    pipe = pipeline(net, [Tap(3)], threads=2, precision="f32")
    return compute(images(data).examples, widened(pipe, cuts, keep)), pipe


def same(one: Flows, other: Flows, index: list[int], view: int | list[int]) -> bool:
    """Whether both give the same arrays, to the bit."""
    numbers = np.array(index, np.intp)
    views = view if isinstance(view, int) else np.array(view, np.intp)
    left, right = one.read(numbers, views), other.read(numbers, views)
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(left, right, strict=True)
    )


class NeverOpened(Exception):
    """A session was opened where nothing had to be computed."""


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on no engine may run."""

    def stop() -> None:
        def refuse(self: Pipeline, name: str) -> None:
            raise NeverOpened(name)

        monkeypatch.setattr(Pipeline, "open", refuse)

    return stop


def test_one_pass_gives_features_flows_and_rows(data: Path, net: Backbone) -> None:
    found, pipe = first(data, net)
    assert found.counts.misses == 9
    assert {name: (rows.shape, rows.dtype.name) for name, rows in found.rows.items()} == {
        "003": ((9, 24), "float32"),
        "000-flow": ((9, 12, 16, 16), "float32"),
        "002-flow": ((9, 24, 4, 4), "float32"),
        "row": ((9, 32, 32, 3), "uint8"),
        "look": ((9, found.rows["look"].shape[1]), "float32"),
    }
    pooled = compute(found.examples, pipe).rows["003"]
    assert pooled[:].tobytes() == found.rows["003"][:].tobytes()
    np.testing.assert_allclose(found.rows["002-flow"][:].mean((2, 3)), pooled[:], rtol=1e-4)


def test_flows_are_what_the_stages_below_the_cut_give(data: Path, net: Backbone) -> None:
    found, pipe = first(data, net)
    made = flows(found, pipe, CUTS, keep="full")
    index = np.array([4, 0, 7, 4])
    (rows,) = made.flows[0].read(index)
    assert (rows == found.rows["row"][:][index]).all()
    with torch.inference_mode():
        for cut in (1, 3):
            truth = net[:cut](net.input.preamble()(torch.from_numpy(rows)))
            (flow,) = made.flows[cut].read(index)
            np.testing.assert_allclose(flow, truth.numpy(), rtol=1e-4, atol=1e-5)
            assert flow.flags.writeable
    assert [len(made.flows[cut]) for cut in CUTS] == [9, 9, 9]


def test_kept_equals_live_to_the_bit(data: Path, net: Backbone) -> None:
    found, pipe = first(data, net)
    kept = flows(found, pipe, CUTS, augment=AUGMENT, views=3, seed=5, keep="full")
    bare = replace(found, rows={"003": found.rows["003"]})
    live = flows(bare, pipe, CUTS, augment=AUGMENT, seed=5, keep="live")
    assert (kept.keep, kept.views, kept.why) == ("full", 3, "")
    assert (live.keep, live.views) == ("live", 0)
    assert [kept.flows[cut].views for cut in CUTS] == [ANY_VIEW, 3, 3]
    assert {live.flows[cut].views for cut in CUTS} == {ANY_VIEW}
    for cut in CUTS:
        pair = kept.flows[cut], live.flows[cut]
        for view in (PLAIN, 0, 2):
            assert same(*pair, list(range(9)), view)
        assert same(*pair, [5, 5, 1, 8], [2, PLAIN, 0, 1])
    some = np.arange(9)
    (plain,), (one,), (two,) = (kept.flows[3].read(some, view) for view in (PLAIN, 0, 1))
    assert (plain != one).any()
    assert (one != two).any()


def test_a_view_is_that_of_the_decoded_row(data: Path, net: Backbone) -> None:
    found, pipe = first(data, net)
    made = flows(found, pipe, (0,), augment=AUGMENT, seed=5)
    (rows,) = made.flows[0].read(np.arange(9), 41)
    for row, plain, key in zip(rows, found.rows["row"][:], found.digests, strict=True):
        assert (row == View(AUGMENT, 5, 41).of((plain,), key)[0]).all()
    assert made.flows[0].views == ANY_VIEW
    assert flows(found, pipe, (0,)).flows[0].views == 0


def test_nothing_frozen_runs_twice(
    data: Path, net: Backbone, no_engine: Callable[[], None]
) -> None:
    found, pipe = first(data, net)
    asked = {"augment": AUGMENT, "views": 2, "seed": 5}
    truth = flows(found, pipe, CUTS, **asked)
    fewer = flows(found.take(np.arange(4)), pipe, CUTS, **asked)
    no_engine()
    again = flows(found, pipe, CUTS, **asked | {"augment": str(parse(AUGMENT + ","))})
    for cut in CUTS:
        assert same(again.flows[cut], truth.flows[cut], [8, 1, 3], [0, 1, PLAIN])
        assert same(fewer.flows[cut], truth.flows[cut], [3, 1], [1, 0])
    with pytest.raises(NeverOpened):
        flows(found, pipe, CUTS, **asked | {"views": 3})


def test_more_views_leave_those_before_as_they_are(data: Path, net: Backbone) -> None:
    found, pipe = first(data, net)
    two, four = (
        flows(found, pipe, (3,), augment=AUGMENT, views=count, seed=1).flows[3] for count in (2, 4)
    )
    assert same(two, four, list(range(9)), 1)
    other = flows(found, pipe, (3,), augment=AUGMENT, views=2, seed=2).flows[3]
    assert not same(two, other, list(range(9)), 1)


def test_rows_alone_need_no_engine(
    data: Path, net: Backbone, no_engine: Callable[[], None]
) -> None:
    no_engine()
    pipe = replace(pipeline(net, []), keep_row=True)
    found = compute(images(data).examples, pipe)
    assert found.rows["row"].shape == (9, 32, 32, 3)
    made = flows(replace(found, rows={}), pipe, (0,))
    (rows,) = made.flows[0].read(np.array([2]))
    assert (rows[0] == found.rows["row"][:][2]).all()


def test_threads_read_side_by_side(data: Path, net: Backbone) -> None:
    found, pipe = first(data, net)
    for keep in ("full", "live"):
        made = flows(found, pipe, CUTS, augment=AUGMENT, views=2, seed=5, keep=keep)
        for cut in CUTS:
            one = made.flows[cut]
            jobs = [np.random.default_rng(n).integers(0, 9, 4) for n in range(12)]
            truth = [one.read(job, job % 2)[0].tobytes() for job in jobs]
            with ThreadPoolExecutor(4) as pool:
                got = list(pool.map(lambda job, one=one: one.read(job, job % 2)[0].tobytes(), jobs))
            assert got == truth


def test_views_that_there_are_not(data: Path, net: Backbone) -> None:
    found, pipe = first(data, net)
    made = flows(found, pipe, CUTS, augment=AUGMENT, views=2)
    for view in (-2, 2):
        with pytest.raises(IndexError, match="views are -1 to 1"):
            made.flows[3].read(np.array([0]), view)
    with pytest.raises(IndexError):
        flows(found, pipe, (0,)).flows[0].read(np.array([0]), 0)


# -- half precision ------------------------------------------------------------------------------
def test_half_precision_is_half_the_bytes_and_close(
    data: Path, net: Backbone, own_cache: Path
) -> None:
    found, pipe = first(data, net)
    full = flows(found, pipe, CUTS, augment=AUGMENT, views=2, seed=5, keep="full")
    halved, _ = first(data, net, "half")
    assert halved.half
    assert not found.half
    assert halved.rows["003"].stored == np.float32
    assert halved.rows["000-flow"].stored == np.float16
    assert halved.rows["000-flow"][:].dtype == np.float32
    assert halved.rows["000-flow"].row_bytes * 2 == found.rows["000-flow"].row_bytes
    small_ones = flows(halved, pipe, CUTS, augment=AUGMENT, views=2, seed=5, keep="half")
    mixed = flows(found, pipe, CUTS, augment=AUGMENT, views=2, seed=5, keep="half")
    for cut in (1, 3):
        for view in (PLAIN, 0, 1):
            (truth,) = full.flows[cut].read(np.arange(9), view)
            (got,) = small_ones.flows[cut].read(np.arange(9), view)
            assert got.dtype == np.float32
            assert got.tobytes() == truth.astype(np.float16).astype(np.float32).tobytes()
        # what is kept in full stays so, beside views in half precision
        assert same(mixed.flows[cut], full.flows[cut], [3, 4], PLAIN)
        assert same(mixed.flows[cut], small_ones.flows[cut], [3, 4], 1)


def test_what_half_precision_cannot_hold_is_kept_in_full(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    loud = Small().eval()
    with torch.no_grad():
        loud.stem.norm.weight.mul_(1e5)
    net = from_module(loud, input=ImageSpec((32, 32)), name="loud")
    with caplog.at_level(logging.WARNING, "regraft"):
        found, pipe = first(data, net, "half")
        made = flows(found, pipe, CUTS, augment=AUGMENT, views=2, keep="half")
    assert not found.half
    assert found.rows["000-flow"].stored == np.float32
    assert made.keep == "full"
    assert "half precision ends at 65504: flows are kept in float32" in caplog.text
    assert np.isfinite(made.flows[1].read(np.arange(9), 1)[0]).all()


# -- room ----------------------------------------------------------------------------------------
def test_the_room_decides_and_the_sentence_says_so(
    data: Path, net: Backbone, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    """4 views at cut 1: 60 rows of 12 x 16 x 16 numbers, 1 + 4 times."""
    pipe = pipeline(net, [Tap(3)])
    each = 12 * 16 * 16 * 4
    kept = []
    for room in (300 * each, 300 * each - 1, 150 * each - 1, 89 * each, 0):
        monkeypatch.setenv("REGRAFT_CACHE_LIMIT", f"{room / 1e9:.9f}")
        one = choose(pipe, (1,), 60, augment=AUGMENT, views=4)
        kept.append((one.keep, one.views))
        told = f"the activations of 60 rows and 4 views of each take {300 * each / 1e9:.3g} GB"
        assert told in one.why
        assert "REGRAFT_CACHE_LIMIT" in one.why
        assert choose(pipe, (1,), 60, augment=AUGMENT, views=one.views, keep=one.keep) == Keeping(
            one.keep, one.views
        )
    assert kept == [("full", 4), ("half", 4), ("half", 3), ("live", 0), ("live", 0)]
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", f"{150 * each / 1e9:.9f}")
    assert choose(pipe, (1,), 60, viewed=20, augment=AUGMENT, views=4).keep == "full"
    assert choose(pipe, (1,), 60).views == 0
    assert choose(pipe, (1,), 60, augment=AUGMENT, views=4, halves=False) == Keeping(
        "live", 0, choose(pipe, (1,), 60, augment=AUGMENT, views=4, halves=False).why
    )


def test_what_was_chosen_stays_within_the_limit_and_choosing_again_is_no_other(
    data: Path, net: Backbone, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    each = 12 * 16 * 16 * 4
    truth = {}
    for name, rooms in (("full", 60), ("half", 26), ("fewer", 16), ("live", 5)):
        shutil.rmtree(own_cache / "activations", ignore_errors=True)
        limit = 9 * 0.1 * rooms * each
        monkeypatch.setenv("REGRAFT_CACHE_LIMIT", f"{limit / 1e9:.9f}")
        pipe = pipeline(net, [Tap(3)])
        found = compute(images(data).examples, pipe)
        made = flows(found, pipe, (1,), augment=AUGMENT, views=4, seed=5)
        truth[name] = (made.keep, made.views)
        again = flows(found, pipe, (1,), augment=AUGMENT, views=4, seed=5)
        assert (again.keep, again.views, again.why) == (made.keep, made.views, made.why)
        held = sum(p.stat().st_size for p in own_cache.glob("activations/*/*.safetensors"))
        assert held <= limit * 1.02 + 9 * 4096  # digests and headers come on top
        assert made.flows[1].read(np.arange(9), 1)[0].shape == (9, 12, 16, 16)
    assert truth == {
        "full": ("full", 4),
        "half": ("half", 4),
        "fewer": ("half", 2),
        "live": ("live", 0),
    }


def test_flows_in_use_outlive_a_trim(
    data: Path, net: Backbone, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    found, pipe = first(data, net)
    made = flows(found, pipe, CUTS, augment=AUGMENT, views=2, seed=5)
    truth = [made.flows[cut].read(np.arange(9), 1)[0] for cut in CUTS]
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "0")
    trim([])
    assert list(own_cache.glob("activations/*/*.safetensors")) == []
    for cut, before in zip(CUTS, truth, strict=True):
        assert made.flows[cut].read(np.arange(9), 1)[0].tobytes() == before.tobytes()


def test_a_full_disk_lets_the_oldest_go_first(
    data: Path, net: Backbone, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    old = own_cache / "activations" / "old" / "x.safetensors"
    old.parent.mkdir(parents=True)
    old.write_bytes(bytes(1000))
    first(data, net)
    assert old.exists()
    monkeypatch.setattr("regraft.cache.free_bytes", lambda root=None: 1000)
    monkeypatch.setattr("regraft.features.free_bytes", lambda: 1000)
    first(data, net, cuts=(1, 2))
    assert not old.exists()


# -- what is refused -----------------------------------------------------------------------------
def test_a_file_that_changed_or_went_is_named(data: Path, net: Backbone) -> None:
    found, pipe = first(data, net)
    live = flows(found, pipe, (3,), augment=AUGMENT, keep="live").flows[3]
    path = data / found.examples[2].id
    raw = path.read_bytes()
    path.write_bytes(raw + b"\0")
    with pytest.raises(DataError, match=rf"{found.examples[2].id} is another file than when"):
        live.read(np.array([1, 2]), 0)
    with pytest.raises(DataError, match=rf"{found.examples[2].id} is another file than when"):
        flows(found, pipe, (3,), augment=AUGMENT, views=2)
    path.unlink()
    with pytest.raises(DataError, match=r"cannot be read any more: No such file"):
        live.read(np.array([1, 2]), 0)
    with pytest.raises(DataError, match=r"cannot be read any more: .*No such file"):
        flows(found, pipe, (3,), augment=AUGMENT, views=2, seed=9)
    path.write_bytes(raw)
    assert live.read(np.array([1, 2]), 0)[0].shape == (2, 24, 4, 4)


def test_what_was_asked_must_be_there(data: Path, net: Backbone) -> None:
    pipe = pipeline(net, [Tap(3)])
    with pytest.raises(OptionError, match=r"--keep must be one of .*'haf'\. Did you mean 'half'"):
        choose(pipe, (1,), 9, keep="haf")
    with pytest.raises(OptionError, match=r"--views must be 0 or more, got -1"):
        choose(pipe, (1,), 9, views=-1)
    with pytest.raises(OptionError, match=r"--keep full needs --views of 1 or more"):
        choose(pipe, (1,), 9, augment="flip", keep="full")
    assert choose(pipe, (1,), 9, augment="flip").keep == "live"
    assert choose(pipe, (0,), 9, augment="flip", keep="full") == Keeping("full", 0)


def test_flows_of_two_tensors_and_rows_of_words_are_refused() -> None:
    pipe = pipeline(toy_text.toy_backbone(), [Tap(2)])
    with pytest.raises(EngineError, match=r"stage 'embed' is more than one tensor \(NLC\+mask\)"):
        widened(pipe, (1,), "full")
    with pytest.raises(EngineError, match="rows of toy-text cannot be kept"):
        widened(pipe, (0,), "full")


@pytest.mark.slow
def test_kept_equals_live_on_the_packaged_network(tmp_path: Path) -> None:
    net = regraft.backbone()
    data = write_folder(tmp_path / "data", 4)
    pipe = pipeline(net, [Tap(len(net) - 1)], precision="f32")
    cuts = (net.index("blocks.4.0"), net.index("blocks.5.0"), len(net) - 2)
    found = compute(images(data).examples, widened(pipe, cuts, "full"))
    asked = {"augment": "tutorial", "seed": 3}
    kept = flows(found, pipe, cuts, views=2, **asked)
    live = flows(replace(found, rows={}), pipe, cuts, keep="live", **asked)
    for cut in cuts:
        for view in (PLAIN, 0, 1):
            assert same(kept.flows[cut], live.flows[cut], list(range(12)), view)
