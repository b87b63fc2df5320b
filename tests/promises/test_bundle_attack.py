"""A bundle from anywhere: one changed bit, other files, other names, paths, archives, wild JSON."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import regraft
from regraft.bundle import CARD, CHECKSUMS, CONFIG, HEAD, METRICS, pretty
from regraft.card import card
from regraft.errors import BundleError, RegraftError
from tests.promises.hostile import GOLDEN, INPUTS, KINDS, copy, reseal, rewrite, verdict


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return copy(request.param, tmp_path / "bundle")


@pytest.fixture
def thin(tmp_path: Path) -> Path:
    return copy("head-only", tmp_path / "bundle")


def refused(folder: Path, match: str | None = None) -> None:
    with pytest.raises(BundleError, match=match) as caught:
        regraft.load(folder)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def flip(data: bytes, bit: int) -> bytes:
    """`data` with one bit the other way."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flips(folder: Path, count: int) -> None:
    """Flip one bit anywhere in the files or their names, `count` times, each of them refused."""
    random = np.random.default_rng(count)
    files = sorted(folder.iterdir())
    sound = {path: path.read_bytes() for path in files}
    for number in range(count):
        path = files[number % len(files)]
        if number % 10 == 9:  # in the name
            name = flip(path.name.encode(), int(random.integers(8 * len(path.name))))
            if b"/" in name or b"\0" in name:  # such a name cannot be
                continue
            place = Path(os.fsdecode(bytes(folder) + b"/" + name))
            path.rename(place)
            refused(folder)
            place.rename(path)
        else:
            path.write_bytes(flip(sound[path], int(random.integers(8 * len(sound[path])))))
            refused(folder)
            path.write_bytes(sound[path])
    assert regraft.load(folder).classes == ("checks", "dots", "stripes")


def test_a_hundred_flipped_bits(folder: Path) -> None:
    flips(folder, 100)


@pytest.mark.slow
def test_a_thousand_flipped_bits(folder: Path) -> None:
    flips(folder, 1000)


