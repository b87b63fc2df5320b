"""Every test has a cache of its own and no network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

# A busy machine is no failure; what lands is judged on the same examples every time.
settings.register_profile("regraft", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("regraft")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for this test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("REGRAFT_CACHE", str(folder))
    return folder
