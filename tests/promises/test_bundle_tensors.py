"""Tensor files that lie, with checksums that fit: refused with little time and memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.bundle import BACKBONE, CONFIG, HEAD, METRICS, MOST_BYTES, pretty
from regraft.tensors import listed
from tests.promises.hostile import GOLDEN, copy, refused_small, reseal, verdict

Change = Callable[[dict[str, Any], bytes], "tuple[dict[str, Any], bytes]"]


def parted(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the numbers of a sound tensor file."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: bytes | dict[str, Any], body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def largest(header: dict[str, Any]) -> str:
    """The name of the largest tensor with more than one axis."""
    spans = {n: e["data_offsets"][1] - e["data_offsets"][0] for n, e in header.items()}
    return max((n for n in spans if len(header[n]["shape"]) > 1), key=spans.__getitem__)


def lies_of_headers(sound: bytes) -> Iterator[tuple[str, bytes]]:
    """Files whose headers do not add up."""
    header, body = parted(sound)
    yield "header 2^63", (2**63).to_bytes(8, "little") + sound[8:]
    yield "header longer than the file", len(sound).to_bytes(8, "little") + sound[8:]
    yield "header of 60 MB", joined(json.dumps(header).encode() + b" " * 60_000_000, body)
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [len(body)] * 2}
    yield "300k tensors", joined(header | {f"x{i}": empty for i in range(300_000)}, body)
    whole = {"dtype": "U8", "shape": [len(body)], "data_offsets": [0, len(body)]}
    yield "2000 overlaps", joined({f"x{i}": whole for i in range(2000)}, body)
    name = largest(header)

    def entry(**change: Any) -> bytes:
        return joined(header | {name: header[name] | change}, body)

    start, stop = header[name]["data_offsets"]
    yield "shape 10^18", entry(shape=[10**9, 10**9])
    yield "overflow", entry(shape=[2**62, 4, 2**62])
    yield "negative shape", entry(shape=[-1, -1])
    yield "negative offset", entry(data_offsets=[-start - 4, stop])
    yield "offset past the end", entry(data_offsets=[start, stop + 2**40])
    yield "offsets the wrong way", entry(data_offsets=[stop, start])
    yield "unknown dtype", entry(dtype="OBJECT")
    yield "a float in the shape", entry(shape=[1.5, 2])
    text = json.dumps(header).encode()
    again = json.dumps({name: header[name]}).encode()
    yield "duplicate key", joined(text[:-1] + b", " + again[1:], body)
    yield "metadata", joined(header | {"__metadata__": {"a": "b"}}, body)
    yield "deep header", joined(b"[" * 60_000, body)
    yield "bytes after the end", sound + b"\0" * 8
    yield "cut", sound[: len(sound) // 2]
    yield "no header", b""


def lies_of_contents(sound: bytes) -> Iterator[tuple[str, bytes]]:
    """Files that add up and hold something else than what is expected."""
    header, body = parted(sound)
    name = largest(header)
    stop = header[name]["data_offsets"][1]
    shape, dtype = header[name]["shape"], header[name]["dtype"]
    other = {"F32": "I32", "U8": "I8"}[dtype]
    yield "transposed", joined(header | {name: header[name] | {"shape": shape[::-1]}}, body)
    flat = [int(np.prod(shape))]
    yield "flattened", joined(header | {name: header[name] | {"shape": flat}}, body)
    yield "wrong dtype", joined(header | {name: header[name] | {"dtype": other}}, body)
    renamed = {("y" + n if n == name else n): e for n, e in header.items()}
    yield "another name", joined(renamed, body)
    last = max(header, key=lambda n: header[n]["data_offsets"][1])
    cut = header[last]["data_offsets"][0]
    less = {n: e for n, e in header.items() if n != last}
    yield "missing tensor", joined(less, body[:cut])
    more = {"dtype": "F32", "shape": [1], "data_offsets": [len(body), len(body) + 4]}
    yield "extra tensor", joined(header | {"zzz": more}, body + b"\0" * 4)
    for word, number in (("NaN", np.nan), ("infinity", -np.inf)):
        if dtype == "F32":
            evil = np.float32(number).tobytes()
            yield word, joined(header, body[: stop - 4] + evil + body[stop:])


@pytest.mark.parametrize("name", [HEAD, BACKBONE])
def test_a_header_that_lies_is_refused_at_loading(name: str, tmp_path: Path) -> None:
    folder = copy("standalone", tmp_path / "bundle")
    sound = (folder / name).read_bytes()
    tried = 0
    for lie, data in lies_of_headers(sound):
        (folder / name).write_bytes(data)
        reseal(folder)
        said = verdict(folder)
        assert said is not None, lie
        assert "is not a safetensors file" in said, lie
        assert said.isprintable()
        tried += 1
    assert tried == 19


@pytest.mark.slow
@pytest.mark.parametrize("name", [HEAD, BACKBONE])
def test_refusing_costs_little(name: str, tmp_path: Path) -> None:
    """In a process of its own, which may have 400 MB and 10 s more than it needs to start."""
    sound = (GOLDEN / "standalone" / name).read_bytes()
    costly = ("2^63", "60 MB", "300k", "2000", "10^18", "overflow", "metadata")
    folders = []
    for lie, data in lies_of_headers(sound):
        if any(word in lie for word in costly):
            folders.append(copy("standalone", tmp_path / lie.replace(" ", "-")))
            (folders[-1] / name).write_bytes(data)
            reseal(folders[-1])
    refused_small(folders)


def test_a_head_with_other_contents_is_refused_at_loading(tmp_path: Path) -> None:
    folder = copy("standalone", tmp_path / "bundle")
    sound = (folder / HEAD).read_bytes()
    for lie, data in lies_of_contents(sound):
        (folder / HEAD).write_bytes(data)
        reseal(folder)
        said = verdict(folder)
        assert said is not None, lie
        assert "stored head" in said, lie


def test_weights_with_other_contents_are_refused_before_they_are_used(
    tmp_path: Path, own_cache: Path
) -> None:
    """The attacker states the digest of what he made, so only names, shapes and values can tell."""
    from regraft import load
    from regraft.errors import BackboneError

    folder = copy("standalone", tmp_path / "bundle")
    sound = (folder / BACKBONE).read_bytes()
    for lie, data in lies_of_contents(sound):
        (folder / BACKBONE).write_bytes(data)
        config = json.loads((GOLDEN / "standalone" / CONFIG).read_text())
        config["backbone"]["digest"] = "0" * 64
        (folder / CONFIG).write_bytes(pretty(config))
        reseal(folder)
        with pytest.raises(BackboneError, match="finite" if lie in ("NaN", "infinity") else "must"):
            _ = load(folder).backbone.stages
        shutil.rmtree(own_cache, ignore_errors=True)


@pytest.mark.slow
def test_json_of_the_largest_size_stays_small(tmp_path: Path) -> None:
    """Python's own objects are up to twenty times as large as the text."""
    folders = []
    for kind, piece in (("lists", b"[],"), ("strings", b'"ab",'), ("numbers", b"300,")):
        folder = copy("head-only", tmp_path / kind)
        text = (folder / METRICS).read_bytes().rstrip()[:-1]
        most = MOST_BYTES[METRICS] - len(text) - 40
        text += b', "z": [' + piece * (most // len(piece)) + b'0], "train": 0}'
        (folder / METRICS).write_bytes(text)
        reseal(folder)
        folders.append(folder)
    refused_small(folders)


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_bytes_are_listed_or_refused(data: bytes, length: int) -> None:
    import io

    for file in (data, length.to_bytes(8, "little") + data):
        try:
            found = listed(io.BytesIO(file), len(file), most_bytes=2**16, most_tensors=9)
        except ValueError:
            continue
        assert found == {}
