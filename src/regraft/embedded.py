"""Files that features are written to: Parquet, CSV or NumPy's .npz, as the suffix says."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft import spreadsheet
from regraft.data import Example
from regraft.errors import OptionError, need_extra
from regraft.files import refusal, whole_file

CHUNK_ROWS = 4096


@dataclass(frozen=True)
class Table:
    """Features with what they are of.

    Attributes:
        examples: N of them.
        digests: of each one's bytes.
        features: (N, D) float32.
        facts: where they come from: backbone, weights, stage.
    """

    examples: Sequence[Example]
    digests: Sequence[str]
    features: NDArray[np.float32]
    facts: dict[str, str]


def writer(out: Path) -> Callable[[Table], None]:
    """What writes a table to `out`; asked for before anything is computed.

    Raises:
        OptionError: `out` exists, or its suffix is none of them.
        MissingExtra: Parquet without pyarrow.
    """
    kind = WRITERS.get(out.suffix.lower())
    if kind is None:
        raise OptionError(
            f"--out {out} must end in {', '.join(WRITERS)}: the suffix says what is written."
        )
    if kind is _parquet:
        need_extra("pyarrow.parquet", "tables", "a Parquet file")
    spreadsheet.free(out, "--out")

    def write(table: Table) -> None:
        try:
            with whole_file(out) as part:
                kind(table, part)
        except OSError as problem:
            needed = table.features.size * 4
            raise OptionError(
                f"--out {out} cannot be written {refusal(problem, needed)}."
            ) from problem

    return write


def _parquet(table: Table, part: Path) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    width = table.features.shape[1]
    texts = [(name, arrow.string()) for name in ("id", "label", "split", "digest")]
    features = ("features", arrow.list_(arrow.float32(), width))
    schema = arrow.schema([*texts, features], metadata=table.facts)
    with parquet.ParquetWriter(part, schema) as to:
        for start in range(0, len(table.examples), CHUNK_ROWS):
            some = slice(start, start + CHUNK_ROWS)
            flat = arrow.array(table.features[some].ravel())
            columns = [
                [e.id for e in table.examples[some]],
                [e.label for e in table.examples[some]],
                [e.split for e in table.examples[some]],
                list(table.digests[some]),
                arrow.FixedSizeListArray.from_arrays(flat, width),
            ]
            to.write_table(arrow.table(columns, schema=schema))


def _csv(table: Table, part: Path) -> None:
    with part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as out:
        rows = csv.writer(out)
        numbers = [f"f{column}" for column in range(table.features.shape[1])]
        rows.writerow(["id", "label", "split", "digest", *numbers])
        for example, digest, row in zip(table.examples, table.digests, table.features, strict=True):
            own = [spreadsheet.cell(text or "") for text in (example.id, example.label)]
            # The shortest text that is read back as the same float32.
            rows.writerow([*own, example.split or "", digest, *map(str, row)])


def _npz(table: Table, part: Path) -> None:
    texts: dict[str, Sequence[Any]] = {
        "ids": [e.id for e in table.examples],
        "labels": [e.label or "" for e in table.examples],
        "splits": [e.split or "" for e in table.examples],
        "digests": table.digests,
    }
    arrays = {name: np.array(held, dtype=np.str_) for name, held in texts.items()}
    facts = {name: np.array(fact) for name, fact in table.facts.items()}
    with part.open("wb") as out:  # a name alone would get a suffix
        np.savez(out, allow_pickle=False, features=table.features, **arrays, **facts)


#: Suffix -> what writes such a file.
WRITERS: dict[str, Callable[[Table, Path], None]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".npz": _npz,
}
