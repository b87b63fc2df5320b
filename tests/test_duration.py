"""Spans of time: what people write is taken, what they are told can be written again."""

from __future__ import annotations

import pytest

from regraft.duration import seconds_of, told, typed
from regraft.errors import OptionError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400), ("1H 30 M 5s", 5405),
        ("2.5h", 9000), ("90", 90), ("0.5", 0.5), ("1d", 86400), ("1m0.5s", 60.5),
    ],
)  # fmt: skip
def test_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "0", "0m", "-5m", "m", "10x", "5s1m", "1m1m", "1e3", "inf", "nan", "9" * 400]
)
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"--limit must be a span of time above 0 such as 90s"):
        seconds_of(text, "--limit")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"), (-1, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"),
        (59.4, "59 s"), (59.6, "1 min"), (125, "2 min 5 s"), (3569, "59 min 29 s"),
        (3571, "1 h"), (5400, "1 h 30 min"), (86380, "1 d"), (90000, "1 d 1 h"),
        (183600, "2 d 3 h"),
    ],
)  # fmt: skip
def test_told(seconds: float, text: str) -> None:
    assert told(seconds) == text


@pytest.mark.parametrize("seconds", [1, 30, 60, 3599, 3600, 5400, 86399, 90000, 1e6])
def test_what_is_told_can_be_given_back(seconds: float) -> None:
    back = seconds_of(told(seconds))
    assert back == pytest.approx(seconds, rel=0.02)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "1s"), (37.2, "38s"), (120, "120s"), (121, "3m"), (7300, "3h")]
)
def test_what_to_type_is_never_too_little(seconds: float, text: str) -> None:
    assert typed(seconds) == text
    assert seconds_of(text) >= seconds
