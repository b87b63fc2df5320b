"""Scores for people: accuracy with its interval, every class, and what is confused with what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft.cli.output import console, echo, percent
from regraft.files import visible

if TYPE_CHECKING:
    from rich.console import Console

#: Classes of which the whole confusion matrix is printed, if it fits the terminal.
MOST_CELLS = 12
#: Pairs that are printed of a larger one, and classes of a long list.
MOST_PAIRS, MOST_CLASSES = 15, 30
MOST_LETTERS = 24  # of a class's name in a table


def show(scores: dict[str, Any]) -> None:
    """Scores for people, on stdout."""
    echo(f"accuracy    {percent(scores['accuracy'])} of {scores['n']} images{_ends(scores)}")
    balanced = scores["balanced_accuracy"]
    if balanced is not None:
        echo(f"balanced    {percent(balanced)}{_ends(scores, 'balanced_accuracy')}")
    if scores["log_loss"] is not None:
        echo(f"log-loss    {scores['log_loss']:.3f}")
    out = console()
    echo()
    _classes(scores["per_class"], out)
    echo()
    _confusion(scores, out)
    if scores["unknown"]:
        told = ", ".join(f"{visible(name)} ({n})" for name, n in scores["unknown"].items())
        echo(f"not scored, of classes that the model does not know: {told}")
    for file in scores["skipped"]:
        echo(f"left out {visible(file['file'])}: {file['reason']}")


def _ends(scores: dict[str, Any], name: str = "accuracy") -> str:
    ends = scores.get(f"{name}_ci95")
    return f", 95 % interval {percent(ends[0])} to {percent(ends[1])}" if ends else ""


def short(name: str, most: int = MOST_LETTERS) -> str:
    """A name that fits a table, without its middle."""
    shown = visible(name)
    if len(shown) <= most:
        return shown
    end = (most - 1) // 2
    return f"{shown[: most - 1 - end]}…{shown[-end:]}"


def _classes(rows: list[dict[str, Any]], out: Console) -> None:
    """Recall with its interval, precision and F1 of each class; of many, the worst."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("class", no_wrap=True)
    for title in ("images", "recall", "95 % interval", "precision", "F1"):
        table.add_column(title, justify="right", no_wrap=True)
    shown = rows
    if len(rows) > MOST_CLASSES:
        there = [row for row in rows if row["recall"] is not None]
        shown = sorted(there, key=lambda row: row["recall"])[:MOST_CLASSES]
        echo(f"the {len(shown)} classes of lowest recall, of {len(rows)}; --json has all")
    for row in shown:
        ends = row["recall_ci95"]
        table.add_row(
            Text(short(row["label"])),
            str(row["n"]),
            _share(row["recall"]),
            f"{percent(ends[0])} to {percent(ends[1])}" if ends else "",
            _share(row["precision"]),
            "" if row["f1"] is None else f"{row['f1']:.3f}",
        )
    out.print(table)


def _share(value: float | None) -> str:
    return "" if value is None else percent(value)


def _confusion(scores: dict[str, Any], out: Console) -> None:
    """The confusion matrix where it can be read, else the pairs that are confused most."""
    counts = scores["confusion"]
    names = [short(row["label"], 16) for row in scores["per_class"]]
    numbers = max((len(str(n)) for row in counts for n in row), default=1)
    width = max(map(len, names)) + sum(max(len(name), numbers) + 2 for name in names)
    if len(names) <= MOST_CELLS and width <= out.width:
        _matrix(counts, names, out)
    else:
        _pairs(counts, [row["label"] for row in scores["per_class"]], out)


def _matrix(counts: list[list[int]], names: list[str], out: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    echo("confusion matrix (a row for each true class, a column for each predicted class)")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for name, row in zip(names, counts, strict=True):
        table.add_row(Text(name), *(str(n) if n else "·" for n in row))
    out.print(table)


def _pairs(counts: list[list[int]], labels: list[str], out: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    every = [(n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j]
    if not every:
        echo("no class was confused with another")
        return
    every.sort(key=lambda pair: (-pair[0], pair[1:]))
    top = every[:MOST_PAIRS]
    more = f" (the {len(top)} most frequent of {len(every)} pairs)" if len(every) > len(top) else ""
    echo(f"top confusions{more}")
    table = Table(box=None, pad_edge=False)
    for title in ("true class", "predicted class"):
        table.add_column(title, no_wrap=True)
    for title in ("images", "of its class"):
        table.add_column(title, justify="right", no_wrap=True)
    for n, i, j in top:
        share = percent(n / sum(counts[i]))
        table.add_row(Text(short(labels[i])), Text(short(labels[j])), str(n), share)
    out.print(table)
