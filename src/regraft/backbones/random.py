"""Any architecture of timm with random weights, the same ones every time."""

from __future__ import annotations

from regraft.backbones.request import Loaded, Request, versions


def accepts(request: Request) -> bool:
    return request.weights == "random"


def holds(request: Request, mark: str) -> bool:
    return mark == _mark()


def _mark() -> str:
    found = versions()
    return f"random:{found['timm']}:{found['torch']}"


def load(request: Request) -> Loaded:
    """The network with random weights from a fixed seed."""
    from regraft.backbones.build import create
    from regraft.backbones.names import full_name

    architecture = full_name(request.name).partition(".")[0]
    made = create(architecture, request.size)
    made.licence, made.mark = "", _mark()
    return made
