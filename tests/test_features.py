"""From bytes to activations: counted, cached by content, overlapped, kept when interrupted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regraft.backbones.info import Tap
from regraft.data import images
from regraft.data.decoders import decoder
from regraft.data.look import prints, sizes
from regraft.data.views import View
from regraft.errors import OptionError
from regraft.features import LOOK, compute, compute_looks, compute_views
from regraft.pipeline import ROW, pipeline
from tests.nets import small
from tests.pictures import picture, write_folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", 4)


@pytest.fixture(scope="module")
def net():
    return small()


TOP = (Tap(3),)


def run(data: Path, net, *, taps=TOP, **how):
    return compute(images(data).examples, pipeline(net, taps, **how))


def test_states_and_counts(data: Path, net) -> None:
    first, again = run(data, net), run(data, net)
    assert (first.counts.state, first.counts.misses, first.counts.hits) == ("cold", 12, 0)
    assert (again.counts.state, again.counts.misses, again.counts.hits) == ("warm", 0, 12)
    for name, rows in first.rows.items():
        assert rows[:].tobytes() == again.rows[name][:].tobytes()
    assert first.rows["003"].shape == (12, 24)


def test_adding_computes_only_the_new_and_renaming_nothing(data: Path, net) -> None:
    run(data, net)
    picture("dots", 77).save(data / "dots" / "new.png")
    counts = run(data, net).counts
    assert (counts.state, counts.misses, counts.hits) == ("compiled", 1, 12)
    (data / "dots" / "new.png").rename(data / "dots" / "renamed.png")
    shutil.copytree(data, data.parent / "elsewhere")
    assert run(data.parent / "elsewhere", net).counts.state == "warm"


def test_a_changed_file_of_equal_name_size_and_time_is_computed(data: Path, net) -> None:
    """No shortcut by time stamp."""
    import os

    path = data / "dots" / "000.png"
    for target in (path, data / "dots" / "001.png"):  # BMP files of equal size
        picture("dots", int(target.stem)).save(target.with_suffix(".bmp"))
        target.unlink()
    first, second = path.with_suffix(".bmp"), data / "dots" / "001.bmp"
    before = first.stat()
    run(data, net)
    content = bytearray(second.read_bytes())
    content[-1] ^= 255
    first.write_bytes(content)
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert first.stat().st_size == before.st_size
    assert run(data, net).counts.misses == 1


def test_equal_files_are_computed_once(data: Path, net) -> None:
    shutil.copy(data / "dots" / "000.png", data / "dots" / "copy.png")
    found = run(data, net)
    assert (found.counts.misses, found.counts.hits) == (12, 1)
    assert len(found.examples) == 13
    rows = found.rows["003"][:]
    place = {e.id: i for i, e in enumerate(found.examples)}
    assert (rows[place["dots/copy.png"]] == rows[place["dots/000.png"]]).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda net: (small(seed=1), {}),  # other weights
        lambda net: (net.resized(40), {}),  # other size
        lambda net: (net, {"engine": "reference"}),
        lambda net: (net, {"taps": (Tap(1), Tap(3))}),
    ],
    ids=["weights", "size", "engine", "taps"],
)
def test_what_the_key_holds(data: Path, net, change) -> None:
    run(data, net)
    other, how = change(net)
    assert run(data, other, **how).counts.misses == 12


def test_cached_equals_uncached_equals_reference(data: Path, net) -> None:
    every = tuple(Tap(i) for i in range(4))
    ours = run(data, net, taps=every, precision="f32")
    truth = run(data, net, taps=every, engine="reference")
    assert len(ours.rows) == 5
    for name in ours.rows:
        np.testing.assert_allclose(ours.rows[name][:], truth.rows[name][:], rtol=1e-4, atol=1e-5)


def test_unpooled_flows_are_cached_too(data: Path, net) -> None:
    flow = run(data, net, taps=(Tap(1, False),)).rows["001-flow"]
    pooled = run(data, net, taps=(Tap(1),)).rows["001"]
    assert flow.shape == (12, 16, 8, 8)
    np.testing.assert_allclose(flow[:].mean((2, 3)), pooled[:], rtol=1e-4, atol=1e-6)


def views(data: Path, net, count: int, **how):
    pipe = pipeline(net, (Tap(1, False), Tap(3)), **how)
    each = [View("rotate=20, flip", 0, number) for number in range(count)]
    return compute_views(images(data).examples, pipe, each)


def test_views_are_computed_in_one_pass_and_kept_by_their_number(data: Path, net) -> None:
    two = views(data, net, 2)
    assert [(f.counts.misses, f.counts.hits) for f in two] == [(12, 0), (12, 0)]
    assert all(LOOK not in f.rows for f in two)
    three = views(data, net, 3)
    assert three[0].counts.misses == 12  # only the third was missing
    again = views(data, net, 3)
    assert again[0].counts.state == "warm"
    for number in range(2):
        for name in ("001-flow", "003"):
            kept = three[number].rows[name][:]
            assert kept.tobytes() == two[number].rows[name][:].tobytes()
    plain = run(data, net).rows["003"][:]
    tops = [plain, *(f.rows["003"][:] for f in three)]
    assert len({top.tobytes() for top in tops}) == 4


def test_a_view_alone_is_that_of_the_pass_for_all(data: Path, net) -> None:
    pipe = pipeline(net, (Tap(1, False), Tap(3)), threads=1)
    one = compute(images(data).examples, replace(pipe, view=View("flip, rotate=20", 0, 1)))
    both = views(data, net, 2)  # the order of the words says nothing
    assert both[1].rows["003"][:].tobytes() == one.rows["003"][:].tobytes()
    assert one.counts.misses == 12
    again = compute(images(data).examples, replace(pipe, view=View("rotate=20,flip", 0, 1)))
    assert again.counts.state == "warm"


@pytest.mark.parametrize(
    "view", [View("rotate=20, flip", 1, 0), View("rotate=20, flip", 0, 1), View("flip", 0, 0)]
)
def test_another_seed_number_or_text_is_another_view(data: Path, net, view: View) -> None:
    views(data, net, 1)
    pipe = pipeline(net, (Tap(1, False), Tap(3)))
    assert compute(images(data).examples, replace(pipe, view=view)).counts.misses == 12


def test_interrupted_views_are_kept(data: Path, net) -> None:
    def stop(done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    pipe = pipeline(net, [Tap(3)], threads=1)
    each = [View("flip", 0, number) for number in range(3)]
    with pytest.raises(KeyboardInterrupt):
        compute_views(images(data).examples, pipe, each, stop)
    counts = compute_views(images(data).examples, pipe, each)[0].counts
    assert 5 <= counts.hits < 12
    assert counts.hits + counts.misses == 12


def test_rows_are_kept_as_they_were_decoded(data: Path, net) -> None:
    pipe = replace(pipeline(net, TOP), keep_row=True)
    for state in ("cold", "warm"):
        found = compute(images(data).examples, pipe)
        assert found.counts.state == state
        for example, row in zip(found.examples, found.rows[ROW][:], strict=True):
            (truth,) = decoder("image").decode(example.read(), net.input)
            assert (row == truth).all()
    assert found.rows["003"][:].tobytes() == run(data, net).rows["003"][:].tobytes()


@pytest.mark.parametrize("engine", ["openvino", "torch", "reference"])
def test_what_a_row_takes_is_known_beforehand(data: Path, net, engine: str) -> None:
    taps = (Tap(0, False), Tap(1), Tap(2, False), Tap(3))
    for half in (False, True):
        pipe = replace(pipeline(net, taps, engine=engine), keep_row=True, half=half)
        found = compute(images(data).examples, pipe)
        assert sum(found.rows[name].row_bytes for name in pipe.names) == pipe.row_bytes


def test_unreadable_files_are_named_once_and_the_rest_goes_on(data: Path, net) -> None:
    (data / "dots" / "empty.png").write_bytes(b"")
    whole = (data / "dots" / "000.png").read_bytes()
    (data / "stripes" / "half.png").write_bytes(whole[: len(whole) // 2])
    for _ in range(2):  # cold and warm alike
        found = run(data, net)
        assert sorted(s.file for s in found.skipped) == ["dots/empty.png", "stripes/half.png"]
        assert all(s.reason for s in found.skipped)
        assert len(found.examples) == 12


def test_a_file_that_vanishes(data: Path, net) -> None:
    examples = images(data).examples
    (data / "dots" / "000.png").unlink()
    found = compute(examples, pipeline(net, [Tap(3)]))
    assert [s.file for s in found.skipped] == ["dots/000.png"]
    assert "No such file" in found.skipped[0].reason


def test_interrupted_work_is_kept(data: Path, net) -> None:
    def stop(done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    pipe = pipeline(net, [Tap(3)], threads=1)
    with pytest.raises(KeyboardInterrupt):
        compute(images(data).examples, pipe, stop)
    counts = run(data, net, threads=1).counts
    assert counts.hits >= 5
    assert counts.hits + counts.misses == 12


def test_a_rotten_entry_is_computed_again(data: Path, net, own_cache: Path) -> None:
    truth = run(data, net).rows["003"][:]
    (segment,) = own_cache.glob("activations/*/*.safetensors")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 4
    segment.write_bytes(content)
    again = run(data, net)
    assert again.counts.misses == 12
    assert (again.rows["003"][:] == truth).all()


def test_every_row_has_its_look_and_warm_runs_have_it_too(data: Path, net) -> None:
    (data / "dots" / "wide.png").unlink(missing_ok=True)
    picture("dots", 7, 60).crop((0, 0, 60, 30)).save(data / "dots" / "wide.png")
    for state in ("cold", "warm"):
        found = run(data, net)
        assert found.counts.state == state
        looks = found.rows[LOOK][:]
        shapes = {e.id: tuple(s) for e, s in zip(found.examples, sizes(looks), strict=True)}
        assert shapes["dots/wide.png"] == (30, 60)
        assert shapes["dots/000.png"] == (48, 48)
        assert len(set(prints(looks))) == 13


def test_looks_need_no_backbone_and_are_kept(data: Path, net) -> None:
    (data / "dots" / "empty.png").write_bytes(b"")
    examples = images(data).examples
    first = compute_looks(examples, net.info.input, 2)
    assert (first.counts.misses, first.counts.hits, len(first.skipped)) == (12, 0, 1)
    again = compute_looks(examples, net.info.input, 2)
    assert (again.counts.state, again.counts.misses, again.counts.hits) == ("warm", 0, 12)
    with_network = compute(examples, pipeline(net, TOP))
    assert (again.rows[LOOK][:] == with_network.rows[LOOK][:]).all()
    assert again.digests == with_network.digests


def test_threads_do_not_move_a_bit(data: Path, net, own_cache: Path) -> None:
    one = run(data, net, threads=1).rows["003"][:]
    shutil.rmtree(own_cache / "activations")
    assert (run(data, net, threads=3).rows["003"][:] == one).all()


def test_wrong_options_say_what_they_must_be(net) -> None:
    with pytest.raises(OptionError, match="--threads must be 1 or more, got 0"):
        pipeline(net, [Tap(3)], threads=0)
    with pytest.raises(OptionError, match="precision must be auto, f32 or bf16, got 'int8'"):
        pipeline(net, [Tap(3)], precision="int8")


def test_nothing_to_do(net) -> None:
    found = compute((), pipeline(net, [Tap(3)]))
    assert found.examples == ()
    assert replace(found.counts, seconds=0.0).misses == 0
