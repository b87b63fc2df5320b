"""What a safetensors file says it holds, believed only if it adds up.

    8 bytes: length of the header │ header: JSON, name -> dtype, shape, data_offsets │ the numbers

The package that reads the numbers accepts doubled names, hundreds of thousands of empty tensors
and headers of 100 MB; here nothing is allocated before the header has been found small and true.
Format: https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import json
import math
from io import BufferedIOBase
from typing import Any

#: Bytes per number.
DTYPES = {
    "BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
MOST_AXES = 16

#: Name -> (dtype as the file spells it, shape).
Listed = dict[str, tuple[str, tuple[int, ...]]]


def listed(file: BufferedIOBase, size: int, *, most_bytes: int, most_tensors: int) -> Listed:
    """The tensors that a safetensors file of `size` bytes holds, from its header alone.

    Args:
        file: open at its beginning.
        size: of the whole file, in bytes.
        most_bytes: that the header may have.
        most_tensors: that it may list.

    Raises:
        ValueError: the header is too large, is not JSON, or does not describe the bytes after it
            one by one: no gap, no overlap, nothing twice, nothing left.
    """
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(most_bytes, size - 8):
        raise ValueError(f"its header would have {length} bytes")
    entries = strict_json(file.read(length))
    if not isinstance(entries, dict) or len(entries) > most_tensors:
        raise ValueError(f"its header must list at most {most_tensors} tensors")
    found: Listed = {}
    spans = []
    for name, entry in entries.items():
        dtype, shape, (start, stop) = _entry(name, entry)
        if stop - start != DTYPES[dtype] * math.prod(shape):
            raise ValueError(f"{name!r:.80} does not have the bytes of its shape")
        found[name] = (dtype, shape)
        spans.append((start, stop))
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise ValueError("its tensors overlap or leave a gap")
        end = stop
    if end != size - 8 - length:
        raise ValueError(f"its tensors have {end} bytes and {size - 8 - length} follow the header")
    return found


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r:.80} is not listed by dtype, shape and data_offsets")
    dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{name!r:.80} has an unknown dtype")
    if not _counts(shape) or len(shape) > MOST_AXES:
        raise ValueError(f"{name!r:.80} has an invalid shape")
    if not _counts(span) or len(span) != 2 or span[0] > span[1]:
        raise ValueError(f"{name!r:.80} has offsets that are none")
    return dtype, tuple(shape), (span[0], span[1])


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one < 2**53 for one in value)


def strict_json(data: bytes) -> Any:
    """The value that some JSON spells, without the liberties that Python's reader takes.

    Raises:
        ValueError: not UTF-8 (in an escape either), not JSON, NaN or infinity, a key twice, or
            nested too deep.
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if b"\\u" in data:  # half a character can be spelled out, and never be written again
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key comes twice")
    return made


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")
