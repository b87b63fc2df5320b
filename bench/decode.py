"""The image decoder against Pillow: images per second and how far the pixels are apart.

    python bench/decode.py [FOLDER …] [--threads 2] [--repeats 7] [--images 200] [--answers FOLDER]

Compared on photos made here (500 x 375 and 12 megapixels) and on the first images of each FOLDER.
Contenders take turns within a repeat, so that a busy minute hits all alike; medians are shown, the
losing numbers too. `--answers` names a folder with train/ and test/: features of the packaged
backbone are made from this decoder's pixels and from timm's own transform, one ridge head is
fitted on the former, and the predictions that differ are counted. Frozen: change nothing but bugs.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import simplejpeg
from PIL import Image

from regraft.data import decoder, images
from regraft.errors import BadFile
from regraft.inputs import ImageSpec

SPEC = ImageSpec((224, 224))
Decode = Callable[[bytes], np.ndarray]


def photo(seed: int, width: int, height: int) -> bytes:
    """A JPEG with the spectrum of a photo: noise of every scale, the coarse strongest."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    cells = 3
    while cells < max(width, height) / 2:
        noise = rng.normal(size=(max(2, cells * height // width), cells, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(noise[..., channel])
            layer = layer.resize((width, height), Image.Resampling.BICUBIC)
            total[..., channel] += np.asarray(layer) * (90 / cells**0.75)
        cells *= 2
    out = io.BytesIO()
    pixels = np.clip(total + 120, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(out, "JPEG", quality=85)
    return out.getvalue()


def ours(raw: bytes) -> np.ndarray:
    return decoder("image").decode(raw, SPEC)[0]


def pillow(raw: bytes) -> np.ndarray:
    """The usual recipe: decode, resize the shorter side to 256, cut out the centre."""
    image = Image.open(io.BytesIO(raw)).convert("RGB")
    width, height = image.size
    short = min(width, height)
    size = (int(256 * width / short), int(256 * height / short))
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


def pillow_box(raw: bytes) -> np.ndarray:
    """Pillow at its best with the same pixels: only the part that stays is resized."""
    image = Image.open(io.BytesIO(raw)).convert("RGB")
    width, height = image.size
    short = min(width, height)
    size = (int(256 * width / short), int(256 * height / short))
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    x, y = width / size[0], height / size[1]
    box = (left * x, top * y, (left + 224) * x, (top + 224) * y)
    return np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC, box=box))


def jpeg_only(raw: bytes) -> np.ndarray:
    """libjpeg-turbo alone, all pixels, no resizing: a bound for whoever decodes everything."""
    return np.asarray(simplejpeg.decode_jpeg(raw))


def torchvision() -> Decode | None:
    """torchvision's decoder and its antialiased resize, if installed."""
    try:
        import torch
        from torchvision.io import ImageReadMode, decode_image
        from torchvision.transforms.v2 import functional
    except ImportError:
        return None
    torch.set_num_threads(1)

    def decode(raw: bytes) -> np.ndarray:
        data = torch.frombuffer(bytearray(raw), dtype=torch.uint8)
        image = functional.resize(
            decode_image(data, ImageReadMode.RGB), [256], functional.InterpolationMode.BICUBIC
        )
        return functional.center_crop(image, [224, 224]).permute(1, 2, 0).contiguous().numpy()

    return decode


def timm_transform() -> Decode:
    """The transform that timm itself makes for evaluation, as pixels."""
    from timm.data import create_transform

    transform = create_transform(
        (3, *SPEC.size),
        interpolation=SPEC.interpolation,
        crop_pct=SPEC.crop,
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )

    def decode(raw: bytes) -> np.ndarray:
        image = transform(Image.open(io.BytesIO(raw)).convert("RGB"))
        return (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)

    return decode


def speeds(
    contenders: dict[str, Decode], raws: Sequence[bytes], threads: int, repeats: int
) -> dict[str, list[float]]:
    """Images per second of each contender in each repeat."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    with ThreadPoolExecutor(threads) as pool:
        for decode in contenders.values():
            list(pool.map(decode, raws[: 2 * threads]))
        for repeat in range(repeats):
            names = list(contenders)
            for name in names if repeat % 2 == 0 else names[::-1]:
                start = time.perf_counter()
                list(pool.map(contenders[name], raws))
                found[name].append(len(raws) / (time.perf_counter() - start))
    return found


def readable(raws: Sequence[bytes]) -> list[bytes]:
    kept = []
    for raw in raws:
        try:
            ours(raw)
            kept.append(raw)
        except BadFile as problem:
            print(f"left out: {problem}")
    return kept


def table(title: str, raws: Sequence[bytes], options: argparse.Namespace) -> None:
    raws = readable(raws)
    contenders: dict[str, Decode] = {
        "regraft": ours,
        "Pillow, usual recipe": pillow,
        "Pillow, only the part seen": pillow_box,
        "libjpeg-turbo, no resize (bound)": jpeg_only,
    }
    if all(raw.startswith(b"\xff\xd8") for raw in raws):
        if other := torchvision():
            contenders["torchvision"] = other
    else:
        del contenders["libjpeg-turbo, no resize (bound)"]
    found = speeds(contenders, raws, options.threads, options.repeats)
    size = statistics.mean(len(raw) for raw in raws) / 1000
    print(f"\n### {title}: {len(raws)} images, {size:.0f} KB each, {options.threads} threads\n")
    print("| decoder | images/s, median (lowest to highest) | regraft is faster by |")
    print("| --- | --- | --- |")
    for name, rates in found.items():
        # The ratio within each repeat: both saw the same minute of the machine.
        ratio = statistics.median(a / b for a, b in zip(found["regraft"], rates, strict=True))
        middle = statistics.median(rates)
        print(f"| {name} | {middle:.0f} ({min(rates):.0f} to {max(rates):.0f}) | {ratio:.2f} |")
    print("\n| pixels against | mean difference, levels | worst image | largest |")
    print("| --- | --- | --- | --- |")
    twins = {"Pillow, usual recipe": pillow, "timm's transform": timm_transform()}
    if "torchvision" in contenders:
        twins["torchvision"] = contenders["torchvision"]
    for name, twin in twins.items():
        off = [np.abs(ours(raw).astype(int) - twin(raw)) for raw in raws[:60]]
        means = [one.mean() for one in off]
        largest = max(int(one.max()) for one in off)
        print(f"| {name} | {np.mean(means):.3f} | {max(means):.3f} | {largest} |")


def answers(folder: str) -> None:
    """How many test predictions move when timm's pixels stand for this decoder's."""
    import regraft

    backbone = regraft.backbone()
    spec = backbone.input
    assert isinstance(spec, ImageSpec)
    stages = backbone[:]
    global SPEC
    SPEC = spec
    data = images(folder)
    labels = {name: i for i, name in enumerate(data.classes)}

    def features(part: str, decode: Decode) -> np.ndarray:
        import torch

        preamble, rows = spec.preamble(), []
        with torch.inference_mode():
            for example in data.part(part):
                batch = torch.from_numpy(decode(example.read())[None].copy())
                rows.append(stages(preamble(batch))[0].flatten().numpy())
        return np.stack(rows)

    train = features("train", ours)
    truth = np.array([labels[str(e.label)] for e in data.part("train")])
    mean, scale = train.mean(0), train.std(0) + 1e-6
    x = np.c_[(train - mean) / scale, np.ones(len(train))]
    # Dual ridge: fewer images than features.
    weights = x.T @ np.linalg.solve(x @ x.T + 1000 * np.eye(len(x)), np.eye(len(labels))[truth])
    told = {}
    for name, decode in (("regraft", ours), ("timm", timm_transform())):
        test = features("test", decode)
        told[name] = (np.c_[(test - mean) / scale, np.ones(len(test))] @ weights).argmax(1)
    expected = np.array([labels[str(e.label)] for e in data.part("test")])
    moved = int((told["regraft"] != told["timm"]).sum())
    right = {name: float((answer == expected).mean()) for name, answer in told.items()}
    print(f"\n### Answers on {data.root.rsplit('/')[-1]}: {len(expected)} test images\n")
    print(f"{moved} predictions move; accuracy {right['regraft']:.4f} with this decoder's pixels, ")
    print(f"{right['timm']:.4f} with those of timm's transform, one head fitted on the former.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--answers", action="append", default=[])
    options = parser.parse_args()
    few = max(8, options.images // 10)
    table("Made, 500 x 375", [photo(i, 500, 375) for i in range(options.images // 2)], options)
    table("Made, 4000 x 3000", [photo(i, 4000, 3000) for i in range(2)] * (few // 4), options)
    for folder in options.folders:
        every = images(folder).examples
        step = max(1, len(every) // options.images)
        raws = [example.read() for example in every[::step][: options.images]]
        table(folder.rstrip("/").rsplit("/", 1)[-1], raws, options)
    for folder in options.answers:
        answers(folder)


if __name__ == "__main__":
    main()
