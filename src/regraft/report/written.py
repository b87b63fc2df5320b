"""A page on disk: beside the run or the comparison that it tells of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regraft import engine as engines
from regraft.backbones import Backbone
from regraft.errors import OptionError
from regraft.features import Progress
from regraft.files import refusal, write_whole
from regraft.report.fitted import PAGE
from regraft.report.folder import collect, comparison, is_comparison
from regraft.report.page import of_run
from regraft.report.versus import of_comparison


def write(
    run: str | Path,
    out: str | Path | None = None,
    *,
    backbone: Backbone | None = None,
    explain: bool = True,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the page of a saved run or comparison.

    Args:
        run: its folder.
        out: the file to write; `report.html` in the folder if None. An older page is replaced.
        backbone: needed only for a run on your own network.
        explain: whether pictures are shown with what spoke for each answer.
        device: 'auto', 'cpu', 'cuda', …
        threads: of the decoder and the engine.
        progress: called with (images done, images in all).

    Returns:
        page: where it is; bytes: its size; sections: their keys; pictures: how many are shown;
        explained: how many with what spoke for the answer; missing: what is left out and why.

    Raises:
        RegraftError: it is neither, or not whole, or the file cannot be written.
    """
    if threads is not None and threads < 1:
        raise OptionError(f"--threads must be 1 or more, got {threads}.")
    if device != "auto":
        engines.resolve_device(device)
    folder = Path(run)
    place = folder / PAGE if out is None else Path(out)
    if is_comparison(folder):
        versus = of_comparison(comparison(folder))
        put(place, versus.data)
        return {"page": str(place), "bytes": len(versus.data)} | versus.told
    made = of_run(
        collect(
            folder, backbone=backbone, explain=explain, device=device, threads=threads,
            progress=progress,
        )
    )  # fmt: skip
    put(place, made.data)
    return {"page": str(place), "bytes": len(made.data)} | made.told


def put(place: Path, data: bytes) -> None:
    """Write a page to a file, whole or not at all.

    Raises:
        OptionError: it cannot be written there.
    """
    try:
        write_whole(place, data)
    except OSError as problem:
        raise OptionError(
            f"--out {place} cannot be written {refusal(problem, len(data))}."
        ) from problem
