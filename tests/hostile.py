"""A folder as bad as folders get: 40 good pictures among more than a hundred that are not so.

What each file must become is written beside it: left out for a reason, used as the picture that
its upright twin shows, or no picture at all.
"""

from __future__ import annotations

import os
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from regraft.data.links import BROKEN, LOOP, OUT
from tests.data.drawn import COLOUR, GREY, JPEG, PNG, blocks, png, saved
from tests.data.test_decode_image import GREY16, MODES, UPRIGHT, wide
from tests.data.test_decode_refused import REFUSED
from tests.pictures import picture, write_folder

GOOD = 40
LEVELS = 6  # mean absolute difference from the twin that is still the same picture


@dataclass
class Hostile:
    """The folder and what is true of it.

    Attributes:
        root: with the class folders 'checks' and 'dots'.
        outside: a folder that links lead to and nobody may look into.
        skipped: id -> what its reason must say (a regular expression).
        used: id -> its upright twin.
        paths: id -> where the used one lies.
        ignored: ids of what is no picture.
        kinds: kind -> ids, to tell what became of each.
    """

    root: Path
    outside: Path
    skipped: dict[str, str] = field(default_factory=dict)
    used: dict[str, Image.Image] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    kinds: dict[str, list[str]] = field(default_factory=dict)

    @property
    def seen(self) -> int:
        """All entries but folders, counted by looking, not by what was meant."""
        entries = [Path(top, name) for top, names, files in os.walk(self.root) for name in
                   (*names, *files)]  # fmt: skip
        return sum(path.is_symlink() or not path.is_dir() for path in entries)


