"""regraft: the best model that your data can give, from a network that others trained.

    data ─► decode ─► engine: stages below the cut ─► cache ─► heads above the cut ─► scores, bundle

Importing this package does no work: every public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "RegraftError": "regraft.errors",
    "add": "regraft.change",
    "advise": "regraft.advising.advise",
    "audit": "regraft.auditing",
    "backbone": "regraft.backbones",
    "compare": "regraft.comparing",
    "fit": "regraft.run",
    "images": "regraft.data",
    "load": "regraft.model",
    "merge": "regraft.change",
    "remove": "regraft.change",
}

__all__ = [
    "RegraftError",
    "__version__",
    "add",
    "advise",
    "audit",
    "backbone",
    "compare",
    "fit",
    "images",
    "load",
    "merge",
    "remove",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'regraft' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
