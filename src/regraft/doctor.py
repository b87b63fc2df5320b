"""What works on this machine: packages, engines, precisions, and how fast they are."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from regraft import backbones
from regraft.backbones.info import Tap
from regraft.cachedir import is_writable, named_dir
from regraft.engine import ENGINES, engine, resolve_device
from regraft.engine.precision import measure
from regraft.errors import RegraftError
from regraft.pipeline import Pipeline, default_threads

PACKAGES = (
    "regraft",
    "torch",
    "torchvision",
    "timm",
    "openvino",
    "numpy",
    "scipy",
    "pillow",
    "simplejpeg",
    "cykooz.resizer",
    "safetensors",
    "huggingface_hub",
    "pyarrow",
    "datasets",
    "scikit-learn",
)
ROWS = 64


def examine(*, measure: bool = True) -> dict[str, Any]:
    """Packages with their versions, the cache, and every engine on this machine's devices.

    Args:
        measure: run the default backbone on each engine: images per second and the largest
            difference to the reference, relative to the largest feature.
    """
    device = resolve_device("auto")
    devices = ["cpu"] if device == "cpu" else ["cpu", device]
    return {
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "threads": default_threads(),
        "cache": {"folder": str(named_dir()), "writable": is_writable(named_dir())},
        "packages": {name: installed(name) for name in PACKAGES},
        "engines": [row for d in devices for row in rate(d, measure)],
    }


def installed(package: str) -> str | None:
    """The version of `package`, None if it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def rate(device: str, measured: bool) -> list[dict[str, Any]]:
    """One row per engine and precision on `device`."""
    import numpy as np

    rows, truth = [], None
    random = np.random.default_rng(0)
    net = backbones.backbone() if measured else None
    images = [(random.integers(0, 256, (224, 224, 3), np.uint8),) for _ in range(ROWS)]
    for name in sorted(ENGINES, key="reference".__ne__):  # the reference first: it is the truth
        made = engine(name)
        reason = made.missing(device)
        if reason:
            rows.append(line(name, device, "", reason))
            continue
        for precision in made.precisions(device):
            row = line(name, device, precision, "")
            rows.append(row)
            if net is None:
                continue
            last = Tap(len(net.info.stages) - 1, True)
            pipe = Pipeline(net, (last,), made, device, precision, default_threads())
            few = images[:8] if name == "reference" else images
            try:
                got, row["images_per_second"] = measure(pipe.open(precision), few)
            except RegraftError as problem:
                row["note"] = str(problem)
                continue
            truth = got if truth is None else truth
            row["error"] = float(np.abs(got[:8] - truth).max() / np.abs(truth).max())
    return rows


def line(name: str, device: str, precision: str, note: str) -> dict[str, Any]:
    """An empty row of the table."""
    return {
        "engine": name,
        "device": device,
        "precision": precision,
        "images_per_second": None,
        "error": None,
        "note": note,
    }
