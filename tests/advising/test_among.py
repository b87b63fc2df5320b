"""Limits as people write them."""

from __future__ import annotations

import pytest

from regraft.advising.among import HERE, Limits, limits, named
from regraft.backbones import DEFAULT
from regraft.errors import OptionError
from tests.nets import small


def test_limits_are_read() -> None:
    assert limits("20MB", "10ms", "permissive") == Limits(20e6, 0.01, "permissive")
    assert limits("1.5 gb", None, None) == Limits(1.5e9, None, "")
    assert limits(None, "2s", "MIT") == Limits(None, 2.0, "MIT")


@pytest.mark.parametrize(
    ("size", "latency"), [("20", None), ("big", None), ("0MB", None), (None, "10"), (None, "1h")]
)
def test_limits_that_are_none(size: str | None, latency: str | None) -> None:
    with pytest.raises(OptionError, match="must be a number with its unit"):
        limits(size, latency, None)


def test_what_a_backbone_may_not_be() -> None:
    net = small()
    assert not Limits().refused(net)
    assert "more than" in Limits(size=10).refused(net)
    assert "its licence is unknown" in Limits(license="permissive").refused(net)


def test_backbones_that_are_here() -> None:
    assert named(HERE) == [DEFAULT]
    assert named("a, b") == ["a", "b"]
    with pytest.raises(OptionError, match="'a' twice"):
        named("a,a")
    with pytest.raises(OptionError, match="must name some"):
        named(",")
