"""Trained baseline (c): the tutorials' full fine-tuning, every weight of the network, fp32.

As the PyTorch tutorial on transfer learning has it: a new linear layer, random resized crop and
flip, batches of 4, SGD with momentum 0.9 at 0.001, a tenth of that after every 7 epochs, BatchNorm
in train mode, the test part scored after every epoch and the best epoch's weights kept. Prints one
JSON object. That the best epoch is chosen on the test part is the tutorial's way, and kind to it;
the last epoch is told beside it. Do not tune it to regraft's advantage or its own.
"""

from __future__ import annotations

import argparse
import copy
import json
import time

START = time.perf_counter()
BATCH, RATE, MOMENTUM, STEP = 4, 0.001, 0.9, 7
LITE0 = "tf_efficientnet_lite0"


def network(name: str, random: bool):
    """The whole network, and what its pixels are to be normalised with."""
    import timm

    from baseline_eager import lite0

    if name == LITE0 and not random:
        net, _ = lite0()
    else:
        net = timm.create_model(name, pretrained=not random)
    return net, timm.data.resolve_model_data_config(net)


def loaders(folder: str, config: dict, workers: int):
    """Training and test batches with the tutorial's transforms."""
    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    size = config["input_size"][-1]
    end = [transforms.ToTensor(), transforms.Normalize(config["mean"], config["std"])]
    random = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
    plain = [transforms.Resize(round(size / 0.875)), transforms.CenterCrop(size)]
    made = [
        ImageFolder(f"{folder}/{part}", transforms.Compose([*how, *end]))
        for part, how in (("train", random), ("test", plain))
    ]
    return [
        torch.utils.data.DataLoader(d, batch_size=BATCH, shuffle=True, num_workers=workers)
        for d in made
    ], len(made[0].classes)


def scores(net, test) -> dict:
    """How many of the test part are right, and their mean log-loss."""
    import torch

    right = seen = 0
    loss = 0.0
    net.eval()
    with torch.no_grad():
        for images, labels in test:
            logits = net(images)
            loss += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
            right += int((logits.argmax(1) == labels).sum())
            seen += len(labels)
    return {"accuracy": right / seen, "log_loss": loss / seen, "n": seen, "right": right}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", help="a folder with train/ and test/")
    arguments.add_argument("--epochs", type=int, default=25)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--workers", type=int, default=0)
    arguments.add_argument("--backbone", default=LITE0, help="a name that timm knows")
    arguments.add_argument("--random", action="store_true", help="random weights, for a look")
    given = arguments.parse_args()
    import torch

    torch.manual_seed(given.seed)
    net, config = network(given.backbone, given.random)
    (train, test), classes = loaders(given.data, config, given.workers)
    net.reset_classifier(classes)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=STEP, gamma=0.1)
    loss = torch.nn.CrossEntropyLoss()
    curve, best = [], None
    for _ in range(given.epochs):
        start = time.perf_counter()
        net.train()
        for images, labels in train:
            optimizer.zero_grad()
            loss(net(images), labels).backward()
            optimizer.step()
        schedule.step()
        trained = time.perf_counter() - start
        curve.append(scores(net, test) | {"seconds": trained})
        if best is None or curve[-1]["accuracy"] > best[0]["accuracy"]:
            best = curve[-1], copy.deepcopy(net.state_dict())
    net.load_state_dict(best[1])
    last = {name: curve[-1][name] for name in ("accuracy", "log_loss", "n", "right")}
    seconds = {
        "total": time.perf_counter() - START,
        "epochs": [epoch["seconds"] for epoch in curve],
    }
    print(json.dumps({"seconds": seconds} | last | {"best": best[0], "curve": curve}))


if __name__ == "__main__":
    main()
