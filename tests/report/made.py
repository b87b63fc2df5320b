"""The material of a page, made up: any number of classes, every section."""

from __future__ import annotations

from typing import Any

import numpy as np

from regraft.evaluate import evaluate
from regraft.report.material import Material, Rows, Shown
from regraft.report.pictures import overlay, thumbnail

SETTINGS = (
    'data = "photos"\n\n[[phase]]\nsolve = true\n\n[[phase]]\ncut = 12\nepochs = 5\nlr = 0.0003\n'
)
CURVE = [
    {"phase": 1 + (n > 1), "epoch": n + 1, "train_loss": 0.9 - 0.15 * n,
     "log_loss": 0.4 + 0.05 * (n - 2) ** 2, "raw_loss": 0.4 + 0.05 * (n - 2) ** 2,
     "accuracy": 0.8 + 0.01 * n}
    for n in range(5)
]  # fmt: skip
WISE = {
    "alpha": 0.5,
    "curve": [
        {"alpha": n / 4, "accuracy": 0.8 + 0.02 * n, "log_loss": 0.5 - 0.02 * n} for n in range(5)
    ],
}
ADVICE = {
    "learnable": True,
    "plan": "lpft",
    "at": "end",
    "cut": "layer4",
    "backbone": "resnet18.a1_in1k",
    "reasons": ["There are many pictures per class."],
    "similarity": {
        "score": 0.4,
        "verdict": "different",
        "per_stage": [{"stage": "layer1", "distance": 0.2, "score": 0.9}],
    },
    "expected": {"accuracy": 0.9, "ci95": [0.8, 0.95]},
    "predicted": {"seconds": 11.0, "peak_memory_bytes": 5e8, "energy_wh": 0.12, "watts": 15.0},
    "depths": [
        {"stage": f"layer{n}", "accuracy": 0.5 + 0.1 * n, "ci95": [0.4 + 0.1 * n, 0.55 + 0.1 * n]}
        for n in range(5)
    ],
    "learning_curve": [
        {"rows": 100, "accuracy": 0.7, "ci95": [0.6, 0.8]},
        {"rows": 200, "accuracy": 0.8, "ci95": [0.75, 0.85]},
    ],
    "doubled": {"accuracy": 0.84, "ci95": [0.78, 0.9]},
    "options": [
        {
            "plan": "lpft",
            "at": "end",
            "cut": "layer4",
            "accuracy": 0.9,
            "accuracy_ci95": [0.8, 0.95],
            "seconds": 11.0,
            "peak_memory_bytes": 5e8,
            "fits": True,
            "chosen": True,
        },
        {
            "plan": "full",
            "at": "end",
            "cut": "0",
            "accuracy": None,
            "accuracy_ci95": None,
            "seconds": 900.0,
            "peak_memory_bytes": None,
            "fits": False,
            "chosen": False,
        },
    ],
    "risks": ["The test pictures are unlike the others."],
    "table_cell": {
        "data": "large",
        "domain": "different",
        "rule": "fine-tune everything",
        "followed": False,
    },
}
FORECAST = {
    "accuracy": {"expected": 0.9, "ci95": [0.8, 0.95], "came": 0.86, "held": True},
    "seconds": {"predicted": 11.0, "came": 12.25},
    "peak_memory_bytes": {"predicted": 5e8, "came": 400_000_000},
}
AUDIT = {
    "seen": 80,
    "used": 70,
    "skipped": [{"file": "a/\x1b[31mred\n.jpg", "reason": "empty file"}],
    "ignored": 2,
    "classes": {"a": {"train": 40, "test": 10}, "b": {"train": 20, "test": 10}},
    "duplicates": [{"kind": "near", "files": ["a/1.jpg", "a/2.jpg"]}],
    "leaks": [
        {
            "kind": "exact",
            "file": "test/a.jpg",
            "part": "test",
            "like": "b.jpg",
            "like_part": "train",
        }
    ],
    "conflicts": [{"kind": "exact", "files": ["a/1.jpg", "b/1.jpg"], "labels": ["a", "b"]}],
    "notes": ["'b' has few pictures."],
}
AGAIN = {
    "seconds": {"total": 12.5, "features": 10.0, "head": 2.5},
    "peak_memory_bytes": 400_000_000,
    "images_per_second": 321.0,
    "cache": {"state": "warm", "hits": 70, "misses": 0},
}


