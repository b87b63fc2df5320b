"""Trained baseline (d): fastai's `vision_learner` and `fine_tune`, by the book.

timm's EfficientNet-Lite0 with the packaged ImageNet weights as the body, fastai's own head, its
default augmentation, batch size, one-cycle schedule and discriminative rates: one epoch with the
body frozen, then the given epochs with everything trained. Prints one JSON object. fastai is no
dependency of regraft: `pip install fastai` first. Do not tune it to regraft's advantage or its own.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings

START = time.perf_counter()
warnings.simplefilter("ignore", FutureWarning)
ARCH, SIZE = "tf_efficientnet_lite0", 224


def learner(folder: str, batch: int, workers: int):
    """fastai's learner of the tutorial, with our packaged weights for those from the hub."""
    from fastai.vision.all import (
        ImageDataLoaders,
        Normalize,
        Resize,
        accuracy,
        aug_transforms,
        vision_learner,
    )

    from baseline_eager import lite0

    net, _ = lite0()
    config = net.default_cfg
    tfms = [*aug_transforms(), Normalize.from_stats(config["mean"], config["std"])]
    data = ImageDataLoaders.from_folder(
        folder,
        train="train",
        valid="test",
        item_tfms=Resize(SIZE),
        batch_tfms=tfms,
        bs=batch,
        num_workers=workers,
    )
    made = vision_learner(data, ARCH, pretrained=False, metrics=accuracy)
    made.model[0].model.load_state_dict(net.state_dict())
    return made


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", help="a folder with train/ and test/")
    arguments.add_argument("--epochs", type=int, default=5)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--workers", type=int, default=0)
    arguments.add_argument("--batch", type=int, default=64, help="fastai's own default: 64")
    given = arguments.parse_args()
    try:
        from fastai.vision.all import set_seed
    except ImportError as problem:
        raise SystemExit(f"fastai cannot be imported ({problem}): pip install fastai") from None

    set_seed(given.seed, reproducible=True)
    learn = learner(given.data, given.batch, given.workers)
    curve = []
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(given.epochs)
        # The recorder forgets the frozen epoch: `fine_tune` fits twice.
        n = len(learn.dls.valid_ds)
        for _, log_loss, accuracy in learn.recorder.values:
            right = round(accuracy * n)
            curve.append({"accuracy": right / n, "log_loss": log_loss, "n": n, "right": right})
    best = max(curve, key=lambda epoch: epoch["accuracy"])
    seconds = {"total": time.perf_counter() - START}
    print(json.dumps({"seconds": seconds} | curve[-1] | {"best": best, "curve": curve}))


if __name__ == "__main__":
    main()
