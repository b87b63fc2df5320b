"""The bundle's card for people, in the form that model hubs read."""

from __future__ import annotations

import json
import re
from typing import Any

from regraft.files import visible


def card(config: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Markdown with a YAML head: what the model is, how good, from what, and its limits."""
    backbone = config["backbone"]
    return "\n".join(
        [
            *_head(backbone, trained="tuned" in config),
            f"# {backbone['input']['modality'].capitalize()} classifier",
            "",
            f"Tells {len(config['classes'])} classes apart: {_list(config['classes'])}.",
            "",
            *_scores(metrics),
            "## How it was made",
            "",
            *_backbone(config),
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
            f"of people. {_carried(config)}",
            "",
        ]
    )


def _head(backbone: dict[str, Any], *, trained: bool) -> list[str]:
    licence = backbone["licence"].lower() or "unknown"
    return [
        "---",
        "library_name: regraft",
        f"pipeline_tag: {backbone['input']['modality']}-classification",
        f"license: {json.dumps(licence)}",
        f"base_model: {json.dumps(backbone['name'], ensure_ascii=False)}",
        *(["base_model_relation: finetune"] if trained else []),
        "tags: [regraft, transfer-learning]",
        "---",
        "",
    ]


def _backbone(config: dict[str, Any]) -> list[str]:
    """Which weights, whose, and what was trained of them."""
    backbone, tuned = config["backbone"], config.get("tuned")
    licence = backbone["licence"] or "unknown, ask who published them"
    state, whose = ("trained further", "the weights before") if tuned else ("frozen", "the weights")
    revision = f", revision `{backbone['revision']}`." if backbone["revision"] else "."
    lines = [
        f"- Backbone: {code(backbone['name'])} ({backbone['source']}), {state}; licence of "
        f"{whose}: {licence}."
    ]
    if tuned is None:
        return [*lines, f"- Weights: blake2b `{backbone['digest']}`{revision}"]
    total = sum(stage["parameters"] for stage in backbone["stages"])
    plan = config.get("plan")
    return [
        *lines,
        f"- Trained: stages from `{tuned['stages'][0]}` up ({_list(tuned['stages'])}), "
        f"{tuned['parameters']:,} of {total:,} parameters, "
        + (f"by the plan `{plan['name']}`." if plan else "before this model was made."),
        f"- Weights before: blake2b `{backbone['base']}`{revision}",
        f"- Weights after: blake2b `{backbone['digest']}`.",
    ]


def _carried(config: dict[str, Any]) -> str:
    if "tuned" not in config:
        return "Frozen weights carry what their source data held, bias included."
    return (
        "The weights carry what the data held that they learned from, before and here, bias "
        "included."
    )


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


def code(word: str) -> str:
    """A name as Markdown shows it letter for letter, whatever is in it."""
    shown = visible(word)
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence, room = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{room}{shown}{room}{fence}"


def _list(words: list[str], most: int = 12) -> str:
    shown = [code(word) for word in words[:most]]
    more = len(words) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
