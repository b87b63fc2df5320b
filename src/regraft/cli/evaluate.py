"""regraft evaluate: score a bundle on labelled data."""

from __future__ import annotations

from typing import Any

from regraft.cli import options
from regraft.cli.output import console, percent, print_json, progress_bar, show_warnings
from regraft.files import visible

NAME = "evaluate"


def command(
    bundle: options.Bundle,
    data: options.Data,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Score BUNDLE on labelled DATA (its test part, if it has one)."""
    from regraft.model import load

    show_warnings()
    model = load(bundle)
    with progress_bar("features") as progress:
        scores = model.evaluate(data, device=device, threads=threads, progress=progress)
    if json:
        print_json(scores)
    else:
        show(scores)


def show(scores: dict[str, Any]) -> None:
    """Scores for people, on stdout."""
    from rich.table import Table
    from rich.text import Text

    low, high = scores["accuracy_ci95"]
    print(
        f"accuracy    {percent(scores['accuracy'])} of {scores['n']} images, 95 % interval "
        f"{percent(low)} to {percent(high)}"
    )
    print(f"balanced    {percent(scores['balanced_accuracy'])}   log-loss {scores['log_loss']:.3f}")
    table = Table("class", "images", "precision", "recall", "F1")
    for row in scores["per_class"]:
        numbers = (row["precision"], row["recall"], row["f1"])
        cells = ["" if value is None else f"{value:.3f}" for value in numbers]
        table.add_row(Text(visible(row["label"])), str(row["n"]), *cells)
    console().print(table)
    if scores["unknown"]:
        told = ", ".join(f"{visible(name)} ({n})" for name, n in scores["unknown"].items())
        print(f"not scored, of classes that the model does not know: {told}")
    for file in scores["skipped"]:
        print(f"left out {visible(file['file'])}: {file['reason']}")