class Bomb:
    """Unpickling it would make a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


PICKLES = (
    "model.pkl", "model.pickle", "model_head.pkl", "head.joblib", "pytorch_model.bin", "model.pt",
    "rng_state.pth", "optimizer.pt", "head.npy",
)  # fmt: skip
CODE = (
    "__init__.py", "sitecustomize.py", "usercustomize.py", "conftest.py", "modeling.py", "setup.py",
    "numpy.py", "regraft.py", "safetensors.py", "evil.pth", "pyproject.toml", "json.py",
)  # fmt: skip


def test_files_beside_a_bundle_are_never_touched(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = tmp_path / "canary"
    for name in PICKLES:
        (folder / name).write_bytes(pickle.dumps(Bomb(canary)))
    for name in CODE:
        (folder / name).write_text(f"import pathlib; pathlib.Path({str(canary)!r}).touch()")
    monkeypatch.chdir(folder)  # as somebody who stands in it
    assert len(regraft.load(folder).classes) == 3
    assert len(regraft.load(".").classes) == 3
    assert not canary.exists()


def torch_zip(canary: Path) -> bytes:
    """What `torch.save` would write of a bomb."""
    import torch

    out = io.BytesIO()
    torch.save(Bomb(canary), out)
    return out.getvalue()


@pytest.mark.parametrize("sealed", [False, True], ids=["as it lies", "with right checksums"])
def test_pickles_instead_of_the_files(folder: Path, tmp_path: Path, sealed: bool) -> None:
    canary = tmp_path / "canary"
    for path in sorted(folder.iterdir()):
        sound = path.read_bytes()
        for evil in (pickle.dumps(Bomb(canary)), torch_zip(canary), b"import os\n"):
            path.write_bytes(evil)
            if sealed and path.name == CARD and evil == b"import os\n":
                continue  # any text is a card
            if sealed and path.name != CHECKSUMS:
                reseal(folder)
            refused(folder)
            path.write_bytes(sound)
        path.write_bytes(sound)
        if sealed:
            reseal(folder)
    assert not canary.exists()
    regraft.load(folder)


@pytest.mark.parametrize(
    "path",
    ["../bundle/../nowhere", "/", "~", "~/x", "bundle\\..\\x", "a\0b", "https://x.org/b", ""],
)
def test_a_path_that_is_no_bundle(path: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(Path(path))


def replacements(path: Path, tmp_path: Path) -> Iterator[str]:
    """Put things that are no plain file in the place of `path`, one after the other."""
    real = shutil.copy(path, tmp_path / "real")
    path.unlink()
    for kind in ("symlink", "dangling", "fifo", "folder", "zero", "socket"):
        if kind in ("symlink", "dangling"):
            path.symlink_to(real if kind == "symlink" else tmp_path / "nowhere")
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "zero":
            try:
                os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
            except PermissionError:
                continue
        else:
            os.mknod(path, stat.S_IFSOCK | 0o666)
        yield kind
        shutil.rmtree(path) if kind == "folder" else path.unlink()
    shutil.copy(real, path)


def test_no_link_and_no_device_is_opened(folder: Path, tmp_path: Path) -> None:
    for path in sorted(folder.iterdir()):
        for _ in replacements(path, tmp_path):
            refused(folder)
        (tmp_path / "real").unlink()
    regraft.load(folder)


def test_a_hard_link_to_the_right_bytes_is_a_plain_file(thin: Path, tmp_path: Path) -> None:
    """Nobody can tell it from the file itself, and its bytes were compared."""
    os.link(thin / HEAD, tmp_path / "other name")
    regraft.load(thin)
    secret = tmp_path / "secret"
    secret.write_text("somebody else's")
    (thin / HEAD).unlink()
    os.link(secret, thin / HEAD)
    refused(thin)
    assert secret.read_text() == "somebody else's"


def test_the_checksums_name_no_path(thin: Path) -> None:
    for name in ("../secret", "/etc/passwd", "bundle/x", "..\\x", CHECKSUMS, "extra.bin"):
        sums = json.loads((GOLDEN / "head-only" / CHECKSUMS).read_text())
        (thin / CHECKSUMS).write_bytes(pretty(sums | {name: "0" * 64}))
        refused(thin, "must list")


def archives(tmp_path: Path) -> Iterator[Path]:
    """Archives of a bundle, and archives that unpack over other files."""
    sound = GOLDEN / "head-only"
    for kind in ("zip", "tar", "gztar"):
        yield Path(shutil.make_archive(str(tmp_path / f"sound-{kind}"), kind, sound))
    absolute = f"{tmp_path}/evil"
    for name in ("../evil", absolute, "..\\evil", "bundle-evil/../../evil", "C:\\evil"):
        place = tmp_path / f"evil{len(list(tmp_path.iterdir()))}.zip"
        with zipfile.ZipFile(place, "w") as out:
            out.writestr(name, "gotcha")
            out.writestr("bomb", b"\0" * 10**7, zipfile.ZIP_DEFLATED)
        yield place
    place = tmp_path / "links.tar"
    with tarfile.open(place, "w") as out:
        for kind, name in ((tarfile.SYMTYPE, "config.json"), (tarfile.LNKTYPE, "head.safetensors")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            out.addfile(member)
        device = tarfile.TarInfo("metrics.json")
        device.type = tarfile.CHRTYPE
        out.addfile(device)
    yield place


def test_archives_are_refused_and_nothing_is_unpacked(tmp_path: Path) -> None:
    made = list(archives(tmp_path))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    for archive in made:
        refused(archive, "a bundle is a folder; if this is an archive, unpack it")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_archives_in_the_place_of_files(thin: Path, tmp_path: Path) -> None:
    home = tmp_path / "archives"
    home.mkdir()
    for archive in list(archives(home)):
        for name in (CONFIG, HEAD, METRICS):
            sound = (thin / name).read_bytes()
            shutil.copy(archive, thin / name)
            reseal(thin)
            refused(thin)
            (thin / name).write_bytes(sound)


SWITCHES = ("trust_remote_code", "auto_map", "_target_", "_attn_implementation_internal")


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


@pytest.mark.parametrize("name", [CONFIG, METRICS])
@pytest.mark.parametrize("switch", SWITCHES)
def test_no_table_takes_a_switch_that_turns_on_code(name: str, switch: str, thin: Path) -> None:
    sound = json.loads((thin / name).read_text())
    tables = [sound, *(c[k] for c, k in places(sound) if isinstance(c[k], dict))]
    tables = [table for table in tables if table or name == CONFIG]  # 'unknown' holds labels
    assert len(tables) > 3
    for table in tables:
        table[switch] = True
        (thin / name).write_text(json.dumps(sound))
        reseal(thin)
        refused(thin, switch)
        del table[switch]


WILD: tuple[Any, ...] = (
    "text", "", 10**9, 10**30, -1, 0, 0.5, None, True, [], {}, [[]], {"a": {"b": []}},
    "\0", "../../etc/passwd", "\ud800",
)  # fmt: skip


def spoilt(name: str) -> Iterator[bytes]:
    """Every value of a golden JSON file replaced by something else, and the whole file too."""
    sound = json.loads((GOLDEN / "head-only" / name).read_text())
    if name == CONFIG:  # the stages are alike; the head reads the last
        sound["backbone"]["stages"][-1]["index"] = 0
        sound["backbone"]["stages"] = sound["backbone"]["stages"][-1:]
    if name == METRICS:  # as the other classes
        del sound["test"]["per_class"][1:], sound["test"]["confusion"][1:]
    for container, key in list(places(sound)):
        right = container[key]
        for wild in (w for w in (*WILD, [right], str(right)) if w != right):
            container[key] = wild
            yield json.dumps(sound).encode()
        container[key] = right
    text = pretty(sound)
    yield from (text.replace(b"0", word) for word in (b"NaN", b"-Infinity", b"1e999", b"9" * 5000))
    yield from (
        b"",
        b"[",
        b"null",
        b"[]",
        b"{}",
        b'"x"',
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"0",
        b"{" * 9,
    )
    yield from (b"[" * 100_000, b'{"a":' * 100_000, text[: len(text) // 2], text + b"x", text * 2)
    yield b'{"format": 1, ' + text.lstrip()[1:]  # a key twice


@pytest.mark.parametrize("name", [CONFIG, METRICS, CHECKSUMS])
def test_any_json_is_refused_in_one_sentence_or_does_no_harm(name: str, thin: Path) -> None:
    """Only our own errors escape. What is accepted, such as another seed, is still a model."""
    verdicts = []
    config = json.loads((thin / CONFIG).read_text())
    for data in spoilt(name):
        (thin / name).write_bytes(data)
        if name != CHECKSUMS:
            reseal(thin)
        verdicts.append(verdict(thin))
        if verdicts[-1] is None:
            made = regraft.load(thin)
            assert name != CHECKSUMS
            assert made.head.n_classes == len(made.classes) == 3
            pretty(made.metrics), card(config, made.metrics)  # as saving it would
    refusals = [said for said in verdicts if said is not None]
    assert all(said.isprintable() and len(said) < 1000 for said in refusals)
    assert len(verdicts) > 70
    assert len(refusals) > len(verdicts) * {CONFIG: 0.75, METRICS: 0.2, CHECKSUMS: 0.99}[name]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda some: (
        st.lists(some, max_size=4) | st.dictionaries(st.text(max_size=9), some, max_size=4)
    ),
    max_leaves=20,
)


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_our_own_errors_escape(thin: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([CONFIG, METRICS, CHECKSUMS, HEAD, CARD]))
    sound = (GOLDEN / "head-only" / name).read_bytes()
    if name in (HEAD, CARD):
        start = data.draw(st.integers(0, len(sound)))
        stop = data.draw(st.integers(start, len(sound)))
        evil = sound[:start] + data.draw(st.binary(max_size=40)) + sound[stop:]
    else:
        value = json.loads(sound)
        container, key = data.draw(st.sampled_from(list(places(value))))
        container[key] = data.draw(JSON)
        evil = json.dumps(value).encode()
    (thin / name).write_bytes(evil)
    if name != CHECKSUMS:
        reseal(thin)
    said = verdict(thin)
    (thin / name).write_bytes(sound)
    shutil.copy(GOLDEN / "head-only" / CHECKSUMS, thin)
    assert said is None or said.isprintable()


@pytest.mark.parametrize("name", [CONFIG, METRICS, CARD, CHECKSUMS, HEAD])
def test_a_huge_file_is_not_read(name: str, folder: Path) -> None:
    with (folder / name).open("r+b") as file:
        file.truncate(2**31)  # sparse
    refused(folder, "more than the")


def test_labels_that_do_not_fit(thin: Path) -> None:
    for classes in (["a", "b"], ["a", "b", "c", "d"], ["a", "a", "b"], ["a"], [], "abc"):
        rewrite(thin, CONFIG, lambda c, k=classes: c | {"classes": k})
        with pytest.raises(RegraftError):
            regraft.load(thin)


def test_a_bundle_that_was_attacked_in_vain_still_answers() -> None:
    assert len(regraft.load(GOLDEN / "standalone").predict(INPUTS)) == 6
