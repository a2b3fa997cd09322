"""Times on a command line."""

from __future__ import annotations

import pytest

from toolkit.durations import seconds
from toolkit.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30), ("5m", 300), ("1h30m", 5400), ("1h", 3600), ("45", 45), ("0", 0), ("1.5s", 1.5)],
)
def test_times(text: str, expected: float) -> None:
    assert seconds(text, "--pause") == expected


@pytest.mark.parametrize("text", ["", " ", "s", "soon", "-1s", "5 m", "1d", "30s5m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--pause"):
        seconds(text, "--pause")
