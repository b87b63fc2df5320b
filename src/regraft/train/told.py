"""What a training is about to do, in lines for people and as plain data."""

from __future__ import annotations

from typing import Any

from regraft.train import rates
from regraft.train.job import Job

#: Stages that are shown of a long table, from either end.
SHOWN = 4


def rate_tables(job: Job) -> list[list[dict[str, Any]]]:
    """For each phase the stages that it trains, the head first: stage, rate, parameters.

    The rate is the largest of the phase; see `regraft.train.optim.schedule`.
    """
    of = job.above.stage_of()
    parameters = job.above.parameters_by_name()
    tables = []
    for phase, chosen in zip(job.plan, job.trained, strict=True):
        sizes = {name: parameters[name].numel() for name in chosen}
        rate_of = rates.rates(of, phase, job.above.at + 1)
        found = rates.table(rate_of, of, sizes, job.above.names)
        tables.append([line._asdict() for line in found])
    return tables


def lines(tables: list[list[dict[str, Any]]]) -> list[str]:
    """The tables as text, long ones without their middle."""
    said = []
    for number, table in enumerate(tables, 1):
        if not table:
            continue
        total = sum(line["parameters"] for line in table)
        said.append(f"phase {number} trains {total:,} numbers, at these rates:")
        short = len(table) <= 2 * SHOWN + 1
        kept = table if short else [*table[:SHOWN], *table[-SHOWN:]]
        width = max(len(line["stage"]) for line in kept)
        rows = [
            f"  {line['stage']:<{width}}  {line['rate']:<9.3g} {line['parameters']:>12,}"
            for line in kept
        ]
        if not short:
            rows.insert(SHOWN, f"  … {len(table) - 2 * SHOWN} more")
        said += rows
    return said
