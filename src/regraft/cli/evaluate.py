"""regraft evaluate: score a bundle on labelled data."""

from __future__ import annotations

from regraft.cli import options
from regraft.cli.output import print_json, progress_bar, show_warnings
from regraft.cli.scores import show

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
