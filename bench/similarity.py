"""How like the source: sets of pictures and broken versions of them, as a table and a picture.

    python bench/similarity.py DATA --out similarity.json    # measures and prints the table
    python bench/similarity.py DATA --source                 # against ants and bees as the source
    python bench/similarity.py --draw similarity.json docs/similarity.svg

DATA holds hymenoptera/, flowers5/, cifar10_subset/, neu_surface_defects/ and bccd/. Besides the
packaged backbone, two small networks are looked at that are trained here from random weights: one
on CIFAR-10's pictures, one on ants, bees and flowers. They tell whether the scale carries over.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

MOST, SIDE, NET_SIDE = 64, 224, 48
LITE = "EfficientNet-Lite0 of ImageNet"
Made = Callable[[Image.Image, int], Image.Image]


def blurred(share: float) -> Made:
    """Gaussian blur of a radius that is a share of the longer side."""
    return lambda image, _: image.filter(ImageFilter.GaussianBlur(share * max(image.size)))


def noisy(level: float) -> Made:
    """Gaussian noise of so many grey levels on every channel."""

    def made(image: Image.Image, seed: int) -> Image.Image:
        pixels = np.asarray(image, float)
        noise = np.random.default_rng(seed).normal(0, level, pixels.shape)
        return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))

    return made


def shuffled(image: Image.Image, seed: int) -> Image.Image:
    """The same pixels in another order."""
    pixels = np.asarray(image)
    mixed = np.random.default_rng(seed).permutation(pixels.reshape(-1, 3))
    return Image.fromarray(mixed.reshape(pixels.shape))


VERSIONS: dict[str, Made] = {
    "as they are": lambda image, _: image,
    "grey": lambda image, _: image.convert("L").convert("RGB"),
    "inverted": lambda image, _: ImageOps.invert(image),
    "blur 1 %": blurred(0.01),
    "blur 3 %": blurred(0.03),
    "noise 25": noisy(25),
    "noise 70": noisy(70),
    "shuffled pixels": shuffled,
}
#: What the networks made here are asked about.
CHECKED = ("as they are", "grey", "inverted", "blur 3 %", "noise 70", "shuffled pixels")
#: What the score is meant to be: our judgement, to which the scale is fitted.
MEANT = {
    ("hymenoptera", "as they are"): 0.95,
    ("flowers5", "as they are"): 0.95,
    ("hymenoptera", "grey"): 0.75,
    ("flowers5", "grey"): 0.75,
    ("hymenoptera", "noise 70"): 0.55,
    ("flowers5", "noise 70"): 0.55,
    ("hymenoptera", "blur 1 %"): 0.55,
    ("flowers5", "blur 1 %"): 0.55,
    ("cifar10_subset", "as they are"): 0.45,
    ("bccd", "as they are"): 0.3,
    ("neu_surface_defects", "as they are"): 0.2,
    ("digits", "as they are"): 0.15,
    ("hymenoptera", "shuffled pixels"): 0.1,
    ("flowers5", "shuffled pixels"): 0.1,
    ("pure noise", "as they are"): 0.1,
    ("one colour", "as they are"): 0.05,
}


def folder(path: Path, part: str = "") -> tuple[list[Image.Image], list[str]]:
    """At most 64 pictures of class folders, and their classes."""
    from regraft.data import images
    from regraft.similarity.measuring import spread

    found = [e for e in images(path).examples if not part or e.split == part]
    chosen = [found[i] for i in spread(found, [f"{hash_of(e.id)}" for e in found], MOST)]
    pictures = [Image.open(io.BytesIO(e.read())).convert("RGB") for e in chosen]
    return pictures, [e.label or "" for e in chosen]


def hash_of(text: str) -> str:
    from regraft.files import digest

    return digest(text.encode())


def sets(data: Path) -> Iterator[tuple[str, list[Image.Image], list[str]]]:
    """Name, pictures, classes; none of them was ever trained on here."""
    for name in ("hymenoptera", "flowers5", "cifar10_subset", "neu_surface_defects"):
        yield name, *folder(data / name, "test")
    cells = sorted((data / "bccd" / "images").glob("*.jpg"))[::5][:MOST]
    yield "bccd", [Image.open(path).convert("RGB") for path in cells], ["cells"] * len(cells)
    from sklearn.datasets import load_digits

    digits = load_digits()
    numbers = (255 - digits.images[::28] * 15.9).astype(np.uint8)
    drawn = [Image.fromarray(number).convert("RGB") for number in numbers]
    yield "digits", drawn, [str(d) for d in digits.target[::28]]
    random = np.random.default_rng(3)
    shape = (SIDE, SIDE, 3)
    noise = [Image.fromarray(random.integers(0, 256, shape, np.uint8)) for _ in range(MOST)]
    yield "pure noise", noise, ["noise"] * MOST
    colours = random.integers(0, 256, (MOST, 3)).astype(np.uint8)
    yield "one colour", [Image.fromarray(np.full(shape, c)) for c in colours], ["colour"] * MOST


def seen(net, taps: list, pictures: list[Image.Image], labels: list[str], made: Made, threads: int):
    """The pooled outputs of some stages for one version of one set."""
    from regraft.data import Example
    from regraft.features import compute
    from regraft.pipeline import pipeline

    def png(image: Image.Image, seed: int) -> bytes:
        out = io.BytesIO()
        made(image, seed).save(out, "PNG", compress_level=1)
        return out.getvalue()

    raw = [png(image, seed) for seed, image in enumerate(pictures)]
    examples = [
        Example(str(i), (lambda data=data: data), label)
        for i, (data, label) in enumerate(zip(raw, labels, strict=True))
    ]
    return compute(examples, pipeline(net, taps, threads=threads))


def answer(net, pictures: list[Image.Image], labels: list[str], made: Made, threads: int) -> dict:
    """What regraft says of one version of one set."""
    from regraft.backbones.info import Tap
    from regraft.pipeline import tap_name
    from regraft.similarity import measure

    tap = Tap(len(net) - 1)
    found = seen(net, [tap], pictures, labels, made, threads)
    rows = np.asarray(found.rows[tap_name(tap)][0 : len(found.examples)])
    return measure(net, found.examples, rows, found.digests, threads=threads).json()


def against(data: Path, threads: int) -> None:
    """Print how far the sets are from ants and bees, as if these were the source's own."""
    import regraft
    from regraft.backbones.info import Tap
    from regraft.pipeline import tap_name
    from regraft.similarity import against_source

    net = regraft.backbone()
    taps = [Tap(k) for k in range(1, len(net), 4)]

    def rows(pictures: list[Image.Image], labels: list[str], made: Made) -> dict:
        found = seen(net, taps, pictures, labels, made, threads)
        n = len(found.examples)
        return {net.info.stages[t.stage].name: found.rows[tap_name(t)][0:n] for t in taps}

    source = rows(*folder(data / "hymenoptera", "train"), VERSIONS["as they are"])
    print("| pictures | version | Fréchet share | score | proxy A-distance |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, pictures, labels in sets(data):
        for version in VERSIONS if name == "hymenoptera" else ("as they are",):
            found = against_source(rows(pictures, labels, VERSIONS[version]), source)
            apart = np.mean([stage.a_distance for stage in found.per_stage])
            line = f"{found.distance:.3f} | {found.score:.2f} | {apart:.2f}"
            print(f"| {name} | {version} | {line} |", flush=True)


def trained(architecture: str, data: Path, names: list[str], epochs: int, threads: int):
    """A small network of timm, trained from random weights on the train parts, as a backbone."""
    import timm
    import torch
    from torch import nn

    from regraft.backbones import from_module
    from regraft.data import images
    from regraft.inputs import ImageSpec
    from regraft.loading import Loader

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    spec = ImageSpec((NET_SIDE, NET_SIDE), crop=1.0)
    examples = [e for n in names for e in images(data / n).examples if e.split == "train"]
    classes = sorted({e.label for e in examples})
    y = torch.tensor([classes.index(e.label) for e in examples])
    x = np.stack([one.rows[0][1][0] for one in Loader(spec, threads).each(examples)])
    pixels = spec.preamble()(torch.from_numpy(x))
    net = timm.create_model(architecture, num_classes=len(classes))
    steps = epochs * (len(y) // 64)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    net.train()
    for step in range(steps):
        if step % (len(y) // 64) == 0:
            order = torch.randperm(len(y))
        rows = order[step % (len(y) // 64) * 64 :][:64]
        batch = pixels[rows]
        batch = batch.flip(3) if torch.rand(()) < 0.5 else batch
        loss = nn.functional.cross_entropy(net(batch), y[rows], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"{architecture} on {'+'.join(names)}: last loss {loss.item():.2f}", flush=True)
    net.reset_classifier(0)
    return from_module(net.eval(), input=spec, name=f"{architecture} of {'+'.join(names)}")


def measured(data: Path, epochs: int, threads: int) -> list[dict]:
    """Every set and version with the packaged backbone, some with the two networks made here."""
    import regraft

    nets = {LITE: regraft.backbone()}
    if epochs:
        nets["ResNet-10 of CIFAR-10"] = trained(
            "resnet10t", data, ["cifar10_subset"], epochs, threads
        )
        nets["MobileNetV2 of ants, bees, flowers"] = trained(
            "mobilenetv2_050", data, ["hymenoptera", "flowers5"], 2 * epochs, threads
        )
    cases = []
    for name, pictures, labels in sets(data):
        for version, made in VERSIONS.items():
            if name in ("pure noise", "one colour") and version != "as they are":
                continue
            for who, net in nets.items():
                if who == LITE or version in CHECKED:
                    found = answer(net, pictures, labels, made, threads)
                    cases.append({"net": who, "set": name, "version": version} | found)
            print(f"{name}, {version}", flush=True)
    return cases


def fitted(cases: list[dict]) -> tuple[float, float, float]:
    """The half and the steepness whose scores are nearest to `MEANT`, and how near on average."""
    meant = [
        (case["distance"], MEANT[case["set"], case["version"]])
        for case in cases
        if case["net"] == LITE and (case["set"], case["version"]) in MEANT
    ]
    far, wanted = np.array(meant).T
    best = (np.inf, 0.0, 0.0)
    for half in np.arange(0.03, 0.15, 0.005):
        for steep in np.arange(1.0, 4.01, 0.25):
            error = np.abs(1 / (1 + (far / half) ** steep) - wanted).mean()
            best = min(best, (float(error), float(half), float(steep)))
    return best[1], best[2], best[0]


def table(cases: list[dict]) -> str:
    """The cases as markdown."""
    lines = ["| network | pictures | version | distance | score | verdict | entropy | energy |"]
    lines.append("| --- | --- | --- | ---: | ---: | --- | ---: | ---: |")
    for c in cases:
        entropy = "" if c["entropy"] is None else f"{c['entropy']:.2f} | {c['energy']:.1f}"
        lines.append(
            f"| {c['net']} | {c['set']} | {c['version']} | {c['distance']:.3f} ± {c['error']:.3f} "
            f"| {c['score']:.2f} | {c['verdict']} | {entropy or ' | '} |"
        )
    return "\n".join(lines)


COLOURS = dict(
    zip(
        VERSIONS,
        ("#111111", "#888888", "#1f77b4", "#8fc1e3", "#2a5d9c", "#f2b15c", "#d9730d", "#b3261e"),
        strict=True,
    )
)
MARKS = dict(zip(VERSIONS, "oSDvvPPX".replace("S", "s"), strict=True))


def draw(cases: list[dict], out: Path) -> None:
    """One panel per network and one for the classifier: sets down, distance to the right."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams |= {"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "0"}
    nets = list(dict.fromkeys(case["net"] for case in cases))
    names = list(dict.fromkeys(case["set"] for case in cases))
    figure, grid = plt.subplots(2, 2, figsize=(10, 9.4), sharey=True, layout="constrained")
    axes = grid.ravel()
    for axis, who in zip(axes, nets, strict=False):
        bands(axis, len(names))
        points(axis, [c for c in cases if c["net"] == who], names, "distance")
        axis.set_title(who, fontsize=11, fontweight="bold")
        axis.set_xlabel("distance to what its BatchNorm layers remember")
    points(axes[3], [c for c in cases if c["net"] == LITE], names, "entropy")
    axes[3].set_title("The first one's classifier (counts for nothing here)", fontsize=11)
    axes[3].set_xlabel("mean entropy (0: sure, 1: no idea)")
    axes[3].set_xlim(0, 1)
    axes[0].set_yticks(range(len(names)), names)
    handles = [
        plt.Line2D([], [], linestyle="", marker=MARKS[v], color=COLOURS[v], label=v)
        for v in VERSIONS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(out, metadata={"Date": None, "Title": "Likeness to the source, calibrated"})


def bands(axis, rows: int) -> None:
    """The verdicts behind the points, distances below on a square root, scores above."""
    from regraft.similarity import scale

    def place(score: float) -> float:
        return scale.HALF * (1 / score - 1) ** (1 / scale.STEEP)

    most = 0.45
    above = axis.twiny()
    for one in (axis, above):
        one.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
        one.set_xlim(0, most)
    axis.set_xticks([0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4])
    edges = [0, place(scale.LIKE_FROM), place(scale.SOMEWHAT_FROM), most]
    words = (*scale.VERDICTS[:1], scale.SOMEWHAT.replace(" ", "\n"), scale.UNLIKE)
    for low, high, colour, word in zip(
        edges, edges[1:], ("#e3f1e4", "#fbf3d5", "#f8e1de"), words, strict=False
    ):
        axis.axvspan(low, high, color=colour, zorder=0)
        middle = ((low**0.5 + high**0.5) / 2) ** 2
        axis.text(middle, rows - 0.08, word, fontsize=7.5, ha="center", va="center")
    shown = (0.95, 0.7, 0.35, 0.2, 0.1, 0.05)
    above.set_xticks([place(score) for score in shown], [f"{score:g}" for score in shown])
    above.set_xlabel("score", fontsize=9)
    above.spines["right"].set_visible(False)


def points(axis, cases: list[dict], names: list[str], what: str) -> None:
    """One mark per case; versions a little below each other, so that none hides another."""
    versions = list(VERSIONS)
    for case in cases:
        y = names.index(case["set"]) + (versions.index(case["version"]) - 3.5) * 0.08
        axis.plot(
            case[what], y, MARKS[case["version"]], color=COLOURS[case["version"]], markersize=6
        )
    for row in range(1, len(names)):
        axis.axhline(row - 0.5, color="#00000018", linewidth=0.8)
    axis.set_ylim(len(names) + 0.3, -0.6)
    axis.grid(axis="x", alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("similarity.json"))
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--draw", type=Path, nargs=2, metavar=("JSON", "SVG"))
    parser.add_argument("--source", action="store_true", help="against ants and bees instead")
    given = parser.parse_args()
    if given.draw:
        draw(json.loads(given.draw[0].read_text()), given.draw[1])
        return
    if given.source:
        against(given.data, given.threads)
        return
    cases = measured(given.data, given.epochs, given.threads)
    given.out.write_text(json.dumps(cases))
    print(table(cases))
    half, steep, error = fitted(cases)
    print(f"\nfitted: half {half:.3f}, steepness {steep:.2f}, {error:.3f} from what is meant")


if __name__ == "__main__":
    main()
