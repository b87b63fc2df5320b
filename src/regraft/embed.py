"""The features of a data set as a table, so that any other library can go on from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regraft.backbones import Backbone
from regraft.backbones.info import Tap
from regraft.backbones.resolve import resolve
from regraft.data import Dataset, deep
from regraft.data.sources import labelled
from regraft.errors import OptionError, need_extra
from regraft.features import Progress, compute, refuse_nothing
from regraft.files import refusal, whole_file
from regraft.pipeline import pipeline, tap_name

CHUNK_ROWS = 4096


def embed(
    data: str | Path | Dataset,
    out: Path,
    backbone: str | Backbone | None = None,
    *,
    at: str = "end",
    size: int | None = None,
    geometry: str | None = None,
    weights: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write `out`, a Parquet file with one row per readable image, and say what is in it.

    Columns: id, label, split (may be null), digest (blake2b-256 of the file), features (list of
    float32, the pooled output of stage `at`).

    Raises:
        OptionError: `out` exists or cannot be written.
        DataError: not one file could be read.
        MissingExtra: pyarrow is not installed.
    """
    arrow = need_extra("pyarrow", "tables", "regraft embed")
    parquet = need_extra("pyarrow.parquet", "tables", "regraft embed")
    if out.exists():
        raise OptionError(f"--out {out} exists; name a file that does not, or remove it.")
    net = resolve(backbone, size=size, weights=weights)
    net = net if geometry is None else net.looking(geometry)
    held = labelled(data, net.input.modality, least_classes=1)
    net = net.scaled(deep.white_of(held.examples))
    tap = Tap(net.index(at), True)
    pipe = pipeline(net, [tap], device=device, threads=threads)
    found = compute(held.examples, pipe, progress)
    skipped = (*held.skipped, *found.skipped)
    refuse_nothing(found, skipped, held.root)
    rows = found.rows[tap_name(tap)]
    width = rows.shape[1]
    kind = arrow.list_(arrow.float32(), width)
    schema = arrow.schema(
        [
            ("id", arrow.string()),
            ("label", arrow.string()),
            ("split", arrow.string()),
            ("digest", arrow.string()),
            ("features", kind),
        ],
        metadata={
            "backbone": net.info.name,
            "weights": net.info.digest,
            "stage": net.info.stages[tap.stage].name,
        },
    )
    try:
        with whole_file(out) as part, parquet.ParquetWriter(part, schema) as writer:
            for start in range(0, len(rows), CHUNK_ROWS):
                some = found.examples[start : start + CHUNK_ROWS]
                flat = arrow.array(rows[start : start + CHUNK_ROWS].ravel())
                columns = [
                    [e.id for e in some],
                    [e.label for e in some],
                    [e.split for e in some],
                    list(found.digests[start : start + CHUNK_ROWS]),
                    arrow.FixedSizeListArray.from_arrays(flat, width),
                ]
                writer.write_table(arrow.table(columns, schema=schema))
    except OSError as problem:
        needed = len(rows) * width * 4
        raise OptionError(f"--out {out} cannot be written {refusal(problem, needed)}.") from problem
    return {
        "out": str(out),
        "backbone": net.info.name,
        "at": net.info.stages[tap.stage].name,
        "rows": len(rows),
        "width": width,
        "skipped": [s.json() for s in skipped],
        "cache": found.counts.json(),
    }
