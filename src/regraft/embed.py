"""The features of a data set as a table, so that any other library can go on from them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from regraft.backbones import Backbone
from regraft.backbones.info import Tap
from regraft.backbones.resolve import resolve
from regraft.data import Dataset, deep
from regraft.data.sources import bare, columns_of, labelled
from regraft.data.walk import walk
from regraft.embedded import Table, writer
from regraft.features import Progress, compute, refuse_nothing
from regraft.pipeline import pipeline, tap_name


def embed(
    data: str | Path | Dataset,
    out: Path,
    backbone: str | Backbone | None = None,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    at: str = "end",
    size: int | None = None,
    geometry: str | None = None,
    weights: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write `out`, a table with one row per readable image, and say what is in it.

    `.parquet` and `.csv` have the columns id, label and split (both may be missing) and digest
    (blake2b-256 of the file); then features (a list of D float32, the pooled output of stage `at`)
    in Parquet and f0 to f<D-1> in CSV. `.npz` has the arrays ids, labels, splits, digests (N texts
    each, '' for none) and features (N, D) float32.

    Args:
        data: a folder of class folders, of images alone, a table, or a `Dataset`.
        out: a file that does not exist; its suffix says what is written.
        path_column, label_column: of a table, as for `regraft.fit`.
        at, size, geometry, weights, device, threads, progress: as for `regraft.fit`.

    Raises:
        OptionError: `out` exists, has another suffix or cannot be written.
        DataError: not one file could be read.
        MissingExtra: pyarrow is not installed.
    """
    write = writer(out)
    columns = columns_of(path_column, label_column)
    net = resolve(backbone, size=size, weights=weights)
    net = net if geometry is None else net.looking(geometry)
    tap = Tap(net.index(at), True)
    held = _examples(data, net.input.modality, columns)
    net = net.scaled(deep.white_of(held.examples))
    pipe = pipeline(net, [tap], device=device, threads=threads)
    found = compute(held.examples, pipe, progress)
    skipped = (*held.skipped, *found.skipped)
    refuse_nothing(found, skipped, held.root)
    rows = np.asarray(found.rows[tap_name(tap)][:], np.float32)
    facts = {
        "backbone": net.info.name,
        "weights": net.info.digest,
        "stage": net.info.stages[tap.stage].name,
    }
    write(Table(found.examples, found.digests, rows, facts))
    return {
        "out": str(out),
        "backbone": net.info.name,
        "at": net.info.stages[tap.stage].name,
        "rows": len(rows),
        "width": rows.shape[1],
        "skipped": [s.json() for s in skipped],
        "cache": found.counts.json(),
    }


def _examples(data: Any, modality: str, columns: dict[str, str]) -> Dataset:
    """The examples of `data`; without labels where a folder holds files and no class folder."""
    if isinstance(data, str | os.PathLike) and not columns:
        folder = Path(os.fsdecode(data)).expanduser()
        if folder.is_dir() and _is_flat(folder):
            return bare(data, modality)
    return labelled(data, modality, least_classes=1, columns=columns)


def _is_flat(folder: Path) -> bool:
    """Whether images lie in the folder itself and in none below it."""
    try:
        files = walk(folder).files
    except OSError:  # `labelled` says why
        return False
    return bool(files) and all(len(parts) == 1 for parts, _ in files)
