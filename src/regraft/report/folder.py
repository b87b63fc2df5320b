"""A saved run or comparison, and the page made of it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft import ledger
from regraft.backbones import Backbone
from regraft.cache import Shelf
from regraft.choose import rows_at
from regraft.data import Example
from regraft.data.sources import again
from regraft.errors import BundleError, DataError, OptionError
from regraft.features import Progress, compute
from regraft.files import digest_of, reason
from regraft.ledger import Ledger, Row
from regraft.model import Model, load, taps
from regraft.pipeline import Pipeline, key_of, tap_name
from regraft.record import BUNDLE, REPORT, SETTINGS, TRIED, resolved
from regraft.report.collect import gather
from regraft.report.material import Material, Rows

COMPARISON = "comparison.json"
LOST = "The test pictures and their activations are gone, so what needs them is left out."

#: (number of the data set, id) -> where the picture is.
Places = dict[tuple[int, str], Example]


def is_comparison(folder: Path) -> bool:
    """Whether a folder is that of a comparison."""
    return (folder / COMPARISON).is_file()


def read_json(path: Path) -> Any:
    """What a JSON file of ours holds.

    Raises:
        BundleError: it cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as problem:
        raise BundleError(
            f"{path} must be what regraft wrote, and is not ({reason(problem)}); run it again."
        ) from problem


def comparison(folder: Path) -> dict[str, Any]:
    """What the `comparison.json` in a folder holds.

    Raises:
        BundleError: it is not what regraft wrote.
    """
    held = read_json(folder / COMPARISON)
    if isinstance(held, dict) and isinstance(held.get("arms"), list):
        return held
    raise BundleError(
        f"{folder / COMPARISON} must be what regraft wrote, and is not (it has no arms); compare "
        "again."
    )


def collect(
    run: str | Path,
    *,
    backbone: Backbone | None = None,
    explain: bool = True,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Material:
    """The material of a saved run's page.

    What the test rows' activations are comes from the cache; where it is not there they are
    computed from the pictures, and without these the page lacks what needs them and says so.

    Args:
        run: its folder.
        backbone: needed only for a run on your own network.
        explain: whether to show what spoke for each answer.
        device: 'auto', 'cpu', 'cuda', …
        threads: of the decoder and the engine.
        progress: called with (images done, images in all).

    Raises:
        BundleError: it is no run folder, or not whole.
        OptionError: it is a bundle, or does not exist.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise OptionError(f"{folder} does not exist; name a run or comparison folder.")
    if not (folder / BUNDLE).is_dir() or not (folder / REPORT).is_file():
        raise OptionError(
            f"{folder} is neither a run nor a comparison: there is no {REPORT} beside a {BUNDLE}/ "
            f"in it, and no {COMPARISON}; name the folder that 'regraft fit' or 'regraft compare' "
            "made."
        )
    report = read_json(folder / REPORT)
    tried = read_json(folder / TRIED) if (folder / TRIED).exists() else []
    if not isinstance(report, dict) or not isinstance(report.get("classes"), list):
        raise BundleError(
            f"{folder / REPORT} must be what regraft wrote, and is not (it names no classes); run "
            "it again."
        )
    if not isinstance(tried, list):
        raise BundleError(
            f"{folder / TRIED} must be what regraft wrote, and is not (it is no list); run it "
            "again."
        )
    held = resolved(folder / SETTINGS)
    model = load(folder, backbone=backbone)
    settings = (folder / SETTINGS).read_text(encoding="utf-8", errors="backslashreplace")
    kept = ledger.read(folder / ledger.FILE)
    rows: Rows | None = None
    missing: tuple[str, ...] = ()
    if kept is not None and kept.part(ledger.TEST):
        places = found(model, kept, held)
        rows = cached(model, kept, places, all_stages=held["depths"] == "all")
        rows = rows or computed(model, kept, places, model.pipeline(device, threads), progress)
        missing = () if rows else (LOST,)
    made = gather(model, report, settings, tried, rows, explain)
    return replace(made, missing=(*missing, *made.missing))


def cached(model: Model, kept: Ledger, places: Places, *, all_stages: bool) -> Rows | None:
    """The test rows of a run out of the cache; None unless it has all of them.

    Args:
        model: what the run made.
        kept: the run's rows.
        places: of the test rows' pictures, see `found`.
        all_stages: whether the run's pass computed every stage.
    """
    info = model.backbone.info
    outputs = taps(info, [stage.name for stage in info.stages] if all_stages else model.at)
    key = key_of(info, [tap_name(tap) for tap in outputs], model.features)
    shelf = Shelf(digest_of(key))
    rows = kept.part(ledger.TEST)
    digests = [row.digest for row in rows]
    if not all(digest in shelf for digest in digests):
        return None
    held = {tap_name(tap): shelf.rows(digests, tap_name(tap)) for tap in taps(info, model.at)}
    return answered_by(model, rows, rows_at(held, list(held)), places)


def computed(
    model: Model, kept: Ledger, places: Places, pipe: Pipeline, progress: Progress | None
) -> Rows | None:
    """Those test rows of a run whose pictures are still there, computed; None without any."""
    rows = [row for row in kept.part(ledger.TEST) if (row.source, row.id) in places]
    if not rows:
        return None
    got = compute([places[row.source, row.id] for row in rows], pipe, progress)
    row_of = {id(places[row.source, row.id]): row for row in rows}
    same = [
        n for n, (e, d) in enumerate(zip(got.examples, got.digests, strict=True))
        if row_of[id(e)].digest == d
    ]  # fmt: skip
    if not same:
        return None
    taken = got.take(np.array(same, np.int64))
    names = [tap_name(tap) for tap in pipe.taps]
    kept_rows = [row_of[id(example)] for example in taken.examples]
    return answered_by(model, kept_rows, rows_at(taken.rows, names), places)


def answered_by(model: Model, rows: Sequence[Row], read: Any, places: Places) -> Rows:
    """Test rows with what the model says of them, from what the head reads of each."""
    features = np.asarray(read[:], np.float32)
    return Rows(
        tuple(row.id for row in rows),
        tuple(row.label for row in rows),
        model.classes,
        model.head.probabilities(features),
        features,
        tuple(places.get((row.source, row.id)) for row in rows),
        tuple(row.digest for row in rows),
    )


def found(model: Model, kept: Ledger, settings: Mapping[str, Any]) -> Places:
    """The test rows' pictures, as far as the data sets are still where they were."""
    places: Places = {}
    for number, source in enumerate(kept.sources):
        try:
            held = again(source, model.backbone.info.input.modality, settings)
        except (DataError, OSError):
            continue
        own = {row.id for row in kept.part(ledger.TEST) if row.source == number}
        places |= {(number, e.id): e for e in held.examples if e.id in own}
    return places