def build(home: Path) -> Hostile:
    """Write the folder `home/data`, and `home/outside` beside it."""
    made = Hostile(home / "data", home / "outside")
    write_folder(made.root, GOOD // 2)
    stripes = made.root / "stripes"
    for path in stripes.iterdir():
        path.unlink()
    stripes.rmdir()
    for kind, name, raw, reason in _refused():
        _write(made, kind, name, raw)
        made.skipped[f"dots/{name}"] = reason
    for kind, name, raw, twin in _odd():
        _write(made, kind, name, raw)
        made.used[f"dots/{name}"] = twin
        made.paths[f"dots/{name}"] = made.root / "dots" / name
    _names(made)
    _not_plain(made)
    for name in (".DS_Store", "Thumbs.db", "._x.jpg", "desktop.ini", "notes.txt", "labels.csv"):
        _write(made, "litter", name, b"no picture")
        made.ignored.append(f"dots/{name}")
    return made


def _write(made: Hostile, kind: str, name: str, raw: bytes) -> None:
    (made.root / "dots" / name).write_bytes(raw)
    made.kinds.setdefault(kind, []).append(f"dots/{name}")


def _refused() -> Iterator[tuple[str, str, bytes, str]]:
    """Kind, name, bytes and why they are left out."""
    for case, (raw, reason) in REFUSED.items():
        yield "broken", f"{case}.jpg", raw, reason
    flipped = bytearray(PNG)
    flipped[len(PNG) // 2] ^= 16
    yield "broken", "one bit.png", bytes(flipped), "PNG"
    noise = np.random.default_rng(0).bytes(5000)
    yield "broken", "noise for pixels.png", png(64, 64, noise), "PNG"
    yield "broken", "noise.bmp", noise, "not an image"
    yield "broken", "vector.svg", REFUSED["svg"][0], "SVG"
    yield "broken", "phone.heic", REFUSED["heic"][0], "HEIC"
    zeros = zlib.compress(bytes(40_000_000), 9)
    for side in (8_100, 13_000, 50_000):
        yield "bombs", f"{side} squared.png", png(side, side, zeros), "too large"
    size = struct.pack(">HH", 240, 320)
    lying = JPEG.replace(size, struct.pack(">HH", 65_000, 65_000))
    yield "bombs", "lying.jpg", lying, "too large"
    screen = b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + saved(COLOUR, "GIF")[10:]
    yield "bombs", "screen.gif", screen, "too large"
    body = b"zTXtcomment\0\0" + zlib.compress(bytes(80_000_000), 9)
    text = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    plain = zlib.compress(bytes(64 * 193))
    yield "bombs", "text.png", png(64, 64, plain, before=text), "."
    for value in (np.nan, np.inf):
        pixels = (GREY16 / 255).astype(np.float32)
        pixels[3, 4] = value
        yield "modes", f"float {value}.tif", saved(wide(pixels, "F"), "TIFF"), "not a number"


def _odd() -> Iterator[tuple[str, str, bytes, Image.Image]]:
    """Kind, name, bytes and the upright picture that they hold."""
    for case, (raw, twin) in MODES.items():
        yield "modes", f"{case}.{case.partition('-')[0]}", raw, twin.convert("RGB")
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    other = ImageCms.profileToProfile(COLOUR, srgb, lab, outputMode="LAB")
    yield "modes", "lab.tif", saved(other, "TIFF"), COLOUR
    lines = b"".join(b"\0" + row.tobytes() for row in blocks().astype(">u2") * 257)
    yield "modes", "rgb16.png", png(320, 240, zlib.compress(lines), depth=16), COLOUR
    yield from _transparent()
    for kind in ("JPEG", "PNG"):
        for orientation in (3, 5, 6, 8, 99):
            exif, how = Image.Exif(), UPRIGHT.get(orientation)
            exif[0x0112] = orientation
            stored = COLOUR if how is None else COLOUR.transpose(how)
            raw = saved(stored, kind, exif=exif)
            yield "exif", f"turned {orientation}.{kind.lower()}", raw, COLOUR
        broken = saved(COLOUR, kind, icc_profile=b"no profile at all")
        yield "exif", f"profile.{kind.lower()}", broken, COLOUR
    garbage = b"Exif\0\0II*\0\xff\xff\xff\xff"
    segment = b"\xff\xe1" + struct.pack(">H", len(garbage) + 2) + garbage
    raw = saved(COLOUR, "JPEG")
    yield "exif", "garbage.jpg", raw[:2] + segment + raw[2:], COLOUR
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        others = [Image.fromarray(blocks(seed)) for seed in (5, 6)]
        first = COLOUR.quantize(64) if kind == "GIF" else COLOUR
        raw = saved(first, kind, save_all=True, append_images=others)
        yield "animation", f"moving.{kind.lower()}", raw, first.convert("RGB")
    frames = [Image.new("P", (320, 240), n % 256) for n in range(1, 400)]
    first = COLOUR.quantize(64)
    raw = saved(first, "GIF", save_all=True, append_images=frames)
    yield "bombs", "400 frames.gif", raw, first.convert("RGB")


def _transparent() -> Iterator[tuple[str, str, bytes, Image.Image]]:
    """The left half is transparent, over whatever colour: it shows white."""
    twin = blocks()
    twin[:, :160] = 255
    alpha = np.full((240, 320, 1), 255, np.uint8)
    alpha[:, :160] = 0
    for seed in (1, 2):
        hidden = blocks()
        hidden[:, :160] = np.random.default_rng(seed).integers(0, 256, (240, 160, 3))
        image = Image.fromarray(np.concatenate([hidden, alpha], axis=2))
        yield "transparency", f"hidden {seed}.png", saved(image, "PNG"), Image.fromarray(twin)
    key = Image.fromarray(np.where(alpha > 0, blocks(), np.uint8(9)))
    raw = saved(key, "PNG", transparency=(9, 9, 9))
    yield "transparency", "key.png", raw, Image.fromarray(twin)
    grey = np.asarray(GREY).clip(1).copy()
    grey[:, :160] = 0
    upright = np.where(grey == 0, np.uint8(255), grey)
    table = Image.fromarray(grey).convert("P")
    raw = saved(table, "PNG", transparency=bytes([0, *[255] * 255]))
    yield "transparency", "palette.png", raw, Image.fromarray(upright).convert("RGB")


def _names(made: Hostile) -> None:
    """Good pictures of names that somebody trips over; every one is another picture."""
    names: list[str | bytes] = [
        "jpeg inside.png", "png inside.jpg", "no suffix", "LOUD.JPG",
        unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png"),
        "new\nline.png", "quo'\"te.png", "-rf.png", "$(touch owned).png", "%2e%2e%2f.png",
        "<img src=x onerror=alert(1)>.png", "=1+1.png", "n" * 246 + ".png", "trailing .png",
        b"caf\xe9.png",
    ]  # fmt: skip
    for number, name in enumerate(names):
        kind = "JPEG" if name in ("jpeg inside.png", "LOUD.JPG") else "PNG"
        shown = picture("dots", 300 + number)
        fine = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
        path = made.root / "dots" / os.fsdecode(name)
        path.write_bytes(saved(shown, kind, **fine))
        ident = "dots/" + os.fsencode(name).decode("utf-8", "backslashreplace")
        made.used[ident], made.paths[ident] = shown, path
        made.kinds.setdefault("names", []).append(ident)


def _not_plain(made: Hostile) -> None:
    home, outside = made.root / "dots", made.outside
    outside.mkdir()
    picture("dots", 400).save(outside / "secret.png")
    for name, (target, why) in {
        "out.png": (outside / "secret.png", OUT),
        "broken.png": (Path("nowhere"), BROKEN),
        "self.png": (Path("self.png"), BROKEN),
        "zero.png": (Path("/dev/zero"), OUT),
        "loop": (Path(".."), LOOP),
        "folder out": (outside, OUT),
    }.items():
        (home / name).symlink_to(target)
        made.skipped[f"dots/{name}"] = why
        made.kinds.setdefault("not plain", []).append(f"dots/{name}")
    os.mkfifo(home / "pipe.png")
    made.skipped["dots/pipe.png"] = "a pipe, not a file"
    made.kinds["not plain"].append("dots/pipe.png")
    (home / "folder.png").mkdir()
    picture("dots", 401).save(home / "folder.png" / "inner.png")
    made.used["dots/folder.png/inner.png"] = picture("dots", 401)
    made.paths["dots/folder.png/inner.png"] = home / "folder.png" / "inner.png"
    made.kinds["not plain"].append("dots/folder.png/inner.png")
