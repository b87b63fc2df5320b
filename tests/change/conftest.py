"""The network of all runs that are changed here."""

from __future__ import annotations

import pytest

from regraft.backbones import Backbone
from tests.nets import small


@pytest.fixture(scope="session")
def net() -> Backbone:
    return small()
