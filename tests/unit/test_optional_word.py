"""A task whose only word may be left out: `./inv history`, `./inv history RUN`, `./inv history --limit 1`."""

from __future__ import annotations

import pytest

from toolkit import cli


@pytest.mark.parametrize(
    ("line", "follows"),
    [
        ("history", False),
        ("history 2026", True),
        ("history --limit 1", False),
        ("history --limit=1", False),
        ("history --json", False),
        ("history --json 2026", True),
        ("history --limit 1 2026", True),
        ("history 2026 --json", True),
    ],
)
def test_the_value_of_a_flag_is_not_the_word(
    line: str, follows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["inv", *line.split()])
    assert cli._word_follows("history", {"--limit", "-l"}) is follows
