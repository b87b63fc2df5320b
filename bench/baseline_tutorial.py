"""Frozen baseline (b): the usual transfer-learning loop, backbone frozen, 3 epochs.

As the tutorials have it: random resized crop and flip, batches of 4, SGD with momentum at 0.001, a
step schedule, a new linear layer, the frozen network run again in every epoch. Prints one JSON
object. Do not tune it to regraft's advantage or its own.
"""

from __future__ import annotations

import argparse
import json
import time

START = time.perf_counter()
EPOCHS, BATCH, RATE = 3, 4, 0.001


def loaders(folder: str, size: int, workers: int):
    """Training and test batches with the tutorials' transforms."""
    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    normal = transforms.Normalize([0.5] * 3, [0.5] * 3)
    train = transforms.Compose(
        [
            transforms.RandomResizedCrop(size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            normal,
        ]
    )
    test = transforms.Compose(
        [
            transforms.Resize(round(size / 0.875)),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            normal,
        ]
    )
    made = [
        ImageFolder(f"{folder}/{part}", how) for part, how in (("train", train), ("test", test))
    ]
    return [
        torch.utils.data.DataLoader(d, batch_size=BATCH, shuffle=d is made[0], num_workers=workers)
        for d in made
    ], len(made[0].classes)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", help="a folder with train/ and test/")
    arguments.add_argument("--workers", type=int, default=0)
    given = arguments.parse_args()
    import torch

    from baseline_eager import lite0

    torch.manual_seed(0)
    (train, test), classes = loaders(given.data, 224, given.workers)
    trunk, _ = lite0()
    trunk.requires_grad_(False)
    head = torch.nn.Linear(1280, classes)
    optimizer = torch.optim.SGD(head.parameters(), lr=RATE, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    loss = torch.nn.CrossEntropyLoss()
    accuracy = 0.0
    for _ in range(EPOCHS):
        head.train()
        for images, labels in train:
            optimizer.zero_grad()
            with torch.no_grad():
                features = trunk(images)
            loss(head(features), labels).backward()
            optimizer.step()
        schedule.step()
        head.eval()
        right = seen = 0
        with torch.no_grad():
            for images, labels in test:
                right += int((head(trunk(images)).argmax(1) == labels).sum())
                seen += len(labels)
        accuracy = right / seen
    print(
        json.dumps(
            {
                "seconds": {"total": time.perf_counter() - START},
                "accuracy": accuracy,
                "n": seen,
                "right": right,
            }
        )
    )


if __name__ == "__main__":
    main()
