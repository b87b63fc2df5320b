"""The bundle's card for people, in the form that model hubs read."""

from __future__ import annotations

import json
from typing import Any


def card(config: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Markdown with a YAML head: what the model is, how good, from what, and its limits."""
    backbone = config["backbone"]
    return "\n".join(
        [
            *_head(backbone),
            f"# {backbone['input']['modality'].capitalize()} classifier",
            "",
            f"Tells {len(config['classes'])} classes apart: {_list(config['classes'])}.",
            "",
            *_scores(metrics),
            "## How it was made",
            "",
            f"- Backbone: `{backbone['name']}` ({backbone['source']}), frozen; licence of the "
            f"weights: {backbone['licence'] or 'unknown, ask who published them'}.",
            f"- Weights: blake2b `{backbone['digest']}`"
            + (f", revision `{backbone['revision']}`." if backbone["revision"] else "."),
            f"- Features: pooled output of {_list(config['at'])}.",
            f"- Head: {config['head']['name']}, seed {config['seed']}.",
            f"- Made with regraft {config['regraft']}.",
            "",
            "## Use",
            "",
            "```",
            "regraft predict THIS_FOLDER photo.jpg",
            "```",
            "",
            "## Limits",
            "",
            "It answers with one of its classes whatever the picture shows. The scores hold for "
            "pictures like those it was tested on; nobody has measured it on others, nor on groups "
            "of people. Frozen weights carry what their source data held, bias included.",
            "",
        ]
    )


def _head(backbone: dict[str, Any]) -> list[str]:
    licence = backbone["licence"].lower() or "unknown"
    return [
        "---",
        "library_name: regraft",
        f"pipeline_tag: {backbone['input']['modality']}-classification",
        f"license: {json.dumps(licence)}",
        f"base_model: {json.dumps(backbone['name'], ensure_ascii=False)}",
        "tags: [regraft, transfer-learning]",
        "---",
        "",
    ]


def _scores(metrics: dict[str, Any]) -> list[str]:
    lines = ["## Scores", ""]
    lines += ["| on | images | accuracy | 95 % interval |", "| --- | ---: | ---: | --- |"]
    held, test = metrics.get("validation"), metrics.get("test")
    if held and held["n"]:
        lines.append(f"| {held['kind']} | {held['n']} | {held['accuracy']:.3f} | |")
    if crossed := metrics.get("cross_validation"):
        low, high = crossed["accuracy_ci95"]
        told = f"{crossed['k']} folds x {crossed['repeats']} | {crossed['n']}"
        lines.append(f"| {told} | {crossed['accuracy']:.3f} | {low:.3f} to {high:.3f} |")
    if test:
        low, high = test["accuracy_ci95"]
        told = f"{metrics['test_part']} | {test['n']} | {test['accuracy']:.3f}"
        lines.append(f"| {told} | {low:.3f} to {high:.3f} |")
    elif not crossed:
        lines.append("| no test score | 0 | | |")
    return [*lines, ""]


def _list(words: list[str], most: int = 12) -> str:
    shown = [f"`{word}`" for word in words[:most]]
    more = len(words) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