def rows(classes: int, count: int, names: list[str] | None = None, noise: float = 3.0) -> Rows:
    """Test rows about whose class a model is right more often than not."""
    random = np.random.default_rng(classes)
    labels = sorted(names or [f"class {n:03d}" for n in range(classes)])
    truth = np.arange(count) % classes
    middles = random.normal(size=(classes, 16)) * 2
    features = middles[truth] + noise * random.normal(size=(count, 16))
    scores = -((features[:, None] - middles) ** 2).sum(axis=2) / 8
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    of = tuple(labels[k] for k in truth)
    files = tuple(f"{label}/{n}.jpg" for n, label in enumerate(of))
    return Rows(files, of, tuple(labels), p, features)


def material(
    classes: int = 3, count: int = 90, names: list[str] | None = None, **more: Any
) -> Material:
    """All that a page can show; what `more` names of the report is changed, None takes it out."""
    shown = rows(classes, count, names)
    report: dict[str, Any] = {
        "run": "runs/photos-1",
        "backbone": "resnet18.a1_in1k",
        "at": "layer4",
        "head": "logistic",
        "why": "Layer4 is best.",
        "geometry": {"name": "crop", "why": "'crop' is as good as any."},
        "classes": list(shown.classes),
        "train": {"n": 4 * count},
        "validation": {"kind": "held out", "n": 45, "accuracy": 0.87, "log_loss": 0.4},
        "test": evaluate(shown.probabilities, shown.labels, shown.classes).json(),
        "test_part": "a fifth held out",
        "training": {
            "plan": "lpft", "best": {"phase": 2, "epoch": 3, "log_loss": 0.4}, "curve": CURVE,
            "stopped": "", "parameters": 1_234_567, "wise": WISE,
            "rates": [[], [{"stage": "head", "rate": 3e-4, "parameters": 9}]],
        },
        "advice": ADVICE,
        "forecast": FORECAST,
        "audit": AUDIT,
        **AGAIN,
    }  # fmt: skip
    report = {key: value for key, value in (report | more).items() if value is not None}
    grey = np.full((60, 40, 3), 128, np.uint8)
    heat = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)
    said = (shown.classes[0], shown.classes[1])
    cards = [
        Shown(f"{said[0]}/{n}.jpg", said[0], said[1], 0.7, 0.2, (said[0], 0.2), thumbnail(grey),
              overlay(grey, heat))
        for n in range(2)
    ]  # fmt: skip
    return Material(
        report, SETTINGS, [], "apache-2.0", "ab" * 32, ("layer1", "layer4"),
        {"engine": {"engine": "openvino", "version": "1"}}, shown, tuple(cards[:1]),
        tuple(cards[1:]), ("Something is missing.",),
    )  # fmt: skip


def comparison(**more: Any) -> dict[str, Any]:
    """What `comparison.json` holds."""

    def arm(name: str, accuracy: float, seconds: float, p: float | None) -> dict[str, Any]:
        return {
            "name": name, "plan": name, "backbone": "small", "error": "", "accuracy": accuracy,
            "accuracy_ci95": [accuracy - 0.04, accuracy + 0.03], "seconds": seconds,
            "log_loss": 0.4, "parameters": 1e6, "peak_memory_bytes": 9e8, "bundle_bytes": 2e6,
            "gap": 0.125, "difference": accuracy - 0.9, "difference_ci95": None, "p_value": p,
            "forgetting": {"changed": 0.25, "kl": 0.5, "n": 10, "why": ""},
            "runs": [{"seed": 0, "n": 100, "accuracy": accuracy, "log_loss": 0.4,
                      "seconds": seconds}],
        }  # fmt: skip

    kept = [("lpft", 0.9, 80.0, None), ("probe", 0.89, 1.5, 0.4), ("early", 0.7, 1.0, 0.01)]
    arms = [arm(*one) for one in kept]
    broken = {"name": "mine", "plan": "mine", "error": "There is no such stage.", "runs": []}
    left = {"name": "full", "plan": "full", "seeds": [0, 1], "seconds": 800.0}
    return {
        "data": "photos", "folder": "runs/comparison", "seeds": 2, "shared_seconds": 17.0,
        "arms": [*arms, broken], "left_out": [left], "notes": ["There are few test pictures."],
        "budget": 600.0, "spent": 170.0, "best": "lpft",
    } | more  # fmt: skip
