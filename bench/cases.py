"""Cases to measure advice on: sets of pictures, in several versions and sizes, drawn anew by seed.

A case is a set, what was done to its pictures (those to learn from, those to test on) and how many
of each class there are to learn from. The test part is the set's own and the same in every
resample. Pictures are made at most `SIDE` pixels long, once, into a work folder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from regraft.data import Dataset, Example, images

SIDE = 320
MOST_TEST = 500

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def grey(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture.convert("L").convert("RGB")


def inverted(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageOps.invert(picture)


def blurred(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 60))


def noisy(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(picture, np.float32)
    return Image.fromarray((pixels + rng.normal(0, 50, pixels.shape)).clip(0, 255).astype(np.uint8))


def plain(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture


VERSIONS: dict[str, Change] = {
    made.__name__: made for made in (plain, grey, inverted, blurred, noisy)
}


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        set: folder's name, or 'digits'.
        per_class: pictures of each class to learn from.
        learn: version of the pictures to learn from.
        test: version of those to test on.
    """

    set: str
    per_class: int
    learn: str = "plain"
    test: str = "plain"

    @property
    def name(self) -> str:
        version = self.learn if self.learn == self.test else f"{self.learn} to {self.test}"
        return f"{self.set} {self.per_class} {version}"


HYMENOPTERA, FLOWERS, NEU = "hymenoptera", "flowers5", "neu_surface_defects"
CIFAR, DIGITS = "cifar10_subset", "digits"
SIZES = {
    HYMENOPTERA: (10, 30, 120),
    FLOWERS: (5, 20, 60),
    NEU: (5, 15, 40),
    CIFAR: (10, 30, 100),
    DIGITS: (5, 20, 100),
}
CHANGED = {
    "grey": (HYMENOPTERA, FLOWERS, CIFAR),
    "inverted": (HYMENOPTERA, FLOWERS, DIGITS),
    "blurred": (HYMENOPTERA, NEU, CIFAR),
    "noisy": (FLOWERS, NEU, CIFAR, DIGITS),
}
#: What the pictures to test on went through, and those to learn from did not.
SHIFTED = ((HYMENOPTERA, "blurred"), (FLOWERS, "grey"), (NEU, "noisy"), (CIFAR, "blurred"))


def cases() -> list[Case]:
    """All of them, cheap ones first."""
    found = [Case(name, count) for name, counts in SIZES.items() for count in counts]
    middle = {name: counts[1] for name, counts in SIZES.items()}
    for version, names in CHANGED.items():
        found += [Case(name, middle[name], version, version) for name in names]
    found += [Case(name, middle[name], "plain", version) for name, version in SHIFTED]
    return sorted(found, key=lambda case: case.per_class * (10 if case.set == CIFAR else 5))


def version_of(name: str, version: str, part: str, data: Path, work: Path) -> Dataset:
    """The pictures of one part of a set in one version, made if they are not there yet."""
    folder = work / f"{name}-{version}" / part
    if not folder.exists():
        rng = np.random.default_rng(0)
        half = folder.with_name(part + ".part")
        for label, stem, picture in sources(name, part, data):
            small = picture.convert("RGB")
            small.thumbnail((SIDE, SIDE))
            place = half / label
            place.mkdir(parents=True, exist_ok=True)
            VERSIONS[version](small, rng).save(place / f"{stem}.png")
        half.rename(folder)
    return images(str(folder))


def sources(name: str, part: str, data: Path):
    """Label, name and picture of each example of a part."""
    if name == DIGITS:
        from sklearn.datasets import load_digits

        digits = load_digits()
        for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            if (number % 2 == 0) == (part == "train"):
                small = Image.fromarray((pixels * 15.9).astype(np.uint8))
                yield (
                    str(label),
                    f"{number:04d}",
                    small.resize((128, 128), Image.Resampling.BICUBIC),
                )
        return
    for path in sorted((data / name / part).rglob("*")):
        if path.is_file():
            with Image.open(path) as picture:
                yield path.parent.name, path.stem, picture


def drawn(found: Dataset, per_class: int, seed: int) -> Dataset:
    """`per_class` pictures of each class, others for each seed."""
    rng = np.random.default_rng(seed)
    kept: list[Example] = []
    for label in found.classes:
        mine = [example for example in found.examples if example.label == label]
        picked = rng.permutation(len(mine))[:per_class]
        kept += [mine[i] for i in sorted(picked)]
    return found.only(tuple(replace(one, split=None) for one in kept))


def load(case: Case, seed: int, data: Path, work: Path) -> tuple[Dataset, Dataset]:
    """What a case has to learn from with this seed, and to test on."""
    learn = version_of(case.set, case.learn, "train", data, work)
    test = version_of(case.set, case.test, "test", data, work)
    return drawn(learn, case.per_class, seed), drawn(test, MOST_TEST // len(test.classes), 0)
