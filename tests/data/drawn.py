"""Pictures that the decoder's tests draw, and how they look at what came out."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from regraft.data.decoders import decoder
from regraft.inputs import ImageSpec

SPEC = ImageSpec((64, 64), crop=1.0)


def blocks(seed: int = 0, high: int = 256) -> np.ndarray:
    """(240, 320, 3) uint8 of large plain blocks: lossy formats keep them."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, high, (6, 8, 3))
    return np.kron(small, np.ones((40, 40, 1))).astype(np.uint8)


COLOUR = Image.fromarray(blocks())
GREY = COLOUR.convert("L")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def rows(raw: bytes, spec: ImageSpec = SPEC) -> np.ndarray:
    (row,) = decoder("image").decode(raw, spec)
    assert row.shape == (*spec.size, 3)
    assert row.dtype == np.uint8
    assert row.flags.c_contiguous
    return row


def difference(raw: bytes, twin: Image.Image) -> float:
    upright = rows(saved(twin.convert("RGB"), "PNG"))
    return float(np.abs(rows(raw).astype(int) - upright).mean())


def png(width: int, height: int, data: bytes, depth: int = 8, before: bytes = b"") -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", data)) + chunk(
        b"IEND", b""
    )


JPEG = saved(Image.effect_noise((320, 240), 60).convert("RGB"), "JPEG")
PNG = saved(COLOUR, "PNG")
