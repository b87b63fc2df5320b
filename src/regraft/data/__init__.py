"""Data: examples with stable ids, found before anything is decoded; decoding; splitting.

    folder, table, list ─► images() ─► Dataset of Examples ─► decoder(modality).decode(bytes, spec)

Listing needs neither numpy nor any decoder: every name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regraft.data.dataset import Dataset, Example, Skipped
    from regraft.data.decoders import decoder
    from regraft.data.listing import images
    from regraft.data.requests import files

_HOMES = {
    "Dataset": "regraft.data.dataset",
    "Example": "regraft.data.dataset",
    "Skipped": "regraft.data.dataset",
    "decoder": "regraft.data.decoders",
    "files": "regraft.data.requests",
    "images": "regraft.data.listing",
}

__all__ = ["Dataset", "Example", "Skipped", "decoder", "files", "images"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'regraft.data' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
