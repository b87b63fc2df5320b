"""Stub to be replaced."""

from __future__ import annotations

from regraft.backbones.request import Loaded, Request


def accepts(request: Request) -> bool:
    return True


def fingerprint(request: Request) -> str | None:
    return None


def load(request: Request) -> Loaded:
    from regraft.backbones.build import create
    from regraft.backbones.names import full_name

    return create(full_name(request.name), request.size, pretrained=True)
