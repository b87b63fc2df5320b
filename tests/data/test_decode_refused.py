"""Every kind of bad file is refused with its reason; none becomes another picture."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, TiffImagePlugin

from regraft.data import pixels
from regraft.errors import BadFile
from tests.data.drawn import COLOUR, JPEG, PNG, png, rows, saved

REFUSED = {
    "empty": (b"", "empty file"),
    "one byte": (b"\xff", "not an image"),
    "zeros": (bytes(500), "zeros"),
    "text": (b"just a note about ants", r"not an image \(text\)"),
    "html": (b"<!DOCTYPE html><html>404</html>", "HTML page, not an image"),
    "svg": (b'<?xml version="1.0"?>\n<svg xmlns="x"><image href="file:///etc/passwd"/>', "SVG"),
    "pdf": (b"%PDF-1.7 ...", "PDF, not an image"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript, not an image"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
    "zip": (b"PK\x03\x04aaaa", "ZIP archive"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "jpeg half": (JPEG[: len(JPEG) // 2], "truncated JPEG"),
    "jpeg half, closed": (JPEG[: len(JPEG) // 2] + b"\xff\xd9", "truncated JPEG"),
    "jpeg tail": (JPEG[:-40], "truncated JPEG"),
    "jpeg header": (JPEG[:400], "JPEG"),
    "jpeg start": (JPEG[:3], "JPEG"),
    "jpeg zero width": (
        JPEG.replace(struct.pack(">HH", 240, 320), struct.pack(">HH", 240, 0)),
        "0",
    ),
    "png half": (PNG[: len(PNG) // 2], "truncated PNG"),
    "png header": (PNG[:33], "PNG"),
    "png zero width": (png(0, 5, zlib.compress(b"")), "PNG|0"),
    "png data end early": (png(64, 64, zlib.compress(bytes(400))), "PNG"),
    "gif half": (saved(COLOUR, "GIF")[:4000], "truncated GIF"),
    "bmp half": (saved(COLOUR, "BMP")[:9000], "truncated BMP"),
    "webp half": (saved(COLOUR, "WEBP")[:900], "truncated WEBP"),
    "tiff half": (saved(COLOUR, "TIFF")[:9000], "truncated TIFF"),
    "tiff lzw half": (saved(COLOUR, "TIFF", compression="tiff_lzw")[:900], "TIFF"),
    "ppm half": (saved(COLOUR, "PPM")[:9000], "truncated PPM"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_files_are_refused_with_their_reason(case: str) -> None:
    raw, reason = REFUSED[case]
    with pytest.raises(BadFile, match=reason):
        rows(raw)


def test_no_truncation_gives_half_a_picture() -> None:
    for raw in (JPEG, saved(COLOUR, "JPEG", progressive=True), PNG, saved(COLOUR, "WEBP")):
        for share in range(1, 20):
            with pytest.raises(BadFile):
                rows(raw[: len(raw) * share // 20])


def test_half_pictures_stay_refused_when_a_library_allows_them(monkeypatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for case in ("gif half", "bmp half", "png half", "jpeg half"):
        with pytest.raises(BadFile):
            rows(REFUSED[case][0])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True, "another library's setting is left alone"


def test_flipped_bits_of_a_png_never_change_pixels_in_silence() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = saved(COLOUR, "PNG", exif=exif)
    whole, picks, silent = rows(raw), random.Random(0), 0
    for _ in range(400):
        flipped = bytearray(raw)
        flipped[picks.randrange(len(raw))] ^= 1 << picks.randrange(8)
        try:
            silent += not np.array_equal(rows(bytes(flipped)), whole)
        except BadFile:
            continue
    assert silent == 0


def test_harmless_bytes_of_a_camera_are_accepted() -> None:
    assert np.array_equal(rows(JPEG[:-2] + bytes(7) + JPEG[-2:]), rows(JPEG))
    assert np.array_equal(rows(JPEG + b"a thumbnail or so"), rows(JPEG))


def test_bombs_are_refused_by_their_header(monkeypatch) -> None:
    bomb = zlib.compress(bytes(10_000))
    for side in (8_100, 13_000, 50_000):
        with pytest.raises(BadFile, match="too large"):
            rows(png(side, side, bomb))
    lying = JPEG.replace(struct.pack(">HH", 240, 320), struct.pack(">HH", 65_000, 65_000))
    with pytest.raises(BadFile, match="too large: 65000 x 65000"):
        rows(lying)
    with pytest.raises(BadFile, match="too large"):
        rows(b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + saved(COLOUR, "GIF")[10:])
    huge_text = zlib.compress(bytes(80_000_000), 9)
    body = b"zTXtcomment\0\0" + huge_text
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    with pytest.raises(BadFile):
        rows(png(64, 64, zlib.compress(bytes(64 * 193)), before=chunk))
    monkeypatch.setattr(pixels, "MOST", 100)
    with pytest.raises(BadFile, match="too large: 320 x 240"):
        rows(PNG)


def test_tiff_with_a_wrong_tag_is_no_crash() -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[270] = "a note"
    raw = bytearray(saved(COLOUR, "TIFF", tiffinfo=info))
    picks, outcomes = random.Random(1), set()
    for _ in range(100):
        flipped = bytearray(raw)
        flipped[picks.randrange(min(len(raw), 200))] ^= 1 << picks.randrange(8)
        try:
            outcomes.add(rows(bytes(flipped)).shape)
        except BadFile as problem:
            outcomes.add(str(problem))
    assert (64, 64, 3) in outcomes
    assert len(outcomes) > 2
    assert "" not in outcomes
